#!/usr/bin/env python3
"""Checks that every C file is laid out as .clang-format says; --fix lays them out."""
# SPDX-License-Identifier: MIT OR Apache-2.0
import shutil
import subprocess

import source

FORMATTER = 'clang-format-14'


def check():
    """Runs the formatter over the tree."""
    parser = source.root_from_arguments(__doc__)
    parser.add_argument('--fix', action='store_true')
    options = parser.parse_args()
    if not shutil.which(FORMATTER):
        print(f'{FORMATTER} is missing: tools/setup.sh test')
        return 1
    names = [str(name) for name in source.c_files(options.root)]
    if not names:
        return 0
    command = [FORMATTER, '-i'] if options.fix else [FORMATTER, '--dry-run', '-Werror']
    status = subprocess.run(command + names, cwd=options.root, check=False).returncode
    if status == 0:
        print(f'format: {len(names)} files')
    else:
        print('format: `make format` lays them out')
    return status


if __name__ == '__main__':
    source.main(check)

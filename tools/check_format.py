#!/usr/bin/env python3
"""Checks that every C file is laid out as .clang-format says; --fix lays them out."""
# SPDX-License-Identifier: MIT OR Apache-2.0
import re
import shutil
import subprocess

import source

FORMATTER = 'clang-format-14'
FILES_AT_ONCE = 50
COMPLAINT = re.compile(r'^(\S+?):(\d+):\d+: error:', re.MULTILINE)


def check():
    """Runs the formatter over the tree."""
    parser = source.root_from_arguments(__doc__)
    parser.add_argument('--fix', action='store_true')
    options = parser.parse_args()
    if not shutil.which(FORMATTER):
        print(f'{FORMATTER} is missing: tools/setup.sh test')
        return 1
    names = [str(name) for name in source.c_files(options.root)]
    if options.fix:
        return subprocess.run([FORMATTER, '-i', *names], cwd=options.root, check=False).returncode
    complain = source.Complaints()
    for first in range(0, len(names), FILES_AT_ONCE):
        result = subprocess.run(
            [FORMATTER, '--dry-run', '-Werror', *names[first:first + FILES_AT_ONCE]],
            cwd=options.root, text=True, capture_output=True, check=False)
        places = COMPLAINT.findall(result.stderr)
        if result.returncode != 0 and not places:
            complain('.clang-format', 1, result.stderr.strip())
        lines = {}
        for name, line in places:
            lines.setdefault(name, set()).add(int(line))
        for name, wrong in lines.items():
            complain(name, min(wrong), f'{len(wrong)} lines are not as .clang-format lays them '
                     'out: make format')
    return complain.finish('format')


if __name__ == '__main__':
    source.main(check)

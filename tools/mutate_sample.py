#!/usr/bin/env python3
"""Breaks rules of the standard one at a time, in a copy, and records which conversations notice.

    tools/mutate_sample.py [-k TEXT] [--check]

Each break of mutate_sample.txt is made in a copy of the tree under the temporary folder;
golden_runner is built there and plays every conversation. What noticed goes to
mutate_sample.json, from which docs/conformance.md is made. --check only looks whether each break
still fits the source. -k takes the breaks whose title holds TEXT; the
results of the others stay.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import check_requirements
import source

SAMPLE = pathlib.Path('tools/mutate_sample.txt')
RESULTS = pathlib.Path('tools/mutate_sample.json')
BUILD_TIMEOUT_S = 600
RUN_TIMEOUT_S = 120
EDIT = re.compile(r'^file: (.*)\n((?:[-+ ].*\n)+)', re.MULTILINE)
BREAK = re.compile(rf'^--- (.*)\nreq: (.*)\n(?:why: (.*)\n)?((?:{EDIT.pattern})+)', re.MULTILINE)
FAILED = re.compile(r'^FAILED (\S+):\d+: (.*)$', re.MULTILINE)


@dataclasses.dataclass
class Break:
    """One rule, and how it is broken."""
    title: str
    rules: list
    edits: list  # of (path, lines to find, lines to put there)
    why: str     # nothing notices it, where nothing does


def read_sample(root, complain):
    """The breaks of the file; each must fit the source in exactly one place."""
    breaks = []
    text = (root / SAMPLE).read_text(encoding='utf-8')
    for match in BREAK.finditer(text):
        title, rules, why = match.groups()[:3]
        edits = []
        for path, body in EDIT.findall(match.group(4)):
            lines = body.splitlines()
            old = ''.join(line[1:] + '\n' for line in lines if line[0] in '- ')
            new = ''.join(line[1:] + '\n' for line in lines if line[0] in '+ ')
            found = (root / path).read_text(encoding='utf-8').count(old)
            if found != 1:
                complain(SAMPLE, source.line_of(text, match.start()),
                         f'"{title}" fits {found} places of {path}, not one')
            edits.append((path, old, new))
        breaks.append(Break(title, rules.split(), edits, why))
    if len(breaks) != len(re.findall(r'^--- ', text, re.MULTILINE)):
        complain(SAMPLE, 1, 'a break cannot be read')
    return breaks


def conversations(text):
    """Title and statements of each conversation of a file."""
    for part in re.split(r'^--- ', text, flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        rules = []
        for match in check_requirements.LABEL.finditer(part):
            rules += re.findall(check_requirements.ID, match.group(1))
        yield title, rules


def meant(root, rules):
    """A function that tells whether a failure is one of a conversation that cites the rules."""
    titles = []
    for path in root.glob('tests/golden/*.txt'):
        for title, cited in conversations(path.read_text(encoding='utf-8')):
            if set(cited) & set(rules):
                pattern = re.sub(r'\\\$\d', '.*', re.escape(title))
                titles.append(re.compile(f'{re.escape(path.name)}: {pattern}'))
    return lambda failure: any(title.match(failure) for title in titles)


def copy_tree(root, to):
    """The project's files, without its history and builds."""
    for name in source.files(root):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)


def run(command, timeout_s, **options):
    """Exit status and output; a status of None means that it had to be ended."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors='replace', timeout=timeout_s, check=False, **options)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b''
        return None, output.decode(errors='replace') if isinstance(output, bytes) else output


def build(tree):
    """golden_runner of the copy."""
    folder = tree / 'build-mutation'
    if not folder.exists():
        status, output = run(['cmake', '-G', 'Ninja', '-S', str(tree), '-B', str(folder),
                              '-DCMAKE_BUILD_TYPE=Debug', '-DCMAKE_C_FLAGS_DEBUG=-O1 -g0',
                              '-DMQTT5_TESTS=ON'], BUILD_TIMEOUT_S)
        if status != 0:
            sys.exit(output)
    status, output = run(['cmake', '--build', str(folder), '-j', str(os.cpu_count() or 1),
                          '--target', 'golden_runner'], BUILD_TIMEOUT_S)
    return folder / 'golden_runner' if status == 0 else sys.exit(output)


def play(tree):
    """Titles of the conversations that failed, with their files."""
    files = sorted(str(path.relative_to(tree)) for path in tree.glob('tests/golden/*.txt'))
    status, output = run([str(build(tree)), '--splits', '0', *files], RUN_TIMEOUT_S, cwd=tree)
    noticed = sorted({f'{path.split("/")[-1]}: {title}' for path, title in FAILED.findall(output)})
    if status not in (0, 1) and not noticed:
        noticed = [f'golden_runner ended with status {status}']
    return noticed


def run_break(tree, one):
    """Breaks the copy, plays, mends it again."""
    whole = {path: (tree / path).read_text(encoding='utf-8') for path, _, _ in one.edits}
    for path, old, new in one.edits:
        (tree / path).write_text(whole[path].replace(old, new), encoding='utf-8')
    try:
        return play(tree)
    finally:
        for path, text in whole.items():
            (tree / path).write_text(text, encoding='utf-8')


def run_sample(root, breaks):
    """Title -> how many conversations failed, and one of them."""
    results = {}
    with tempfile.TemporaryDirectory(prefix='mqtt5-mutation-') as folder:
        tree = pathlib.Path(folder)
        copy_tree(root, tree)
        if (broken := play(tree)):
            sys.exit('the conversations fail before anything is broken:\n' + '\n'.join(broken))
        for one in breaks:
            failed = run_break(tree, one)
            failed.sort(key=lambda failure, cites=meant(root, one.rules): not cites(failure))
            results[one.title] = {'failed': len(failed), 'example': failed[0] if failed else None}
            print(f'{len(failed):4} noticed: {one.title}', flush=True)
    return results


def main():
    """Checks the sample; without --check plays it too."""
    parser = source.root_from_arguments(__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='only see whether it fits')
    parser.add_argument('-k', metavar='TEXT', default='', help='breaks whose title holds this')
    options = parser.parse_args()
    complain = source.Complaints()
    breaks = read_sample(options.root, complain)
    if options.check or complain.found:
        return complain.finish('mutation sample')
    results = run_sample(options.root, [one for one in breaks if options.k in one.title])
    path = options.root / RESULTS
    known = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    known.update(results)
    known = {one.title: known[one.title] for one in breaks if one.title in known}
    path.write_text(json.dumps(known, indent=1) + '\n', encoding='utf-8')
    unnoticed = [title for title, result in results.items() if not result['failed']]
    print(f'{len(results) - len(unnoticed)} of {len(results)} breaks noticed')
    return 0


if __name__ == '__main__':
    source.main(main)

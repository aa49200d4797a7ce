#!/usr/bin/env python3
"""Checks that docs/ says what the program does; --fix writes what is made from the source.

    tools/check_docs.py [--fix] [--binary build/release/mqttv5]

Flags, figures, log events and statements in the pages, the manual pages and the completions are
made (make_docs.py); the bash completion is tried in a real bash; links must lead somewhere.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import pathlib
import re
import shutil
import subprocess

import make_docs
import source

LINK = re.compile(r'\[[^\]]*\]\(([^)#\s]*)(#[^)\s]*)?\)')
COMPLETE = r'''
source "$1"; shift
spec=$(complete -p mqttv5) || exit 1
[[ $spec == *"-F _mqttv5"* ]] || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_mqttv5 mqttv5 "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
'''
COMPLETIONS = (
    (['mqttv5', 'pub', '--top'], {'--topic', '--topic-alias'}),
    (['mqttv5', 'br'], {'broker'}),
    (['mqttv5', 'broker', '--log-level', 'de'], {'debug'}),
    (['mqttv5', 'broker', '--queue-policy', '=', 'drop_o'], {'drop_oldest'}),
    (['mqttv5', 'sub', '--json', '--retain-'], {'--retain-handling', '--retain-as-published'}),
    (['mqttv5', 'sub', '--host', ''], {''}),
    (['mqttv5', 'completion', 'z'], {'zsh'}),
)


def check_made(root, binary, complain, fix):
    """What is made is up to date."""
    try:
        files = make_docs.make_all(root, binary)
    except make_docs.Missing as missing:
        complain('tools/make_docs.py', 1, str(missing))
        return
    for name, text in files.items():
        path = root / name
        if path.exists() and path.read_text(encoding='utf-8') == text:
            continue
        if fix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding='utf-8')
        else:
            complain(name, 1, 'does not say what the source says: make docs')


def check_bash(root, complain):
    """The completion, in a real bash."""
    name = 'completions/mqttv5.bash'
    for words, wanted in COMPLETIONS:
        done = subprocess.run(
            ['bash', '--norc', '-c', COMPLETE, 'bash', str(root / name), *words], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
        if done.returncode != 0 or set(done.stdout.split('\n')[:-1]) != wanted:
            complain(name, 1, f'{" ".join(words)}<TAB> gives {done.stdout.split()}, not '
                     f'{sorted(wanted)}')


def check_manuals(root, complain):
    """Manual pages that the formatter reads without a warning, where there is one."""
    formatter = shutil.which('groff')
    for path in sorted(root.glob('docs/man/*.1')) if formatter else []:
        done = subprocess.run([formatter, '-man', '-Tascii', '-ww', '-z', str(path)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                              check=False)
        if done.returncode != 0 or done.stdout:
            complain(path.relative_to(root), 1, done.stdout.strip().split('\n')[0])


def check_code(root, complain):
    """Every fenced block of C is found, word for word, in an example that is compiled and run."""
    examples = [path.read_text(encoding='utf-8') for path in root.glob('examples/*.c')]
    pages = sorted(path.relative_to(root) for path in root.glob('docs/*.md'))
    for name in [pathlib.Path('README.md'), *pages]:
        text = (root / name).read_text(encoding='utf-8')
        for match in re.finditer(r'^```c\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
            if not any(match.group(1) in example for example in examples):
                complain(name, source.line_of(text, match.start()), 'not in an example')


def anchors(text):
    """Names of the headings, as they are linked to."""
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')
            for heading in re.findall(r'^#+ (.*)$', text, re.MULTILINE)}


def check_links(root, complain):
    """Links between pages lead to a file, and to a heading of it."""
    for name in source.files(root):
        if name.suffix != '.md':
            continue
        text = (root / name).read_text(encoding='utf-8')
        for match in LINK.finditer(text):
            target, anchor = match.groups()
            if re.match(r'[a-z]+:', target):
                continue
            line = source.line_of(text, match.start())
            path = (root / name).parent / target if target else root / name
            if not path.exists():
                complain(name, line, f'{target} is not there')
            elif anchor and anchor[1:] not in anchors(path.read_text(encoding='utf-8')):
                complain(name, line, f'{target}{anchor}: no such heading')


def check():
    """All of it."""
    parser = source.root_from_arguments(__doc__.splitlines()[0])
    parser.add_argument('--fix', action='store_true', help='write what is made')
    parser.add_argument('--binary', type=pathlib.Path,
                        default=source.ROOT / 'build/release/mqttv5')
    options = parser.parse_args()
    complain = source.Complaints()
    check_made(options.root, options.binary, complain, options.fix)
    check_bash(options.root, complain)
    check_manuals(options.root, complain)
    check_code(options.root, complain)
    check_links(options.root, complain)
    return complain.finish('docs')


if __name__ == '__main__':
    source.main(check)

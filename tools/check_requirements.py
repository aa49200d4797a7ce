#!/usr/bin/env python3
"""Counts which normative statements of MQTT 5.0 are cited in the source and in the tests.

    tools/check_requirements.py [--list]      --list names those that are missing, with their words

It fails when a statement that binds a server has neither a test nor a line in
requirements_exceptions.txt, and when something is cited that does not exist.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import re

import source

STATEMENTS = 'tools/mqtt5_statements.txt'
EXCEPTIONS = 'tools/requirements_exceptions.txt'
# The words are OASIS's and lie beside the repository, where they lie at all.
WORDS = '../shared/spec/mqtt-v5.0-statements.txt'
ID = r'MQTT-\d+(?:\.\d+)+-\d+'
CITATION = re.compile(r'\[(' + ID + r')\]')
LABEL = re.compile(r'^req:(.*)$', re.MULTILINE)
SERVER = ('server', 'both')


class Statement:
    """One line of the list."""

    def __init__(self, name, bound, transport):
        self.name, self.bound, self.transport = name, bound, transport
        self.in_source, self.in_tests = False, False


def read_statements(root, complain):
    """Id -> statement, in the order of the standard."""
    statements = {}
    for number, line in enumerate((root / STATEMENTS).read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        name, bound = words[0], words[1] if len(words) > 1 else ''
        if not re.fullmatch(ID, name) or bound not in ('client', *SERVER) or name in statements:
            complain(STATEMENTS, number, f'not `id client|server|both`, or twice: {line}')
            continue
        statements[name] = Statement(name, bound, words[2] if len(words) > 2 else None)
    return statements


def read_exceptions(root, statements, complain):
    """Ids that are excused, each for a reason."""
    excused = set()
    for number, line in enumerate((root / EXCEPTIONS).read_text().splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        name, _, reason = line.partition(':')
        if name not in statements or not reason.strip():
            complain(EXCEPTIONS, number, f'not `id: reason` of a statement: {line}')
        elif statements[name].in_tests:
            complain(EXCEPTIONS, number, f'{name} has a test now: delete the line')
        else:
            excused.add(name)
    return excused


def read_citations(root, statements, complain):
    """Marks what is cited where; headers `req:` count in golden conversations."""
    for name in source.files(root):
        where = name.parts[0]
        if where not in ('src', 'include', 'tests') or name.suffix not in (
                '.c', '.h', '.py', '.txt', '.mjs', '.ts'):
            continue
        text = (root / name).read_text(encoding='utf-8', errors='replace')
        cited = [(m.group(1), m.start()) for m in CITATION.finditer(text)]
        if name.suffix == '.txt':
            cited += [(m.group(), label.start()) for label in LABEL.finditer(text)
                      for m in re.finditer(ID, label.group(1))]
        for statement, offset in cited:
            if statement not in statements:
                complain(name, source.line_of(text, offset), f'[{statement}] does not exist')
            elif where == 'tests':
                statements[statement].in_tests = True
            else:
                statements[statement].in_source = True


def read_words(root, statements, complain):
    """Id -> the standard's words, when they are at hand; the two lists must agree then."""
    path = root / WORDS
    if not path.exists():
        return {}
    words = dict(re.findall(r'^## (MQTT-\S+)\n(.*)$', path.read_text(encoding='utf-8'),
                            re.MULTILINE))
    for name in words.keys() ^ statements.keys():
        complain(STATEMENTS, 1, f'{name} is only in one of this file and the standard')
    return words


def print_missing(title, missing, words):
    """A list of statements, with their words when they are known."""
    print(f'{title}:')
    for statement in missing:
        print(f'  {statement.name:16} {statement.bound:7} {words.get(statement.name, "")}')


def check():
    """Reads it all and counts."""
    parser = source.root_from_arguments(__doc__.splitlines()[0])
    parser.add_argument('--list', action='store_true', help='name what is missing')
    options = parser.parse_args()
    root = options.root
    complain = source.Complaints()
    statements = read_statements(root, complain)
    words = read_words(root, statements, complain)
    read_citations(root, statements, complain)
    excused = read_exceptions(root, statements, complain)

    def built(statement):
        return not statement.transport or (root / 'src/transport' / statement.transport).is_dir()

    now = [s for s in statements.values() if built(s)]
    server = [s for s in now if s.bound in SERVER]
    untested = [s for s in server if not s.in_tests]
    for statement in untested:
        if statement.name not in excused:
            complain(STATEMENTS, 1, f'{statement.name} ({statement.bound}) has no test: cite it as '
                     f'[{statement.name}], or as `req:` of a golden conversation')
    if options.list:
        print_missing('without a citation in src/ and include/',
                      [s for s in now if not s.in_source], words)
        print_missing('without a test', [s for s in now if not s.in_tests], words)
    print(f'{len(statements)} statements, {len(statements) - len(now)} of transports to come; '
          f'cited in source {sum(s.in_source for s in now)}, '
          f'in tests {sum(s.in_tests for s in now)}')
    print(f'{len(server)} bind a server: in source {sum(s.in_source for s in server)}, '
          f'in tests {len(server) - len(untested)}, uncovered {len(untested)} '
          f'(excused {len(excused)})')
    return complain.finish('requirements')


if __name__ == '__main__':
    source.main(check)

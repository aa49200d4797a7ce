#!/usr/bin/env python3
"""Shows that every row of tests/security/cases.txt has a test; with --logs, that it ran and passed.

    tools/check_cases.py [--list] [--logs FOLDER [--all]]

FOLDER holds what run_tests.py keeps of each suite of this run; with --all a test whose suite did
not run is a fault, too. --list prints the rows with their tests.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import pathlib
import re
import subprocess
import sys

import source

TABLE = 'tests/security/cases.txt'
ROW = re.compile(r'\s*(\d+) \| ([^|]+) \| ([^|]+)$')
NAME = re.compile(r'(?:^|_)case_((?:\d+_and_)*\d+)_')
FUNCTION = re.compile(r'^(?:static void|def) (\w+)\(', re.MULTILINE)
CMOCKA = re.compile(r'^\[ +(OK|FAILED) +\] (\w+)', re.MULTILINE)
E2E = re.compile(r'^(ok|FAIL|skip) .* s  \w+\.(\w+) \[(?:.*\]  \((.*)\))?', re.MULTILINE)
SUITE = re.compile(r'^(ok|FAIL) (\S+)$', re.MULTILINE)


class Case:
    """One row."""

    def __init__(self, number, known_as, fault):
        self.number, self.known_as, self.fault = number, known_as, fault
        self.tests, self.reason = [], None


def read_table(root, complain):
    """Number -> case; what is named with a plus must exist."""
    cases, case = {}, None
    for line_number, line in enumerate((root / TABLE).read_text().splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        mark, _, rest = line.strip().partition(' ')
        row = ROW.fullmatch(line)
        if row:
            case = Case(int(row[1]), row[2], row[3])
            if case.number != len(cases) + 1:
                complain(TABLE, line_number, f'row {case.number} is not the next one')
            cases[case.number] = case
        elif mark == '+' and case and rest:
            case.tests.append(rest)
        elif mark == '-' and case and rest and not case.reason:
            case.reason = rest
        else:
            complain(TABLE, line_number, f'not a row, `+ NAME` or `- REASON`: {line}')
    return cases


def functions(root):
    """Test functions of the tree: name -> (file, line)."""
    found = {}
    for name in source.files(root):
        if name.parts[0] != 'tests' or name.suffix not in ('.c', '.py'):
            continue
        text = (root / name).read_text(encoding='utf-8', errors='replace')
        for match in FUNCTION.finditer(text):
            found.setdefault(match[1], (name, source.line_of(text, match.start())))
    return found


def suites(root):
    """The names of the suites; they count as tests with a @ before them."""
    program = root / 'tools/run_tests.py'
    if not program.exists():
        return set()
    listed = subprocess.run([sys.executable, str(program), '--list'], check=True, text=True,
                            stdout=subprocess.PIPE)
    return {'@' + name for name in listed.stdout.split()}


def assign(cases, root, complain):
    """Gives each case the tests of its name, and checks those that the table names."""
    known = functions(root)
    for name, (path, line) in known.items():
        named = NAME.search(name)
        for number in named[1].split('_and_') if named else []:
            if int(number) in cases:
                cases[int(number)].tests.append(name)
            else:
                complain(path, line, f'{name}: there is no case {number}')
    names = set(known) | suites(root)
    for case in cases.values():
        case.tests = sorted(set(case.tests))
        for test in case.tests:
            if test not in names:
                complain(TABLE, 1, f'case {case.number}: there is no test {test}')
        if bool(case.tests) == bool(case.reason):
            complain(TABLE, 1, f'case {case.number} has ' +
                     ('both tests and a reason for having none' if case.tests else 'no test'))


def read_logs(folder):
    """Test -> 'ok', 'FAIL' or why it was skipped, for all that ran."""
    outcome = {}

    def note(name, verdict):
        worse = {'ok': 0, 'FAIL': 2}
        if name not in outcome or worse.get(verdict, 1) > worse.get(outcome[name], 1):
            outcome[name] = verdict

    for path in folder.glob('*.log'):
        text = path.read_text(encoding='utf-8', errors='replace')
        for verdict, name in CMOCKA.findall(text):
            note(name, 'ok' if verdict == 'OK' else 'FAIL')
        for verdict, name, why in E2E.findall(text):
            note(name, f'was skipped ({why})' if verdict == 'skip' else verdict)
    results = folder / 'results.txt'
    if results.exists():
        for verdict, name in SUITE.findall(results.read_text()):
            note('@' + name, verdict)
    return outcome


def judge(cases, outcome, everything):
    """Prints what did not run or did not pass; how many cases are shown, broken and skipped."""
    shown = broken = skipped = 0
    for case in cases.values():
        bad = [t for t in case.tests if outcome.get(t) == 'FAIL']
        good = [t for t in case.tests if outcome.get(t) == 'ok']
        absent = [t for t in case.tests if t not in outcome]
        if case.reason:
            skipped += 1
            print(f'case {case.number} skipped: {case.reason}')
        elif bad or (absent and everything):
            broken += 1
            print(f'case {case.number}: ' + '; '.join(
                [f'{t} failed' for t in bad] + [f'{t} did not run' for t in absent]))
        elif good:
            shown += 1
        else:
            skipped += 1
            print(f'case {case.number} skipped: ' + '; '.join(
                f'{t} {outcome.get(t, "did not run")}' for t in case.tests))
    print(f'{shown} passed, {broken} failed, {skipped} skipped')
    return broken


def print_list(cases):
    """The rows with their tests."""
    for case in cases.values():
        print(f'{case.number:2} {case.known_as}: {case.fault}')
        for test in case.tests or [f'none: {case.reason}']:
            print(f'     {test}')


def check():
    """Reads, assigns, judges."""
    parser = source.root_from_arguments(__doc__.splitlines()[0])
    parser.add_argument('--list', action='store_true', help='print the rows with their tests')
    parser.add_argument('--logs', type=pathlib.Path, help="what run_tests.py keeps of a run")
    parser.add_argument('--all', action='store_true', help='every test must have run')
    options = parser.parse_args()
    complain = source.Complaints()
    cases = read_table(options.root, complain)
    assign(cases, options.root, complain)
    if options.list:
        print_list(cases)
    if options.logs and not complain.found:
        return 1 if judge(cases, read_logs(options.logs), options.all) else 0
    tests = {t for case in cases.values() for t in case.tests}
    for case in cases.values():
        if case.reason:
            print(f'case {case.number} has no test: {case.reason}')
    return complain.finish(f'{len(cases)} security cases, {len(tests)} tests')


if __name__ == '__main__':
    source.main(check)

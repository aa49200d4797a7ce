"""What the checks share: the project's files, C without comments and strings, complaints."""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
C_SUFFIXES = ('.c', '.h')
NOT_OURS = ('.git', 'build', 'node_modules', '__pycache__')


def files(root):
    """The project's files as git sees them, new ones too, or all when there is no git."""
    found = subprocess.run(
        ['git', '-C', str(root), 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if found.returncode == 0 and (root / '.git').exists():
        names = [pathlib.Path(n) for n in found.stdout.decode().split('\0') if n]
    else:
        names = [p.relative_to(root) for p in root.rglob('*')]
        names = [n for n in names if not set(n.parts) & set(NOT_OURS)]
    return sorted({n for n in names if (root / n).is_file()})


def c_files(root):
    """The C files among them."""
    return [n for n in files(root) if n.suffix in C_SUFFIXES]


LEXEME = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def blank(text):
    """C with comments and literals replaced by blanks; every line keeps its number and place."""
    def hide(match):
        return re.sub(r'[^\n]', ' ', match.group())
    return LEXEME.sub(hide, text)


def line_of(text, offset):
    """The number of the line that holds an offset."""
    return text.count('\n', 0, offset) + 1


class Complaints:
    """Collects and prints `file:line: what is wrong`."""

    def __init__(self):
        self.found = []

    def __call__(self, path, line, text):
        self.found.append((str(path), line, text))

    def finish(self, what):
        """Prints them in order; the exit status of the check."""
        for path, line, text in sorted(self.found):
            print(f'{path}:{line}: {text}')
        if not self.found:
            print(f'{what}: nothing to complain about')
        return 1 if self.found else 0


def root_from_arguments(description):
    """Every check takes --root, so that its own tests can point it at a made-up tree."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--root', type=pathlib.Path, default=ROOT)
    return parser


def main(check):
    """Runs a check as a program."""
    sys.exit(check())

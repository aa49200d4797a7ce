#!/usr/bin/env python3
"""Checks sizes, banned calls and leftovers in the project's sources: see RULES below."""
# SPDX-License-Identifier: MIT OR Apache-2.0
import re

import source

LINE_MAX = 100
BODY_MAX = 70
FILE_MAX = 1000
SPDX = 'SPDX-License-Identifier: MIT OR Apache-2.0'
SPDX_WITHIN_LINES = 60   # a design note may stand before it
TEXT_SUFFIXES = ('.c', '.h', '.py', '.sh', '.cmake', '.in', '.mjs', '.ts')
TEXT_NAMES = ('CMakeLists.txt', 'Makefile', 'run')
WITHOUT_SPDX = ('.in',)

# Banned call -> what to use.
BANNED = {
    'strcpy': 'memcpy with a known length',
    'strncpy': 'memcpy with a known length',
    'strcat': 'snprintf, or a buffer that knows its size',
    'strncat': 'snprintf, or a buffer that knows its size',
    'sprintf': 'snprintf',
    'vsprintf': 'vsnprintf',
    'gets': 'fgets',
    'atoi': 'strtol, with its errors checked',
    'atol': 'strtol, with its errors checked',
    'atoll': 'strtoll, with its errors checked',
    'atof': 'strtod, with its errors checked',
    'rand': 'm5_rng, seeded by the host',
    'srand': 'm5_rng, seeded by the host',
    'strtok': 'a scan that leaves its input alone',
    'alloca': 'the allocator, or an array of fixed size',
    'gmtime': 'gmtime_r',
    'localtime': 'localtime_r',
    'ctime': 'strftime',
    'asctime': 'strftime',
    'longjmp': 'an error code',
    'setjmp': 'an error code',
}
BANNED_CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')
# mqtt5_field_UTF8 and its like are what the table of properties pastes its wire types to.
TYPEDEF_ALLOWED = re.compile(r'\bmqtt5_field_[A-Z0-9]+\b')
TYPEDEF = re.compile(r'\btypedef\s+(struct|enum|union)\b[^;({]*[;{]')
TODO = re.compile(r'\b(TODO|FIXME|XXX)\b(?!\(#\d+\))')
IF_ZERO = re.compile(r'^[ \t]*#[ \t]*if[ \t]+0\b', re.MULTILINE)
DEAD_CODE = re.compile(
    r'^[ \t]*//[ \t]*(?:[\w>.\-\[\]*]+[ \t]*(?:=[^=].*|\(.*\));|[{}]|return\b.*;)[ \t]*$',
    re.MULTILINE)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+["<]([^">]+)[">]', re.MULTILINE)
TESTS_COMPILED = re.compile(
    r'tests/(unit/\w+_test|tsan/\w+_test|fuzz/(fuzz_\w+|replay_main|support/.+)|'
    r'(sim|simclient|golden|store|support|bench)/.+|install/.+)\.c$')
FUNCTION_START = re.compile(r'\)\s*(?:__attribute__\s*\(\(.*?\)\)\s*)*\{', re.DOTALL)


def check_text(name, text, complain):
    """Lines, blanks, tabs, licence: whatever the language."""
    lines = text.split('\n')
    if len(lines) - 1 > FILE_MAX:
        complain(name, FILE_MAX + 1, f'the file has {len(lines) - 1} lines, allowed are {FILE_MAX}')
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX:
            complain(name, number, f'{len(line)} columns, allowed are {LINE_MAX}')
        if line != line.rstrip():
            complain(name, number, 'blanks at the end of the line')
        if '\t' in line and name.name != 'Makefile':
            complain(name, number, 'a tab; indent with spaces')
        if TODO.search(line) and not str(name).startswith('tools/'):
            complain(name, number, 'a TODO must name its issue: TODO(#12)')
    if text and not text.endswith('\n'):
        complain(name, len(lines), 'no newline at the end of the file')
    if name.suffix not in WITHOUT_SPDX and SPDX not in '\n'.join(lines[:SPDX_WITHIN_LINES]):
        if text:
            complain(name, 1, f'the head must say: {SPDX}')


def closing_brace(code, start):
    """Offset of the brace that closes the one at start, or the end of the text."""
    depth = 0
    for match in re.compile(r'[{}]').finditer(code, start):
        depth += 1 if match.group() == '{' else -1
        if depth == 0:
            return match.start()
    return len(code)


def functions(code):
    """(first line, last line) between the braces of every function of blanked C."""
    position = 0
    while (match := FUNCTION_START.search(code, position)):
        opening = match.end() - 1
        end = closing_brace(code, opening)
        first, last = source.line_of(code, opening) + 1, source.line_of(code, end) - 1
        position = end + 1
        yield first, last


def without_directives(code):
    """The same C without preprocessor lines: macros hold braces that close elsewhere."""
    return re.sub(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', lambda m: re.sub(r'[^\n]', ' ', m.group()),
                  code, flags=re.MULTILINE)


def check_c(name, text, complain):
    """What holds for C only."""
    code = source.blank(text)
    for match in BANNED_CALL.finditer(code):
        call = match.group(1)
        complain(name, source.line_of(code, match.start()), f'{call}: use {BANNED[call]}')
    for match in TYPEDEF.finditer(code):
        if TYPEDEF_ALLOWED.search(match.group()):
            continue
        complain(name, source.line_of(code, match.start()),
                 f'typedef of a {match.group(1)}: use its tag')
    for match in IF_ZERO.finditer(code):
        complain(name, source.line_of(code, match.start()), '#if 0: delete the code, git keeps it')
    for match in DEAD_CODE.finditer(text):
        complain(name, source.line_of(text, match.start()),
                 'looks like code in a comment: delete it, git keeps it')
    for first, last in functions(without_directives(code)):
        if last - first + 1 > BODY_MAX:
            complain(name, first - 1,
                     f'a function body of {last - first + 1} lines, allowed are {BODY_MAX}')


def check_dead_files(texts, complain):
    """Headers that nobody includes, C files that no build globs."""
    included = set()
    for name, text in texts.items():
        for target in INCLUDE.findall(text):
            included.add(target)
            included.add(str(name.parent / target))
    for name in texts:
        path = str(name)
        reachable = {path, path.removeprefix('src/'), path.removeprefix('include/'),
                     path.removeprefix('tests/')}
        if name.suffix == '.h' and not path.startswith('include/') and not reachable & included:
            complain(name, 1, 'no file includes this header')
        if name.suffix == '.c' and path.startswith('tests/') and not TESTS_COMPILED.search(path):
            complain(name, 1, 'no build compiles this file: see cmake/Tests.cmake')


def check():
    """Runs all of it."""
    root = source.root_from_arguments(__doc__).parse_args().root
    complain = source.Complaints()
    c_texts = {}
    for name in source.files(root):
        if name.suffix not in TEXT_SUFFIXES and name.name not in TEXT_NAMES:
            continue
        text = (root / name).read_text(encoding='utf-8', errors='replace')
        check_text(name, text, complain)
        if name.suffix in source.C_SUFFIXES:
            c_texts[name] = text
            check_c(name, text, complain)
    check_dead_files(c_texts, complain)
    return complain.finish('tidy')


if __name__ == '__main__':
    source.main(check)

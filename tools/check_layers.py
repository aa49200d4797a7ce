#!/usr/bin/env python3
"""Checks who includes what: the table of layers in docs/architecture.md, as code."""
# SPDX-License-Identifier: MIT OR Apache-2.0
import re

import source

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(["<])([^">]+)[">]', re.MULTILINE)
FREESTANDING = {'float.h', 'iso646.h', 'limits.h', 'stdalign.h', 'stdarg.h', 'stdbool.h',
                'stddef.h', 'stdint.h', 'stdnoreturn.h'}
# assert.h only for static_assert: the symbols check finds a use of assert().
PURE = FREESTANDING | {'string.h', 'assert.h'}
ANY = None

# Folder -> the layers it may include besides itself and <mqtt5/...>, and the system headers.
ENGINE = ['base', 'protocol', 'client', 'broker']
LAYERS = {
    'include/mqtt5': ([], FREESTANDING),
    'src/base': ([], PURE),
    'src/protocol': (['base'], PURE),
    'src/client': (['base', 'protocol'], PURE),
    'src/broker': (['base', 'protocol'], PURE | {'stdatomic.h'}),
    'src/transport': (['base', 'protocol'], ANY),
    'src/host': ([*ENGINE, 'transport'], ANY),
    'src/cli': ([*ENGINE, 'transport', 'host'], ANY),
    'src/wasm': (ENGINE, ANY),
    'tests/support': ([*ENGINE, 'transport'], ANY),
    'tests/sim': (ENGINE, ANY),
    'tests/simclient': (ENGINE, ANY),
    'tests/golden': (['base', 'protocol', 'broker'], ANY),
    'tests/fuzz': ([*ENGINE, 'transport', 'host'], ANY),
    'tests/store': (['base', 'protocol', 'broker', 'host'], ANY),
    'tests/unit': ([*ENGINE, 'transport', 'host', 'cli'], ANY),
    'tests/tsan': ([*ENGINE, 'transport', 'host'], ANY),
}
OUR_LAYERS = [*ENGINE, 'transport', 'host', 'cli', 'wasm']


def layer_of(name):
    """The row of the table that a file belongs to, or None."""
    return next((folder for folder in LAYERS if str(name).startswith(folder + '/')), None)


def check_quoted(root, name, row, target):
    """What is wrong with an include in quotes, or None."""
    first = target.split('/')[0]
    if first in OUR_LAYERS and '/' in target and (root / 'src' / target).exists():
        allowed = LAYERS[row][0]
        if row == f'src/{first}' or first in allowed:
            return None
        return f'{row} may not include {first}/ (it may: {", ".join(allowed) or "only itself"})'
    if row.startswith('tests/'):
        if (root / 'tests' / target).exists():
            return check_test_header(row, first)
        if '/' not in target and (root / name.parent / target).exists():
            return None
    return f'"{target}" is not written from the source root, or does not exist'


def check_test_header(row, first):
    """Tests share tests/support and nothing else."""
    if first in ('support', row.split('/')[1]):
        return None
    return f'{row} may not include {first}/: what is shared belongs in support/'


def check_angled(root, row, target):
    """What is wrong with an include in angle brackets, or None."""
    if target.startswith('mqtt5/'):
        if (root / 'include' / target).exists():
            return None
        return f'<{target}> does not exist'
    allowed = LAYERS[row][1]
    if allowed is ANY or target in allowed:
        return None
    return f'{row} may not use <{target}>: no system below src/transport'


def graph_of(root, names):
    """File -> files of ours that it includes, with the line."""
    graph = {}
    for name in names:
        text = (root / name).read_text(encoding='utf-8', errors='replace')
        edges = {}
        for match in INCLUDE.finditer(text):
            for prefix in ('src/', 'include/', 'tests/', f'{name.parent}/'):
                if (root / (prefix + match.group(2))).is_file():
                    edges[prefix + match.group(2)] = source.line_of(text, match.start())
                    break
        graph[str(name)] = edges
    return graph


def find_cycles(graph, complain):
    """Reports one edge of every circle of includes."""
    state = {}
    for start in graph:
        if start in state:
            continue
        state[start] = 'open'
        stack = [(start, iter(graph[start].items()))]
        while stack:
            name, edges = stack[-1]
            target, line = next(edges, (None, 0))
            if target is None:
                state[name] = 'done'
                stack.pop()
            elif state.get(target) == 'open':
                complain(name, line, f'includes {target}, which includes it again')
            elif target not in state and target in graph:
                state[target] = 'open'
                stack.append((target, iter(graph[target].items())))


def check():
    """Every include of every C file."""
    root = source.root_from_arguments(__doc__).parse_args().root
    complain = source.Complaints()
    names = source.c_files(root)
    for name in names:
        row = layer_of(name)
        text = (root / name).read_text(encoding='utf-8', errors='replace')
        for match in INCLUDE.finditer(text) if row else ():
            quote, target = match.groups()
            wrong = (check_quoted(root, name, row, target) if quote == '"'
                     else check_angled(root, row, target))
            if wrong:
                complain(name, source.line_of(text, match.start()), wrong)
    find_cycles(graph_of(root, names), complain)
    return complain.finish('layers')


if __name__ == '__main__':
    source.main(check)

#!/usr/bin/env python3
"""Checks what the linker sees of the engine: whom it calls, its globals, what is exported.

    tools/check_symbols.py BUILD      BUILD is a build without sanitizers, such as build/release
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import pathlib
import re
import subprocess
import sys

# Layer -> the layers whose functions it may call.
LAYERS = {
    'base': (),
    'protocol': ('base',),
    'client': ('base', 'protocol'),
    'broker': ('base', 'protocol'),
}
FREESTANDING = {
    'memcpy', 'memmove', 'memset', 'memcmp', 'memchr', 'memrchr', 'memmem', 'bcmp',
    'strlen', 'strnlen', 'strcmp', 'strncmp', 'strchr', 'strrchr', 'strstr', 'strspn', 'strcspn',
}
# What a compiler adds by itself: stack protector, fortified mem*, wide arithmetic, the GOT.
COMPILER = re.compile(r'^(__stack_chk_fail(_local)?|__(mem\w+|str\w+)_chk|_GLOBAL_OFFSET_TABLE_|'
                      r'__popcount\w+|__(u|)(div|mod|divmod|mul)[dt]i\d)$')
# Tables of constants that hold addresses lie in .data.rel.ro: read-only once the program runs.
MUTABLE = re.compile(r'^(\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\*COM\*|COMMON)')
MEMBER = re.compile(r'^(\S+\.o):\s+file format')
EXPORTED_PREFIX = 'mqtt5_'


def run(*command):
    """Output of a tool, or the end of the check."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f'check_symbols.py: {" ".join(command)}: {result.stderr.strip()}')
    return result.stdout


class Layer:
    """The symbols of one layer's archive."""

    def __init__(self, archive):
        self.defined, self.undefined, self.mutable = set(), {}, []
        self.text_size = 0
        self.read_symbols(archive)
        self.read_sections(archive)

    def read_symbols(self, archive):
        """What objdump's symbol table says, object by object."""
        member = ''
        for line in run('objdump', '-t', str(archive)).splitlines():
            if (found := MEMBER.match(line)):
                member = found.group(1)
                continue
            head, tab, tail = line.partition('\t')
            if not tab or len(head) < 25:
                continue
            flags, section = head[17:24], head[25:].strip()
            name = tail.split()[-1]
            if section == '*UND*':
                self.undefined.setdefault(name, member)
            elif 'd' not in flags and MUTABLE.match(section):
                self.mutable.append((member, name, section))
            elif flags[0] in 'gu!' or 'w' in flags:
                self.defined.add(name)

    def read_sections(self, archive):
        """Sizes: code is counted; data without a symbol (string tables and such) is mutable too."""
        named = {(member, section) for member, _, section in self.mutable}
        member = ''
        for line in run('size', '-A', str(archive)).splitlines():
            words = line.split()
            if len(words) >= 2 and words[0].endswith('.o'):
                member = words[0]
            elif len(words) == 3 and words[1].isdigit():
                if words[0].startswith('.text'):
                    self.text_size += int(words[1])
                elif (MUTABLE.match(words[0]) and int(words[1]) > 0
                      and (member, words[0]) not in named):
                    self.mutable.append((member, '(no symbol)', words[0]))


def complain_about(name, layer, layers):
    """Everything that is wrong with one layer."""
    allowed = set(layer.defined)
    for below in LAYERS[name]:
        allowed |= layers[below].defined if below in layers else set()
    owner = {symbol: other for other, o in layers.items() for symbol in o.defined}
    for symbol, member in sorted(layer.undefined.items()):
        if symbol in allowed or symbol in FREESTANDING or COMPILER.match(symbol):
            continue
        whose = f'it belongs to src/{owner[symbol]}' if symbol in owner else \
            'no system below src/transport'
        yield f'src/{name}: {member} calls {symbol}: {whose}'
    for member, symbol, section in layer.mutable:
        yield f'src/{name}: {member} has a mutable global: {symbol} in {section}'


def complain_about_exports(library):
    """Everything that a shared library shows the world under another name than ours."""
    for line in run('nm', '-D', '--defined-only', str(library)).splitlines():
        symbol = line.split()[-1]
        if not symbol.startswith(EXPORTED_PREFIX):
            yield f'{library.name} exports {symbol}: only {EXPORTED_PREFIX}... may be'


def main():
    """Checks one build folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('build', type=pathlib.Path)
    build = parser.parse_args().build
    archives = {name: build / f'libm5_{name}.a' for name in LAYERS}
    layers = {name: Layer(path) for name, path in archives.items() if path.exists()}
    if not layers:
        sys.exit(f'check_symbols.py: no libm5_*.a in {build}: build it first')
    wrong = [text for name, layer in layers.items()
             for text in complain_about(name, layer, layers)]
    libraries = sorted(build.glob('libmqtt5*.so'))
    for library in libraries:
        wrong += complain_about_exports(library)
    if libraries and not run('nm', '-D', '--defined-only', str(libraries[0])).strip():
        wrong.append(f'{libraries[0].name} exports nothing')
    print('\n'.join(wrong) if wrong else 'symbols: nothing to complain about')
    total = sum(layer.text_size for layer in layers.values())
    sizes = ', '.join(f'{name} {layer.text_size:,}' for name, layer in layers.items())
    print(f'.text of the engine: {total:,} bytes ({sizes})')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

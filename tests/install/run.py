#!/usr/bin/env python3
"""Installs a build into an empty prefix and uses it as a stranger would.

    tests/install/run.py BUILD
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wshadow', '-Werror']
HEADER_COMPILERS = {
    'C17': ['cc', '-std=c17', '-Wstrict-prototypes', '-x', 'c'],
    'C++17': ['c++', '-std=c++17', '-x', 'c++'],
    'C17 (clang)': ['clang-14', '-std=c17', '-Wstrict-prototypes', '-x', 'c'],
}
PROGRAMS = {'use_protocol': 'mqtt5-protocol', 'use_broker': 'mqtt5'}


class Tests:
    """Runs steps, each a test by itself, and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def run(self, title, command, **options):
        """One command that must end with 0; True when it does."""
        result = subprocess.run([str(word) for word in command], text=True, check=False,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=300, **options)
        return self.expect(title, result.returncode == 0, result.stdout)

    def expect(self, title, good, why=''):
        """One fact that must hold."""
        print(f'{"ok  " if good else "FAIL"} {title}', flush=True)
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print('     ' + why.rstrip().replace('\n', '\n     '), flush=True)
        return good

    def finish(self):
        """Prints the sum; the exit status."""
        print(f'{self.passed} passed, {self.failed} failed'
              + (f', {self.skipped} skipped' if self.skipped else ''))
        return 1 if self.failed else 0


def check_headers(tests, prefix):
    """Every public header compiles alone, in C and in C++, without a warning."""
    include = prefix / 'include'
    headers = sorted(path.relative_to(include) for path in include.rglob('*.h'))
    tests.expect('headers are installed', len(headers) > 3, str(headers))
    for name, compiler in HEADER_COMPILERS.items():
        if not shutil.which(compiler[0]):
            tests.skipped += 1
            continue
        for header in headers:
            # Twice, so that the guard is tried as well.
            text = f'#include <{header}>\n#include <{header}>\nextern int alone;\n'
            path = prefix / 'header_alone.c'
            path.write_text(text, encoding='utf-8')
            tests.run(f'<{header}> alone as {name}',
                      [*compiler, *WARNINGS, '-I', include, '-fsyntax-only', path])


def check_cmake(tests, prefix, work):
    """find_package, both libraries, shared and static; the programs run."""
    build = work / 'cmake'
    if not tests.run('find_package(mqtt5)', ['cmake', '-S', HERE, '-B', build,
                                             f'-DCMAKE_PREFIX_PATH={prefix}']):
        return
    if not tests.run('build with the CMake package', ['cmake', '--build', build]):
        return
    for program in PROGRAMS:
        for kind in ('', '_static'):
            tests.run(f'run {program}{kind}', [build / f'{program}{kind}'])


def check_pkg_config(tests, prefix, work):
    """pkg-config, shared and static."""
    folder = next(prefix.glob('**/pkgconfig'))
    environment = {**os.environ, 'PKG_CONFIG_PATH': str(folder),
                   'LD_LIBRARY_PATH': str(folder.parent)}

    def ask(*words):
        result = subprocess.run(['pkg-config', *words], env=environment, text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return result.stdout.split()

    for program, module in PROGRAMS.items():
        output = work / f'{program}_pkg'
        flags = ask('--cflags', '--libs', module)
        if tests.run(f'build {program} with pkg-config {module}',
                     ['cc', *WARNINGS, HERE / f'{program}.c', '-o', output, *flags]):
            tests.run(f'run {program} with pkg-config', [output], env=environment)
        archive = folder.parent / f'lib{module}.a'
        rest = [word for word in ask('--libs', '--static', module)
                if word == '-pthread' or (word[:2] == '-l' and word[:7] != '-lmqtt5')]
        if tests.run(f'build {program} with {archive.name}',
                     ['cc', *ask('--cflags', module), HERE / f'{program}.c', '-o', output,
                      archive, *rest]):
            tests.run(f'run {program} with {archive.name}', [output])


def check_shared_files(tests, prefix):
    """Manual pages and completions lie where a system looks for them."""
    for name in ('man/man1/mqttv5.1', 'man/man1/mqttv5-broker.1', 'man/man1/mqttv5-pub.1',
                 'man/man1/mqttv5-sub.1', 'bash-completion/completions/mqttv5',
                 'zsh/site-functions/_mqttv5'):
        tests.expect(f'share/{name}', (prefix / 'share' / name).is_file())


def check_moved(tests, prefix, work):
    """The installed tree works from another place."""
    moved = work / 'moved'
    prefix.rename(moved)
    tests.run('the moved package is found', ['cmake', '-S', HERE, '-B', work / 'cmake-moved',
                                             f'-DCMAKE_PREFIX_PATH={moved}'])
    tests.run('the moved program runs', [moved / 'bin/mqttv5', '--version'])


def main():
    """The whole story in a temporary folder."""
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    build = pathlib.Path(sys.argv[1]).resolve()
    tests = Tests()
    with tempfile.TemporaryDirectory(prefix='mqtt5-install-') as folder:
        work = pathlib.Path(folder)
        prefix = work / 'prefix'
        if tests.run('install', ['cmake', '--install', build, '--prefix', prefix]):
            check_headers(tests, prefix)
            check_cmake(tests, prefix, work)
            check_pkg_config(tests, prefix, work)
            check_shared_files(tests, prefix)
            check_moved(tests, prefix, work)
    return tests.finish()


if __name__ == '__main__':
    sys.exit(main())

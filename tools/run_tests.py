#!/usr/bin/env python3
"""Runs every suite of the project and adds up what they report.

    tools/run_tests.py [--list] [--jobs N] [--fuzz-seconds N] [--seeds N] [NAME...]

NAME is the name of a suite, or a pattern such as 'fuzz_*'; without one, everything runs.
A suite ends with a line `N passed, N failed` (`, N skipped` may follow), and so does this
program. A suite that prints none counts as one test. Of a ctest suite each cmocka test counts.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import concurrent.futures
import dataclasses
import fnmatch
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build'
LOGS = BUILD / 'test-logs'
PYTHON = sys.executable or '/usr/bin/python3'
SUMMARY = re.compile(r'^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$', re.MULTILINE)
CMOCKA_PASSED = re.compile(r'^\[  PASSED  \] (\d+) test', re.MULTILINE)
CMOCKA_FAILED = re.compile(r'^\[  FAILED  \] (?:\S+: )?(\d+) test', re.MULTILINE)
TAIL_LINES = 60
SHOWN_LINES = 3
SUITE_TIMEOUT_S = 900


@dataclasses.dataclass
class Counts:
    """Numbers of tests, added up."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        """Adds another suite's numbers."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        text = f'{self.passed} passed, {self.failed} failed'
        return text + (f', {self.skipped} skipped' if self.skipped else '')


@dataclasses.dataclass
class Suite:
    """One command to run, and which builds it needs."""
    name: str
    command: list
    builds: tuple = ()
    junit: pathlib.Path = None
    alone: bool = False
    must_count: bool = False
    show: str = None   # lines of the output that start so are shown even when all is well
    environment: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Result:
    """How a suite went."""
    suite: Suite
    counts: Counts
    output: str
    elapsed_s: float


# ------------------------------------------------------------------------- what there is to run

def tool(name, *arguments):
    """A command line for one of the scripts beside this one."""
    return [PYTHON, str(ROOT / 'tools' / name), *arguments]


def check_suites():
    """Checks of the source; they need no build."""
    return [
        Suite('format', tool('check_format.py')),
        Suite('tidy', tool('check_tidy.py')),
        Suite('layers', tool('check_layers.py')),
        Suite('requirements', tool('check_requirements.py'), show=r'\d+ (statements|bind)'),
        Suite('cases', tool('check_cases.py'), show=r'case '),
        Suite('tools', tool('tests/test_tools.py'), must_count=True),
    ]


def last_suites(options):
    """What judges the others by what they left in the folder of logs."""
    everything = [] if options.names else ['--all']
    return [Suite('cases_ran', tool('check_cases.py', '--logs', str(LOGS), *everything),
                  must_count=True, show=r'case ')]


def ctest(preset, label):
    """A suite of everything that ctest knows under a label, in one of the builds."""
    junit = BUILD / preset / f'junit-{label}.xml'
    return ['ctest', '--test-dir', str(BUILD / preset), '-L', f'^{label}$', '--no-tests=error',
            '--output-on-failure', '--output-junit', str(junit),
            '--test-output-size-passed', '1000000'], junit


def ctest_suite(name, preset, label, jobs=1):
    """The same as a suite."""
    command, junit = ctest(preset, label)
    return Suite(name, [*command, '-j', str(jobs)], (preset,), junit)


def disable_aslr():
    """The thread sanitizer of gcc 12 dislikes the address layouts of some kernels."""
    command = ['setarch', '-R']
    works = shutil.which('setarch') and subprocess.run(
        [*command, 'true'], stderr=subprocess.DEVNULL, check=False).returncode == 0
    return command if works else []


def has(pattern):
    """Whether anything in the tree matches: suites come with their folders."""
    return any(ROOT.glob(pattern))


def program_suites(options):
    """Suites that run what was built."""
    suites = []
    if has('tests/sim/*.c'):
        suites += sim_suites(options)
    if has('tests/simclient/*.c'):
        suites += simclient_suites(options)
    if has('tests/e2e/run.py'):
        suites.append(Suite('e2e', [PYTHON, str(ROOT / 'tests/e2e/run.py'), '--binary',
                                    str(BUILD / 'release/mqttv5')], ('release',),
                            must_count=True, alone=True))
    if has('tests/e2e/kill.py'):
        suites.append(Suite('kill', [PYTHON, str(ROOT / 'tests/e2e/kill.py'), '--binary',
                                     str(BUILD / 'release/mqttv5')], ('release',),
                            must_count=True, show=r'seed|  \{'))
    if has('tests/browser/run.py'):
        suites.append(Suite('browser', [PYTHON, str(ROOT / 'tests/browser/run.py'), '--binary',
                                        str(BUILD / 'release/mqttv5'), '--build', str(BUILD)],
                            ('release',), must_count=True, show='skip'))
    if has('tests/unit/*_test.c'):
        suites.append(ctest_suite('unit', 'asan', 'unit'))
    if has('tests/fuzz/fuzz_*.c'):
        suites.append(ctest_suite('corpora', 'asan', 'fuzz'))
    suites += golden_suites() + thread_suites() + fuzz_suites(options)
    if has('src/cli/*.c'):
        suites.append(Suite('docs', tool('check_docs.py'), ('release',)))
    if has('src/protocol/*.c'):
        suites.append(Suite('symbols', tool('check_symbols.py', str(BUILD / 'release')),
                            ('release',), show=r'\.text'))
        suites.append(Suite('install', [PYTHON, str(ROOT / 'tests/install/run.py'),
                                           str(BUILD / 'release')],
                            ('release',), must_count=True))
    return suites


def sim_suites(options):
    """The thousand seeds, in the release build, and some under the sanitizers."""
    def one(name, preset, first, count):
        return Suite(name, [str(BUILD / preset / 'mqtt5_sim'), '--seed', str(first),
                            '--seeds', str(count)], (preset,), must_count=True,
                     show=r'.*\bseed')
    # The simulator's checks, checked: each lie about what was seen must be noticed.
    lies = Suite('sim_lies', [str(BUILD / 'release/mqtt5_sim'), '--break', 'all'], ('release',),
                 must_count=True)
    found = Suite('sim_found', [str(BUILD / 'release/mqtt5_sim'), '--list',
                                str(ROOT / 'tests/sim/seeds.txt')], ('release',),
                  must_count=True, show=r'.*\bseed')
    return [one('sim', 'release', options.seed, options.seeds), lies, found,
            one('sim_asan', 'asan', options.seed + options.seeds, max(1, options.seeds // 20))]


def simclient_suites(options):
    """The same for the simulator of clients."""
    def one(name, preset, first, count):
        return Suite(name, [str(BUILD / preset / 'mqtt5_simclient'), '--seed', str(first),
                            '--seeds', str(count)], (preset,), must_count=True,
                     show=r'.*\bseed')
    lies = Suite('simclient_lies', [str(BUILD / 'release/mqtt5_simclient'), '--break', 'all'],
                 ('release',), must_count=True)
    return [one('simclient', 'release', options.seed, options.seeds), lies,
            one('simclient_asan', 'asan', options.seed + options.seeds,
                max(1, options.seeds // 20))]


def golden_suites():
    """Conversations against the engine under the sanitizers, and against the live broker."""
    suites = []
    files = sorted(str(path) for path in ROOT.glob('tests/golden/*.txt'))
    if has('tests/golden/*.c'):
        suites.append(Suite('golden', [str(BUILD / 'asan/golden_runner'), *files], ('asan',),
                            must_count=True))
    if has('tests/golden/run_live.py') and has('src/cli/*.c'):
        broker = f'{BUILD}/release/mqttv5 broker --host 127.0.0.1:{{port}} --allow-anonymous ' \
                 '--storage-backend memory --workers 1'
        suites.append(Suite('golden_live', [PYTHON, str(ROOT / 'tests/golden/run_live.py'),
                                            '--command', broker, *files],
                            ('release',), must_count=True, alone=True))
    return suites


def thread_suites():
    """The multi-worker tests under the thread sanitizer."""
    suites = []
    if has('tests/tsan/*_test.c'):
        suite = ctest_suite('tsan_unit', 'tsan', 'threads')
        suite.command = disable_aslr() + suite.command
        suites.append(suite)
    if has('tests/tsan/run.py'):
        suites.append(Suite('tsan', [*disable_aslr(), PYTHON, str(ROOT / 'tests/tsan/run.py'),
                                     '--binary', str(BUILD / 'tsan/mqttv5')], ('tsan',),
                            must_count=True))
    return suites


def fuzz_suites(options):
    """Each target for some seconds, from its corpus; what it finds goes to build/fuzz/found."""
    found = BUILD / 'fuzz/found'
    suites = []
    for source in sorted(ROOT.glob('tests/fuzz/fuzz_*.c')):
        corpus = ROOT / 'tests/fuzz/corpus' / source.stem
        fresh = BUILD / 'fuzz/corpus' / source.stem
        dictionary = source.with_suffix('.dict')
        command = [str(BUILD / 'fuzz' / source.stem), f'-max_total_time={options.fuzz_seconds}',
                   '-timeout=10', '-rss_limit_mb=2048', f'-artifact_prefix={found}/{source.stem}-',
                   '-print_final_stats=1']
        command += [f'-dict={dictionary}'] if dictionary.exists() else []
        command += [str(fresh)] + ([str(corpus)] if corpus.is_dir() else [])
        suites.append(Suite(source.stem, command, ('fuzz',)))
    return suites


BUILD_TARGETS = {'release': [], 'asan': [], 'tsan': ['thread_tests'], 'fuzz': ['fuzzers']}
ENVIRONMENT = {
    'ASAN_OPTIONS': 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1',
    'TSAN_OPTIONS': 'halt_on_error=0:second_deadlock_stack=1',
    'ASAN_SYMBOLIZER_PATH': '/usr/bin/llvm-symbolizer-14',
    'CMOCKA_MESSAGE_OUTPUT': 'STDOUT',
}


# --------------------------------------------------------------------------------------- running

RUNNING = set()


def run_command(command, timeout_s, environment):
    """Exit status (None after a timeout) and output; the whole process group is ended."""
    with tempfile.TemporaryFile('w+', errors='replace') as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=ROOT, start_new_session=True,
                env={**ENVIRONMENT, **os.environ, **environment})
        except OSError as error:
            return 127, f'{command[0]}: {error.strerror}\n'
        RUNNING.add(process)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process)
            RUNNING.discard(process)
        output.seek(0)
        return status, output.read()


def end_group(process):
    """Ends whatever the suite left behind, by the id of the group that was made for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def count_junit(path):
    """Counts a ctest report: each cmocka test inside a program counts for itself."""
    counts = Counts()
    for case in xml.etree.ElementTree.parse(path).getroot().iter('testcase'):
        text = case.findtext('system-out') or ''
        passed = sum(int(n) for n in CMOCKA_PASSED.findall(text))
        failed = sum(int(n) for n in CMOCKA_FAILED.findall(text))
        if case.get('status') == 'run':
            counts.add(Counts(passed=max(passed, 1) if not failed else passed, failed=failed))
        elif case.get('status') == 'fail':
            counts.add(Counts(passed=passed, failed=max(failed, 1)))
        else:
            counts.add(Counts(skipped=1))
    return counts


def tests_of(suite):
    """What the programs of a ctest suite printed; it names each of their tests."""
    if not suite.junit or not suite.junit.exists():
        return ''
    root = xml.etree.ElementTree.parse(suite.junit).getroot()
    return '\n'.join(case.findtext('system-out') or '' for case in root.iter('testcase'))


def count(suite, status, output):
    """The numbers of one suite; a bad exit status is never without a failure."""
    counts = None
    if suite.junit and suite.junit.exists():
        counts = count_junit(suite.junit)
    elif (found := SUMMARY.findall(output)):
        counts = Counts(*(int(n or 0) for n in found[-1]))
    elif suite.must_count:
        counts = Counts(failed=1)
    if counts is None:
        counts = Counts(passed=1) if status == 0 else Counts(failed=1)
    if status != 0 and counts.failed == 0:
        counts.failed = 1
    if counts.passed + counts.failed + counts.skipped == 0:
        counts.failed = 1
    return counts


def run_suite(suite):
    """Runs one suite to its end."""
    if suite.junit:
        suite.junit.unlink(missing_ok=True)
    for argument in suite.command:
        if argument.startswith(str(BUILD / 'fuzz/corpus')):
            pathlib.Path(argument).mkdir(parents=True, exist_ok=True)
            (BUILD / 'fuzz/found').mkdir(exist_ok=True)
    started = time.monotonic()
    status, output = run_command(suite.command, SUITE_TIMEOUT_S, suite.environment)
    if status is None:
        output += f'\nended after {SUITE_TIMEOUT_S} s\n'
    return Result(suite, count(suite, status, output), output, time.monotonic() - started)


class Report:
    """Prints suites as they end and keeps the sum."""

    def __init__(self):
        self.total = Counts()
        self.failed = []
        self.lock = threading.Lock()

    def say(self, text):
        """One line, at once."""
        with self.lock:
            print(text, flush=True)

    @staticmethod
    def keep(result):
        """What the suite printed, each of its tests, and whether it passed."""
        log = LOGS / f'{result.suite.name}.log'
        log.write_text(result.output + tests_of(result.suite), encoding='utf-8')
        with (LOGS / 'results.txt').open('a', encoding='utf-8') as results:
            results.write(f'{"FAIL" if result.counts.failed else "ok"} {result.suite.name}\n')

    def __call__(self, result):
        with self.lock:
            self.keep(result)
            self.total.add(result.counts)
            verdict = 'ok  ' if result.counts.failed == 0 else 'FAIL'
            print(f'{verdict} {result.suite.name:24} {result.elapsed_s:6.1f} s   {result.counts}',
                  flush=True)
            if result.counts.failed:
                self.failed.append(result.suite.name)
                self.print_failure(result)
            elif result.suite.show:
                shown = [line for line in result.output.splitlines()
                         if re.match(result.suite.show, line)]
                print('\n'.join(f'  | {line}' for line in shown[-SHOWN_LINES:]), flush=True)

    @staticmethod
    def print_failure(result):
        """The end of the output, the command and how to run this suite again."""
        lines = result.output.rstrip().splitlines()
        log = LOGS / f'{result.suite.name}.log'
        if len(lines) > TAIL_LINES:
            print(f'  | ... {len(lines) - TAIL_LINES} lines before these: '
                  f'{log.relative_to(ROOT)}')
        for line in lines[-TAIL_LINES:]:
            print(f'  | {line}')
        print(f'  command: {" ".join(result.suite.command)}')
        if not result.suite.name.startswith('build_'):
            print(f"  again:   make test ONLY='{result.suite.name}'", flush=True)


def build(preset, jobs, environment):
    """Configures and builds one preset; what it returns counts only when it failed."""
    suite = Suite(f'build_{preset}', ['cmake', '--build', '--preset', preset, '-j', str(jobs)])
    for target in BUILD_TARGETS[preset]:
        suite.command += ['--target', target]
    started = time.monotonic()
    configure = ['cmake', '--preset', preset, '-DMQTT5_TESTS=ON']
    status, output = run_command(configure, SUITE_TIMEOUT_S, environment)
    if status == 0:
        status, output = run_command(suite.command, SUITE_TIMEOUT_S, environment)
    counts = Counts() if status == 0 else Counts(failed=1)
    return Result(suite, counts, output, time.monotonic() - started)


def run_builds(suites, options, report):
    """Builds what the suites need; returns the presets that came out."""
    ready = set()
    for preset in BUILD_TARGETS:
        if not any(preset in suite.builds for suite in suites):
            continue
        report.say(f'...  build_{preset}')
        result = build(preset, options.jobs, {})
        if result.counts.failed:
            report(result)
        else:
            report.say(f'ok   build_{preset:18} {result.elapsed_s:6.1f} s')
            ready.add(preset)
    return ready


def run_all(suites, last, options, report):
    """Checks, builds, suites side by side, those that want the machine for themselves, the last."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)

    def run(suite):
        report.say(f'...  {suite.name}')
        report(run_suite(suite))

    def run_together(chosen):
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(run, chosen))

    run_together([s for s in suites if not s.builds])
    ready = run_builds(suites, options, report)
    runnable = []
    for suite in (s for s in suites if s.builds):
        if set(suite.builds) <= ready:
            runnable.append(suite)
        else:
            report(Result(suite, Counts(failed=1), 'not run: its build failed', 0.0))
    run_together([s for s in runnable if not s.alone])
    for suite in [s for s in runnable if s.alone] + last:
        run(suite)


def arguments():
    """The parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--list', action='store_true', help='print the names of the suites')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--fuzz-seconds', type=int, default=8, help='for each target (8)')
    parser.add_argument('--seed', type=int, default=1, help='first seed of the simulator (1)')
    parser.add_argument('--seeds', type=int, default=1000, help='how many seeds (1000)')
    parser.add_argument('names', nargs='*')
    return parser.parse_args()


def main():
    """Runs the chosen suites; the exit status says whether all passed."""
    options = arguments()
    suites, last = check_suites() + program_suites(options), last_suites(options)
    if options.names:
        for name in options.names:
            if not any(fnmatch.fnmatch(s.name, name) for s in suites + last):
                sys.exit(f'run_tests.py: no suite is called {name}; --list shows them')
        suites, last = ([s for s in some if any(fnmatch.fnmatch(s.name, n) for n in options.names)]
                        for some in (suites, last))
    if options.list:
        print('\n'.join(suite.name for suite in suites + last))
        return 0
    started = time.monotonic()
    report = Report()
    try:
        run_all(suites, last, options, report)
    except KeyboardInterrupt:
        for process in list(RUNNING):
            end_group(process)
        os._exit(130)
    print(f'took {time.monotonic() - started:.0f} s')
    if report.failed:
        print(f'failed: {" ".join(report.failed)}')
    print(report.total)
    return 1 if report.total.failed else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""End-to-end tests: clients that nobody here wrote against the real broker process.

    tests/e2e/run.py [--binary PATH] [--workers 1,2] [--list] [FILTER...]

A FILTER is a part of a test's name. Every broker listens on a free port of the loopback.
--mosquitto runs the same tests against Debian's Mosquitto, to test the tests;
--broker-command TEXT against any other, where {host}, {port} and {workers} are filled in.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import os
import pathlib
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
DEBIAN_PYTHON = '/usr/bin/python3'


def use_a_python_with_paho():
    """Debian's python3-paho-mqtt is seen by Debian's python3 only."""
    try:
        import paho.mqtt.client   # noqa: F401, pylint: disable=unused-import
    except ImportError:
        if sys.executable == DEBIAN_PYTHON or not os.path.exists(DEBIAN_PYTHON):
            sys.exit('run.py: python3-paho-mqtt is missing (apt install python3-paho-mqtt)')
        os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])


use_a_python_with_paho()
sys.path.insert(0, str(HERE))

from harness import registry                                    # noqa: E402
from harness.broker import Broker, BrokerKind                   # noqa: E402
from harness.scheduler import FAILED, PASSED, SKIPPED, Job, Scheduler   # noqa: E402


def arguments():
    """The parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--binary', default=str(HERE.parent.parent / 'build/release/mqttv5'))
    parser.add_argument('--broker-command', help='start another broker: {host} {port} {workers}')
    parser.add_argument('--mosquitto', action='store_const', const='/usr/sbin/mosquitto',
                        help="run against Debian's Mosquitto")
    parser.add_argument('--workers', default='1,2', help='comma-separated (1,2)')
    parser.add_argument('--parallel', type=int, default=4, help='tests at once (4)')
    parser.add_argument('--list', action='store_true', help='print the names of the tests')
    parser.add_argument('filters', nargs='*', help='parts of test names')
    return parser.parse_args()


class Report:
    """Prints each result, and counts."""

    def __init__(self):
        self.counts = {}
        self.failures = []

    def __call__(self, job, verdict, elapsed, text):
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        reason = f'  ({text.strip()})' if verdict not in (PASSED, FAILED) else ''
        print(f'{verdict:4} {elapsed:7.3f} s  {job.name}{reason}', flush=True)
        if verdict == FAILED:
            self.failures.append(job.name)
            print('     ' + text.rstrip().replace('\n', '\n     '), flush=True)

    def close(self, started):
        """Prints the closing lines; True when nothing failed."""
        for name in self.failures:
            print(f'failed: {name}')
        print(f'took {time.monotonic() - started:.1f} s')
        passed, failed = self.counts.get(PASSED, 0), self.counts.get(FAILED, 0)
        skipped = self.counts.get(SKIPPED, 0)
        print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
        return failed == 0 and passed > 0


def chosen_tests(options):
    """The tests whose names hold one of the filters."""
    tests = registry.load_cases()
    if not options.filters:
        return tests
    return [t for t in tests if any(f in t.name for f in options.filters)]


def make_jobs(tests, brokers, kind, report):
    """Every test for every broker; those that cannot be shown are reported as skipped."""
    jobs = []
    for index, (workers, broker) in enumerate(brokers.items()):
        for test in tests:
            if test.once and index > 0:
                continue
            job = Job(test, workers, broker)
            if test.not_mosquitto and kind.mosquitto:
                report(job, SKIPPED, 0.0, test.not_mosquitto)
            else:
                jobs.append(job)
    return jobs


def main():
    """Runs the tests; the exit status says whether all passed."""
    options = arguments()
    tests = chosen_tests(options)
    if options.list:
        print('\n'.join(t.name for t in tests))
        return 0
    kind = BrokerKind(options.binary, options.broker_command, options.mosquitto)
    if not kind.mosquitto and not kind.command and not os.access(options.binary, os.X_OK):
        sys.exit(f'run.py: no program at {options.binary} (build first, or --binary PATH)')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))    # so that `finally` is run
    started = time.monotonic()
    report = Report()
    brokers = {}
    try:
        for workers in (int(w) for w in options.workers.split(',')):
            brokers[workers] = Broker(kind, workers)
        Scheduler(kind, options.parallel, report).run(make_jobs(tests, brokers, kind, report))
        for workers, broker in brokers.items():
            if not broker.is_running():
                print(f'broker with {workers} workers died with {broker.process.returncode}:\n'
                      + broker.log())
                report.counts[FAILED] = report.counts.get(FAILED, 0) + 1
    finally:
        for broker in brokers.values():
            broker.kill()
    return 0 if report.close(started) else 1


if __name__ == '__main__':
    sys.exit(main())

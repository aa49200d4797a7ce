#!/usr/bin/env python3
"""What the broker acknowledged is still there after it was killed, from the clients' side.

    tests/e2e/kill.py [--binary FILE] [--kills N] [--seed N] [--only TEXT] [--broker-flag=FLAG ...]

Publishers and persistent subscribers talk to the real broker on the real disk. SIGKILL ends it at
random moments, while it serves, starts or stops; it starts again on the same folder, now and then
with another number of workers. At the end every message is accounted for.

The tests have been seen to fail: the test `lies` runs the same against `--durability memory`, where
acknowledged messages are lost at each kill, and passes only if that is noticed. With brokers that
did not store the QoS 2 packet ids that came (2 TIMES) or the ends of subscriptions (CAME BACK), it
failed.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import asyncio
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from durable.cast import DRAIN_LIMIT_S, MARKER, Cast, read_retained  # noqa: E402
from durable.ledger import Ledger  # noqa: E402
from durable.server import Server, ServerError  # noqa: E402
from durable.session import Session  # noqa: E402
from harness.broker import die_with_parent, free_port  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORKERS = (2, 2, 2, 1, 3)
SHOWN_FAILURES = 15
TROUBLE = (ServerError, TimeoutError, OSError, asyncio.IncompleteReadError)


class Run:
    """A folder, a port, a server and its account; what all tests here begin with."""

    def __init__(self, options, seed, flags=(), wrapper=(), folder=None):
        self.rng = random.Random(seed)
        self.folder = folder or tempfile.mkdtemp(prefix='mqtt5-kill-', dir=options.dir)
        self.port = free_port()
        self.server = Server(options.binary, self.port, os.path.join(self.folder, 'store'),
                             os.path.join(self.folder, 'log'),
                             ['--sys-interval', '1', *flags, *options.broker_flag], wrapper)
        self.ledger = Ledger()

    def workers(self):
        """How many threads the next life has."""
        return self.rng.choice(WORKERS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Ends the broker; removes the folder if all was well."""
        if self.server.process and self.server.process.poll() is None:
            self.server.kill()
        if not self.ledger.failures:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f'  kept: {self.folder}', flush=True)


# ----------------------------------------------------------------------------------- the kills

class Killing:
    """Cycles of life and death under load."""

    def __init__(self, run, kills, drain_s=DRAIN_LIMIT_S):
        self.run, self.kills, self.drain_s = run, kills, drain_s
        self.server, self.rng = run.server, run.rng
        self.cast = Cast(run.ledger, run.port, run.rng)
        self.counts = {}

    async def go(self):
        """All of it; failures are in the ledger."""
        await self.server.start(2)
        await self.cast.begin()
        self.cast.publishers[0].publish(MARKER, 1, b'here', retain=True)
        while self.done() < self.kills:
            await self._cycle()
        await self.cast.end(self.drain_s)
        await self._check_retained()
        await self.cast.leave()
        self.server.signal(signal.SIGTERM)
        status = await self.server.wait()
        if status != 0:
            self.run.ledger.fail(f'the broker ended with {status} after SIGTERM')
        self.run.ledger.judge()

    def done(self):
        """Kills so far."""
        return sum(n for kind, n in self.counts.items() if kind not in ('stop', 'freeze'))

    async def _cycle(self):
        kind = self.rng.choices(('serving', 'starting', 'stopping', 'frozen', 'freeze', 'stop'),
                                (30, 7, 7, 3, 2, 2))[0]
        await asyncio.sleep(self.rng.uniform(0.02, 1.3))
        self.server.must_run()
        if kind in ('frozen', 'freeze'):
            self.server.signal(signal.SIGSTOP)
            await asyncio.sleep(self.rng.uniform(0.05, 0.3))
        if kind in ('stopping', 'stop'):
            self.server.signal(signal.SIGTERM)
        if kind == 'stopping':
            await asyncio.sleep(self.rng.uniform(0.0, 0.02))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == 'freeze':
            self.server.signal(signal.SIGCONT)
            return
        if kind == 'stop':
            if (status := await self.server.wait()) != 0:
                self.run.ledger.fail(f'the broker ended with {status} after SIGTERM')
        else:
            self.server.kill()
        if kind == 'starting':   # what is killed is the next life
            self.server.spawn(self.run.workers())
            await asyncio.sleep(self.rng.uniform(0.0, 0.08))
            self.server.must_run()
            self.server.kill()
        await self.server.start(self.run.workers())
        await self._check_retained()

    async def _check_retained(self):
        ledger = self.run.ledger
        ledger.judge_retained(*await read_retained(self.run.port, ledger))

    def report(self):
        """What happened, in a few lines."""
        messages = self.run.ledger.messages.values()
        acked = sum(m.acked is not None for m in messages)
        arrivals = sum(len(a) for a in self.run.ledger.arrivals.values())
        again = sum(s.duplicates for s in self.cast.sessions)
        resumes = sum(s.resumes for s in self.cast.sessions)
        print(f'  {self.counts}; {len(messages)} messages, {acked} acknowledged, {arrivals} '
              f'deliveries, {again} QoS 2 duplicates held off, {resumes} sessions resumed',
              flush=True)


async def fifty_kills(options):
    """The real thing."""
    with Run(options, options.seed) as run:
        killing = Killing(run, options.kills)
        try:
            await killing.go()
        except TROUBLE:
            run.ledger.fail(traceback.format_exc())
        killing.report()
    return run.ledger.failures


async def lies(options):
    """A broker that acknowledges what it keeps in memory only must be found out."""
    for attempt in range(1, 6):  # nothing may have been on its way at the moments that were drawn
        with Run(options, options.seed + attempt, ['--durability-for', f'{MARKER}=strict',
                                                   '--durability', 'memory']) as run:
            await Killing(run, 3, 2.0).go()
            found = [f for f in run.ledger.failures if 'LOST' in f]
            run.ledger.failures.clear()
        if found:
            return []
    return ['fifteen kills of a broker without durability went unnoticed']


# ------------------------------------------------------------------------------------ a full disk

class SmallDisk:
    """A file system of the test's own, in a mount namespace that a sleeping process holds and the
    broker enters. Where the system does not allow that, a limit on the size of the broker's files
    stands in."""

    def __init__(self, run, size='16m'):
        self.run, self.folder = run, os.path.join(run.folder, 'store')
        os.mkdir(self.folder)
        script = f'mount -t tmpfs -o size={size} none "$0" && echo mounted && exec sleep 300'
        self.holder = subprocess.Popen(['unshare', '-Urm', 'sh', '-c', script, self.folder],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       preexec_fn=die_with_parent)
        self.mounts = self.holder.stdout.readline() == b'mounted\n'
        if self.mounts:
            run.server.wrapper = ['nsenter', '--preserve-credentials', '-U', '-m',
                                  f'-t{self.holder.pid}', f'-w{os.getcwd()}']
        print(f'  {"a tmpfs of " + size if self.mounts else "RLIMIT_FSIZE"}', flush=True)

    def close(self):
        """Gives it back."""
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def fill(self):
        """From now on there is no room."""
        if not self.mounts:
            resource.prlimit(self.run.server.process.pid, resource.RLIMIT_FSIZE,
                             (4096, resource.RLIM_INFINITY))
            return
        with open(self._filler(), 'wb', buffering=0) as out:
            size = 65536
            while size:
                try:
                    size = size if out.write(bytes(size)) else 0
                except OSError:
                    size //= 2

    def empty(self):
        """There is room again."""
        if self.mounts:
            os.unlink(self._filler())
        elif self.run.server.process.poll() is None:
            resource.prlimit(self.run.server.process.pid, resource.RLIMIT_FSIZE,
                             (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def _filler(self):
        return f'/proc/{self.holder.pid}/root{os.path.abspath(self.folder)}/filler'


class FullDisk:
    """Publishers and subscribers while the disk is full, and afterwards."""

    def __init__(self, run, disk):
        self.run, self.disk, self.ledger, self.server = run, disk, run.ledger, run.server
        self.cast = Cast(run.ledger, run.port, run.rng, publishers=2)
        self.cast.producing = False
        self.figures = {}
        self.plain = []
        self.watcher = Session('watcher', run.port, run.ledger, run.rng)
        self.watcher.on_message = self._watch

    def _watch(self, topic, payload):
        if topic.startswith('$SYS'):
            self.figures[topic.split('/', 2)[2]] = payload
        else:
            self.plain.append(payload)

    async def go(self):
        """All of it."""
        cast = self.cast
        cast.sessions.append(self.watcher)
        await self.server.start(2)
        await cast.begin()
        self.watcher.subscribe('$SYS/broker/store/#', 0)
        self.watcher.subscribe('plain', 0)
        cast.publishers[0].publish(MARKER, 1, b'here', retain=True)
        await cast.until(lambda: 'store/failing' in self.figures, 10.0, 'figures of the store')
        await self._some(200)
        for life in range(2):
            cast.away.leave(3600.0)
            await self._while_full(life)
            await self._afterwards(life)
            cast.away.away_until = 0.0
        await cast.end()
        await cast.leave()
        self.ledger.judge()

    async def _some(self, count):
        """COUNT messages, acknowledged."""
        wanted = len(self.ledger.messages) + count
        while len(self.ledger.messages) < wanted:
            self.cast.produce(5)
            await asyncio.sleep(0.005)
        await self.cast.until(lambda: not any(p.outgoing for p in self.cast.publishers), 20.0,
                              'acknowledgements')

    async def _while_full(self, life):
        cast, publisher = self.cast, self.cast.publishers[1]
        self.ledger.expect_refusals = True
        self.disk.fill()
        for _ in range(4):   # these wait: nobody knew of it when they came
            cast.publishers[0].publish('t/pub0/0', 1, bytes(4000))
            cast.publishers[0].publish('t/pub0/0', 2, bytes(4000))
        await cast.until(lambda: self.figures.get('store/failing') == b'1', 20.0, 'failing 1')
        tried = [publisher.publish('t/pub1/0', qos, b'refuse this') for qos in (1, 2)]
        await cast.until(lambda: all(m.refused or m.acked for m in tried), 10.0, 'a refusal')
        if [m.refused for m in tried] != [0x97, 0x97]:
            self.ledger.fail(f'on a full disk: {[str(m) for m in tried]}')
        self._expect_log('store.failing', life + 1)
        await self._plain_still_goes()
        before = cast.changing.refused
        cast.changing.subscribe(f'c/{life}/#', 1)
        await cast.until(lambda: not cast.changing.requests, 10.0, 'SUBACK')
        if cast.changing.refused == before:
            self.ledger.fail('a subscription of a stored session was granted on a full disk')

    async def _plain_still_goes(self):
        """QoS 0 has nothing to do with the disk."""
        self.plain.clear()
        self.watcher.send_plain('plain', b'on')
        await self.cast.until(lambda: self.plain, 10.0, 'a QoS 0 message')

    async def _afterwards(self, life):
        """Once it goes on by itself, once the broker is killed while the disk is full."""
        cast = self.cast
        if life == 0:
            self.disk.empty()
            await cast.until(lambda: self.figures.get('store/failing') == b'0', 20.0, 'failing 0')
            self._expect_log('store.recovered', 1)
        else:
            self.server.kill()
            self.disk.empty()
            await self.server.start(2)
            self.ledger.judge_retained(*await read_retained(self.run.port, self.ledger))
        self._expect_log('store.failing', life + 1)
        await cast.until(lambda: not any(p.outgoing for p in cast.publishers), 20.0,
                         'acknowledgements of what waited')
        self.ledger.expect_refusals = False
        await self._some(200)

    def _expect_log(self, event, count):
        """`count` times, or a few more in turn: what the broker frees on a full disk may let it
        store for a moment."""
        log = self.server.log()
        seen = log.count(f' {event} ')
        in_turn = True
        for life in log.split(' broker.starting '):
            told = re.findall(r' (store\.failing|store\.recovered) ', life)
            in_turn = in_turn and all(one != two for one, two in zip(told, told[1:]))
        if seen < count or seen > count + 5 or not in_turn:
            self.ledger.fail(f'{event} stands {seen} times in the log, expected {count}')


async def full_disk(options):
    """Nothing is acknowledged that was not stored, and it goes on when there is room again."""
    with Run(options, options.seed + 2) as run:
        disk = SmallDisk(run)
        try:
            await FullDisk(run, disk).go()
        except TROUBLE:
            run.ledger.fail(traceback.format_exc())
        finally:
            disk.close()
    return run.ledger.failures


# --------------------------------------------------------------------------------------- running

TESTS = (fifty_kills, lies, full_disk)


def run_test(test, options):
    """True when it passed."""
    started = time.monotonic()
    try:
        failures = asyncio.run(test(options))
    except TROUBLE:
        failures = [traceback.format_exc()]
    verdict = 'ok  ' if not failures else 'FAIL'
    print(f'{verdict} {test.__name__} {time.monotonic() - started:.1f} s', flush=True)
    for failure in failures[:SHOWN_FAILURES]:
        print(f'  {failure}')
    if len(failures) > SHOWN_FAILURES:
        print(f'  and {len(failures) - SHOWN_FAILURES} more')
    return not failures


def arguments():
    """The parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--binary', default=str(ROOT / 'build/release/mqttv5'))
    parser.add_argument('--kills', type=int, default=50, help='how many (50, about a minute)')
    parser.add_argument('--seed', type=int, default=None, help='default: drawn, and printed')
    parser.add_argument('--dir', default=None, help='a folder on the disk to be used ($TMPDIR)')
    parser.add_argument('--only', default='', help='tests whose names hold this')
    parser.add_argument('--broker-flag', action='append', default=[],
                        help='handed to the broker: --broker-flag=--durability=relaxed')
    return parser.parse_args()


def main():
    """The exit status says whether all passed."""
    options = arguments()
    options.binary = os.path.abspath(options.binary)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    print(f'seed {options.seed}', flush=True)
    results = [run_test(test, options) for test in TESTS if options.only in test.__name__]
    print(f'{results.count(True)} passed, {results.count(False)} failed')
    return 0 if results and all(results) else 1


if __name__ == '__main__':
    sys.exit(main())

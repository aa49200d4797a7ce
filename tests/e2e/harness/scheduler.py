# Runs the tests, each in a process of its own that is killed when its time is over.
# SPDX-License-Identifier: MIT OR Apache-2.0
import dataclasses
import os
import selectors
import signal
import time
import traceback

from harness.broker import die_with_parent
from harness.context import Context, Skip

PASSED, FAILED, SKIPPED = 'ok', 'FAIL', 'skip'


@dataclasses.dataclass
class Job:
    """One test against one number of workers."""
    test: object
    workers: int
    broker: object
    pid: int = 0
    pipe: int = -1
    started: float = 0.0
    output: bytes = b''
    timed_out: bool = False

    @property
    def name(self):
        """What is printed."""
        return f'{self.test.name} [{self.workers} worker{"s" if self.workers > 1 else ""}]'


def run_in_child(job, kind, pipe):
    """The child's whole life: runs the test, writes verdict and text, exits."""
    os.setpgid(0, 0)
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    context = Context(job.test.name, kind, job.broker, job.workers)
    verdict, text = PASSED, ''
    try:
        job.test.function(context)
    except Skip as skip:
        verdict, text = SKIPPED, str(skip)
    except BaseException:   # pylint: disable=broad-except
        verdict, text = FAILED, traceback.format_exc()
        if context.broker is not None and context.broker is not job.broker:
            text += 'broker printed:\n' + context.broker.log()
    context.close()
    data = f'{verdict}\n{text}'.encode()
    while data:
        data = data[os.write(pipe, data):]
    os._exit(0)


class Scheduler:
    """Keeps up to PARALLEL jobs running; at most one of them is an `alone` one."""

    def __init__(self, kind, parallel, report):
        self._kind = kind
        self._parallel = parallel
        self._report = report
        self._running = {}
        self._selector = selectors.DefaultSelector()
        self._previous_hog = None

    def run(self, jobs):
        """Runs all JOBS to their ends."""
        waiting = sorted(jobs, key=lambda j: not j.test.first)
        try:
            while waiting or self._running:
                self._start_some(waiting)
                self._wait_for_one()
        finally:
            for job in list(self._running.values()):
                self._kill(job)
                os.waitpid(job.pid, 0)

    def _start_some(self, waiting):
        hogs = sum(j.test.alone for j in self._running.values())
        index = 0
        while index < len(waiting) and len(self._running) < self._parallel:
            job = waiting[index]
            if job.test.alone and hogs:
                index += 1
                continue
            hogs += job.test.alone
            self._start(waiting.pop(index))

    def _start(self, job):
        read_end, write_end = os.pipe()
        job.started = time.monotonic()
        job.pid = os.fork()
        if job.pid == 0:
            os.close(read_end)
            run_in_child(job, self._kind, write_end)
        os.close(write_end)
        job.pipe = read_end
        self._running[read_end] = job
        self._selector.register(read_end, selectors.EVENT_READ)

    @staticmethod
    def _kill(job):
        try:
            os.killpg(job.pid, signal.SIGKILL)
        except ProcessLookupError:
            try:
                os.kill(job.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _wait_for_one(self):
        deadline = min(j.started + j.test.limit_s for j in self._running.values())
        for key, _ in self._selector.select(max(0.0, deadline - time.monotonic())):
            job = self._running[key.fd]
            chunk = os.read(key.fd, 65536)
            job.output += chunk
            if not chunk:
                self._finish(job)
        now = time.monotonic()
        for job in list(self._running.values()):
            if now >= job.started + job.test.limit_s:
                job.timed_out = True
                self._kill(job)
                self._finish(job)

    def _finish(self, job):
        self._selector.unregister(job.pipe)
        os.close(job.pipe)
        del self._running[job.pipe]
        _, status = os.waitpid(job.pid, 0)
        self._kill_leftovers(job)
        elapsed = time.monotonic() - job.started
        verdict, _, text = job.output.decode('utf-8', 'replace').partition('\n')
        if job.timed_out:
            verdict, text = FAILED, f'still running after {job.test.limit_s} s, killed\n'
        elif not verdict:
            verdict, text = FAILED, f'the test process ended with wait status {status}\n'
        self._report(job, verdict, elapsed, text)

    @staticmethod
    def _kill_leftovers(job):
        """Whatever the test started shares its process group."""
        try:
            os.killpg(job.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

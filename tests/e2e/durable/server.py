# The broker process on a folder that outlives it: start, SIGKILL, SIGTERM, SIGSTOP.
# SPDX-License-Identifier: MIT OR Apache-2.0
import asyncio
import signal
import socket
import subprocess

from harness.broker import die_with_parent

START_LIMIT_S = 20.0
STOP_LIMIT_S = 20.0


class ServerError(Exception):
    """The broker did not start, or ended by itself."""


def child_setup():
    """No orphans; a file size limit is to be an error of write(), not a signal."""
    die_with_parent()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


class Server:
    """Runs one broker at a time on FOLDER and PORT; its log goes to LOG, all lives in one file."""

    def __init__(self, binary, port, folder, log, flags=(), wrapper=()):
        self.binary, self.port, self.folder, self.log_path = binary, port, folder, log
        self.flags, self.wrapper = list(flags), list(wrapper)
        self.process = None
        self.lives = 0

    def spawn(self, workers):
        """Starts the process; does not wait for anything."""
        command = [*self.wrapper, self.binary, 'broker', '--host', f'127.0.0.1:{self.port}',
                   '--allow-anonymous', '--storage-backend', 'file', '--storage-dir', self.folder,
                   '--workers', str(workers), *self.flags]
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=child_setup)
        self.lives += 1

    async def start(self, workers):
        """Starts, and waits until it has taken over its store and answers."""
        self.spawn(workers)
        async with asyncio.timeout(START_LIMIT_S):
            while not self._answers():
                if self.process.poll() is not None:
                    raise ServerError(f'the broker ended at start with {self.process.returncode}:\n'
                                      + self.log()[-2000:])
                await asyncio.sleep(0.005)

    def _answers(self):
        try:
            socket.create_connection(('127.0.0.1', self.port), 0.2).close()
            return True
        except OSError:
            return False

    def signal(self, number):
        """Sends a signal to the process."""
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, and the end of the process; its exit status."""
        self.process.kill()
        return self.process.wait()

    async def wait(self, limit_s=STOP_LIMIT_S):
        """Waits for the process to end by itself; its exit status."""
        async with asyncio.timeout(limit_s):
            while self.process.poll() is None:
                await asyncio.sleep(0.005)
        return self.process.returncode

    def must_run(self):
        """Raises when the broker has ended by itself."""
        if self.process.poll() is not None:
            raise ServerError(f'the broker ended by itself with {self.process.returncode}:\n'
                              + self.log()[-3000:])

    def log(self):
        """All that it has printed, in all of its lives."""
        with open(self.log_path, encoding='utf-8', errors='replace') as log:
            return log.read()

# The command-line clients: Mosquitto's, and our own `mqttv5 pub|sub`.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import signal
import subprocess
import threading

from harness.wait import DEFAULT_S, Log

# mosquitto_sub prints one line a message; the payload in hex, since it may hold anything.
SUB_FORMAT = 'MSG\t%t\t%q\t%r\t%x\t%P'


class SubMessage:
    """One line of mosquitto_sub."""

    def __init__(self, line):
        _, self.topic, qos, retain, payload, self.user_properties = line.split('\t')
        self.qos = int(qos)
        self.retain = retain == '1'
        self.payload = bytes.fromhex(payload)

    def __repr__(self):
        return f'{self.topic}={self.payload[:40]!r} q{self.qos} r{int(self.retain)}'


class Process:
    """A child whose two outputs are read by threads, so that neither pipe can block it."""

    def __init__(self, argv, stdin=None, on_line=None, env=None):
        self.argv = [str(a) for a in argv]
        self._stdout, self._stderr = bytearray(), bytearray()
        self.lines = Log(' '.join(self.argv[:2]) + ' stdout')
        self.error_lines = Log(' '.join(self.argv[:2]) + ' stderr')
        self._on_line = on_line
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=None if env is None else {**os.environ, **env})
        self._threads = [
            self._start(self._read, self.process.stdout, self._stdout, self.lines, True),
            self._start(self._read, self.process.stderr, self._stderr, self.error_lines, False)]
        if stdin is not None:
            self._threads.append(self._start(self._feed, stdin))

    @staticmethod
    def _start(function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        return thread

    def _read(self, pipe, into, log, is_stdout):
        for line in pipe:
            into += line
            shown = line.rstrip(b'\n').decode('utf-8', 'replace')
            log.add(shown)
            if is_stdout and self._on_line:
                self._on_line(shown)

    def _feed(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def wait(self, timeout_s=DEFAULT_S):
        """The exit status, when both outputs have been read to their ends."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as slow:
            raise AssertionError(f'{self.argv} still ran after {timeout_s} s; stdout '
                                 f'{bytes(self._stdout[-500:])!r}, stderr '
                                 f'{bytes(self._stderr[-500:])!r}') from slow
        for thread in self._threads:
            thread.join(timeout_s)
        return status

    def succeed(self, timeout_s=DEFAULT_S):
        """Waits; fails unless the exit status is 0. Returns stdout."""
        status = self.wait(timeout_s)
        if status != 0:
            raise AssertionError(f'{self.argv} exited with {status}: {self.stderr!r}')
        return self.stdout

    @property
    def stdout(self):
        """All of stdout so far, as bytes."""
        return bytes(self._stdout)

    @property
    def stderr(self):
        """All of stderr so far, as text."""
        return self._stderr.decode('utf-8', 'replace')

    def signal(self, number=signal.SIGTERM):
        """Sends a signal to this process."""
        self.process.send_signal(number)

    def close(self):
        """Kills and reaps, if it still runs; for clean-up."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class MosquittoSub(Process):
    """mosquitto_sub, whose CONNACK, SUBACK and messages can be awaited."""

    def __init__(self, host, port, *arguments, version='v5'):
        self.messages = Log('mosquitto_sub messages')
        self._subacks = Log('mosquitto_sub SUBACKs')
        # Into a pipe it would print at its end only.
        super().__init__(['stdbuf', '-oL', 'mosquitto_sub', '-h', host, '-p', port,
                          '-V', 'mqtt' + version, '-d', '-F', SUB_FORMAT, *arguments],
                         on_line=self._take)

    def _take(self, line):
        if line.startswith('MSG\t'):
            self.messages.add(SubMessage(line))
        elif line.startswith('Subscribed (mid:'):
            self._subacks.add(line)

    def wait_subscribed(self):
        """Waits for the SUBACK."""
        try:
            self._subacks.wait_count(1)
        except AssertionError as error:
            raise AssertionError(f'{error}; printed {self.stdout[-400:]!r}, '
                                 f'{self.stderr[-400:]!r}') from error
        return self

    def receive(self, count, timeout_s=DEFAULT_S):
        """The messages, as soon as there are COUNT; fails when there are more."""
        got = self.messages.wait_count(count, timeout_s)
        assert len(got) == count, f'mosquitto_sub: {len(got)} messages instead of {count}'
        return got


def mosquitto_pub(host, port, *arguments, version='v5', stdin=None, timeout_s=DEFAULT_S):
    """Runs mosquitto_pub to its end, which must be a success."""
    child = Process(['mosquitto_pub', '-h', host, '-p', port, '-V', 'mqtt' + version,
                     *arguments], stdin=stdin)
    try:
        child.succeed(timeout_s)
    finally:
        child.close()


def has_command(binary, command):
    """True when our program BINARY exists and knows COMMAND."""
    if not binary or not os.access(binary, os.X_OK):
        return False
    done = subprocess.run([binary, command, '--help'], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=10, check=False)
    return done.returncode == 0

# Starts a broker on a free port, waits until it accepts, stops it by its process id.
# SPDX-License-Identifier: MIT OR Apache-2.0
import ctypes
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness.certificates import Authority

START_LIMIT_S = 10.0
STOP_LIMIT_S = 5.0

MOSQUITTO_CONF = """\
allow_anonymous true
sys_interval 1
max_queued_messages 0
max_topic_alias 10
set_tcp_nodelay true
user root
listener {port} {bare_host}
"""

# What a broker may listen on beside TCP.
TLS, WS, WSS = 'tls', 'ws', 'wss'
SCHEMES = {'tcp': 'mqtt', TLS: 'mqtts', WS: 'ws', WSS: 'wss'}
LISTENER_FLAGS = {TLS: '--tls-host', WS: '--ws-host', WSS: '--ws-tls-host'}


PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent():
    """In a child, before it becomes another program: no orphan survives a killed test run."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class BrokerError(Exception):
    """The broker did not start, or did not stop as it must."""


def free_port(host='127.0.0.1'):
    """A port nobody listens on; below the range from which the kernel takes client ports."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    for _ in range(200):
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue
    raise BrokerError('no free port found')


class BrokerKind:
    """How to start the broker under test: our program, Mosquitto, or any command."""

    def __init__(self, binary=None, command=None, mosquitto=None):
        self.binary = binary
        self.command = command
        self.mosquitto = mosquitto

    @staticmethod
    def mosquitto_conf(host, ports, certificate):
        """The same listeners in Mosquitto's words."""
        conf = MOSQUITTO_CONF.format(port=ports['tcp'], bare_host=host)
        for name, port in ports.items():
            if name == 'tcp':
                continue
            conf += f'listener {port} {host}\n'
            if name in (WS, WSS):
                conf += 'protocol websockets\n'
            if name in (TLS, WSS):
                conf += f'certfile {certificate[0]}\nkeyfile {certificate[1]}\n'
        return conf

    def argv(self, host, ports, workers, folder, flags=(), certificate=None):
        """The words of the command for one broker; FLAGS are added to our program's."""
        at = f'[{host}]' if ':' in host else host
        port = ports['tcp']
        if self.mosquitto:
            conf = os.path.join(folder, 'mosquitto.conf')
            with open(conf, 'w', encoding='utf-8') as out:
                out.write(self.mosquitto_conf(host, ports, certificate))
            return [self.mosquitto, '-c', conf]
        for name, other in ports.items():
            if name in LISTENER_FLAGS:
                flags = [*flags, LISTENER_FLAGS[name], f'{at}:{other}']
        if certificate:
            flags = [*flags, '--tls-cert', certificate[0], '--tls-key', certificate[1]]
        if self.command:
            filled = self.command.format(port=port, workers=workers, host=at)
            return shlex.split(filled) + list(flags)
        return [self.binary, 'broker', '--host', f'{at}:{port}', '--allow-anonymous',
                '--storage-backend', 'memory', '--workers', str(workers), *flags]


class Broker:
    """A running broker process. Use as a context, or call stop()."""

    def __init__(self, kind, workers, flags=(), host='127.0.0.1', port=None, listeners=()):
        self.host = host
        self.port = port or free_port(host)
        self.ports = {'tcp': self.port, **{name: free_port(host) for name in listeners}}
        self.workers = workers
        self.folder = tempfile.mkdtemp(prefix='mqtt5-e2e-')
        os.chmod(self.folder, 0o755)
        self.authority = self.certificate = None
        if TLS in listeners or WSS in listeners:
            self.authority = Authority(self.folder)
            self.certificate = self.authority.issue('server', 'localhost')
        self.log_path = os.path.join(self.folder, 'log')
        self._last_log = None
        argv = kind.argv(host, self.ports, workers, self.folder, flags, self.certificate)
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder,
                                            preexec_fn=die_with_parent)
        self._wait_until_it_accepts()

    def _wait_until_it_accepts(self):
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BrokerError(f'broker ended at start with {self.process.returncode}:\n'
                                  + self.log())
            try:
                for port in self.ports.values():
                    socket.create_connection((self.host, port), 1.0).close()
                return
            except OSError:
                time.sleep(0.01)
        self.kill()
        raise BrokerError(f'broker did not accept within {START_LIMIT_S} s:\n' + self.log())

    def url(self, name='tcp'):
        """The address of one of its listeners, as our clients and MQTT.js take it."""
        host = f'[{self.host}]' if ':' in self.host else self.host
        path = '/mqtt' if name in (WS, WSS) else ''
        return f'{SCHEMES[name]}://{host}:{self.ports[name]}{path}'

    def log(self):
        """What the broker has printed so far (its last 4,000 bytes)."""
        if self._last_log is not None:
            return self._last_log
        with open(self.log_path, 'rb') as log:
            return log.read()[-4000:].decode('utf-8', 'replace')

    def is_running(self):
        """True while the process has not ended."""
        return self.process.poll() is None

    def terminate(self, limit_s=STOP_LIMIT_S):
        """SIGTERM; returns (exit status, seconds it took). Fails if it takes too long."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired as slow:
            self.kill()
            raise BrokerError(f'broker still ran {limit_s} s after SIGTERM:\n'
                              + self.log()) from slow
        return status, time.monotonic() - started

    def kill(self):
        """SIGKILL, by process id; reaps, and removes the folder."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._last_log = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

#!/usr/bin/env python3
"""Runs golden conversations against a live broker over TCP.

The language is described in README.md beside this file; language.py reads it.
Only the standard library is used, and nothing of the project's own codec.

SPDX-License-Identifier: MIT OR Apache-2.0
"""

import argparse
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from language import (ScriptError, build, compile_steps, match, read_file, read_varint, unescape,
                      varint, words)

DEFAULT_QUIET_S = 0.12
SETTLE_S = 0.03

# ---------------------------------------------------------------- a connection


class Failure(Exception):
    pass


class Skip(Exception):
    pass


class Connection:
    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port), timeout=5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.eof = False
        self.version = 5

    def send(self, data):
        if data[:1] == b"\x10":
            for name in (b"\0\4MQTT", b"\0\6MQIsdp"):
                at = data.find(name, 1, 14)
                if at >= 0 and at + len(name) < len(data):
                    self.version = 5 if data[at + len(name)] == 5 else 4
        try:
            self.sock.sendall(data)
        except OSError:
            self.eof = True

    def fill(self, seconds):
        """Waits for more bytes; says whether anything (bytes or the end) came."""
        if self.eof:
            return False
        self.sock.settimeout(max(seconds, 0.001))
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            return False
        except OSError:
            data = b""
        if data:
            self.buffer += data
        else:
            self.eof = True
        return True

    def frame_size(self):
        if not self.buffer:
            return None
        length, pos = read_varint(self.buffer, 1, len(self.buffer))
        if length is None:
            return len(self.buffer) if len(self.buffer) >= 5 else None
        return pos + length if pos + length <= len(self.buffer) else None

    def next_packet(self, timeout):
        """The next packet without taking it, or None: the end or the time is over."""
        end = time.monotonic() + timeout
        while self.frame_size() is None:
            left = end - time.monotonic()
            if self.eof or left <= 0 or (not self.fill(left) and not self.eof):
                return None
        return self.buffer[:self.frame_size()]

    def take(self, packet):
        self.buffer = self.buffer[len(packet):]

    def close(self):
        self.sock.close()


# ---------------------------------------------------------------- running one scenario

def more_follows(steps, i):
    """Whether something must still come on the connection of this optional step."""
    for _, verb, name, body in steps[i + 1:]:
        if name == steps[i][2] and verb in ("<", "<&"):
            return "nothing" not in body[0]
        if name is None or name == steps[i][2] and verb != "<?":
            return False
    return False


def forgive(step):
    """With --lenient, the DISCONNECT that explains a closing connection may be missing."""
    number, verb, name, body = step
    if verb == "<" and all(isinstance(o, list) and o and o[0][:1] == ("bytes",)
                           and o[0][1][:1] == b"\xe0" for o in body[0]):
        return (number, "<?", name, body)
    return step


class Runner:
    def __init__(self, host, port, options, broker=None):
        self.host, self.port, self.options, self.broker = host, port, options, broker
        self.connections, self.env = {}, {}
        self.now = None  # the planned time, from the first `advance` on

    def run(self, scenario):
        steps = compile_steps(scenario)
        if self.options.lenient:
            steps = [forgive(step) for step in steps]
        total = sum(s[3] for s in steps if s[1] == "advance")
        if total > self.options.max_advance:
            raise Skip("needs %gs of time" % total)
        if any(s[1] in ("stop", "restart", "crash") for s in steps) and self.broker is None:
            raise Skip("must stop the broker")
        if any(s[1] == "store" for s in steps):
            raise Skip("needs a store that waits, or fails, when told to")
        i, pending = 0, None
        try:
            while i < len(steps):
                number, verb, name, body = steps[i]
                where = "%s:%d" % (scenario.path, number)
                # A step sent on one connection is given time to act before the next speaks.
                if pending not in (None, name) and verb in (">", "open", "close", "stop",
                                                            "restart", "crash"):
                    time.sleep(SETTLE_S)
                pending = name if verb in (">", "close") else None
                if verb == "<&":
                    group = [steps[i]]
                    while i + 1 < len(steps) and steps[i + 1][1:3] == ("<&", name):
                        i += 1
                        group.append(steps[i])
                    self.expect_unordered(name, group, scenario)
                elif verb == "<?":
                    self.expect_optional(name, body, where, more_follows(steps, i))
                else:
                    self.step(verb, name, body, where)
                i += 1
            self.expect_quiet_end(scenario)
        finally:
            for c in self.connections.values():
                c.close()

    def connection(self, name, where):
        if name not in self.connections:
            raise ScriptError("%s: %s is not open" % (where, name))
        return self.connections[name]

    def step(self, verb, name, body, where):
        if verb == "advance":
            self.advance(body)
        elif verb == "stop":
            self.broker.terminate()
        elif verb in ("restart", "crash"):
            self.again(verb == "crash", body, where)
        elif verb == "open":
            if name in self.connections:
                self.connections.pop(name).close()
            self.connections[name] = Connection(self.host, self.port)
        elif verb == "close":
            self.connection(name, where).close()
            del self.connections[name]
        elif verb == ">":
            self.connection(name, where).send(build(body, self.env, where))
        else:
            self.expect(self.connection(name, where), name, body, where)

    def again(self, crash, down, where):
        """The broker goes, and comes back on the same port with the same store."""
        for name, conn in sorted(self.connections.items()):
            if conn.next_packet(0) is not None:
                raise Failure("%s: %s has got more than the conversation says" % (where, name))
        self.broker.go(crash)
        for conn in self.connections.values():
            conn.close()
        self.connections = {}
        time.sleep(down)
        if self.now is not None:
            self.now += down
        self.broker.start()

    def advance(self, seconds):
        """Sleeps until the planned moment: what the steps between took does not add up."""
        if self.now is None:
            self.now = time.monotonic()
        self.now += seconds
        time.sleep(max(self.now - time.monotonic(), 0))

    def matches(self, option, conn):
        if option == "closed":
            conn.next_packet(self.options.timeout)
            return not conn.buffer and conn.eof
        if option == "nothing":
            return conn.next_packet(self.options.quiet) is None and not conn.eof \
                and not conn.buffer
        packet = conn.next_packet(self.options.timeout)
        if packet is not None and match(option, 0, packet, 0, len(packet), self.env, None):
            conn.take(packet)
            return True
        return False

    def expect_optional(self, name, body, where, more):
        conn = self.connection(name, where)
        packet = conn.next_packet(self.options.timeout if more else self.options.quiet)
        for option in body[0]:
            if packet and isinstance(option, list) \
                    and match(option, 0, packet, 0, len(packet), self.env, None):
                conn.take(packet)
                return

    def expect(self, conn, name, body, where):
        options, text = body
        if not any(self.matches(option, conn) for option in options):
            raise Failure(self.difference(conn, name, text, options, where))

    def difference(self, conn, name, text, options, where):
        lines = ["%s: %s < %s" % (where, name, text)]
        for option in options:
            if isinstance(option, list):
                try:
                    want = build(option, self.env, where)
                    lines.append("  expected  %s" % hex_of(want))
                    lines.append("            %s" % words(want, conn.version))
                except ScriptError:
                    lines.append("  expected  %s" % text)
            else:
                lines.append("  expected  %s" % option)
        got = conn.next_packet(0)
        if got is not None:
            lines.append("  got       %s" % hex_of(got))
            lines.append("            %s" % words(got, conn.version))
        elif conn.buffer:
            lines.append("  got       %s (an incomplete packet)" % hex_of(conn.buffer))
        else:
            lines.append("  got       %s" % ("closed" if conn.eof else "nothing"))
        return "\n".join(lines)

    def expect_unordered(self, name, group, scenario):
        where = "%s:%d" % (scenario.path, group[0][0])
        conn = self.connection(name, where)
        left = list(group)
        while left:
            packet = conn.next_packet(self.options.timeout)
            for step in left:
                if packet is not None and any(
                        isinstance(o, list) and match(o, 0, packet, 0, len(packet), self.env, None)
                        for o in step[3][0]):
                    left.remove(step)
                    conn.take(packet)
                    break
            else:
                text = " and ".join(s[3][1] for s in left)
                options = [o for s in left for o in s[3][0]]
                raise Failure(self.difference(conn, name, text, options, where))

    def expect_quiet_end(self, scenario):
        end = time.monotonic() + self.options.quiet
        for name, conn in sorted(self.connections.items()):
            packet = conn.next_packet(max(end - time.monotonic(), 0.001))
            if packet is not None or conn.buffer:
                raise Failure("%s:%d: %s got more than the conversation says\n  got       %s\n"
                              "            %s" % (scenario.path, scenario.steps[-1][0], name,
                                                  hex_of(conn.buffer),
                                                  words(packet or b"", conn.version)))


def hex_of(data):
    text = data[:96].hex(" ")
    return text + (" ... (%d bytes)" % len(data) if len(data) > 96 else "")


# ---------------------------------------------------------------- cleaning a shared broker


def client_ids_of(scenario):
    found = set()
    for _, text in scenario.steps:
        found.update(re.findall(r'connect\s+"((?:[^"\\]|\\.)*)"', text))
        m = re.search(r'>\s*10\s*\{.*?"MQ[A-Za-z]+"(.*)$', text)
        if m:
            found.update(re.findall(r'"((?:[^"\\]|\\.)*)"', m.group(1)))
    return {unescape(x) for x in found if x and len(x) < 60}


def leave(conn):
    """DISCONNECT, and wait for the end: then the session and its subscriptions are gone."""
    conn.send(b"\xe0\0")
    end = time.monotonic() + 2
    while not conn.eof and time.monotonic() < end:
        conn.fill(0.5)


def clean_broker(host, port, ids):
    """Ends the sessions of these clients and removes every retained message."""
    for one in ids:
        try:
            c = Connection(host, port)
            body = b"\0\4MQTT\5\2\0\0\0" + len(one).to_bytes(2, "big") + one
            c.send(b"\x10" + varint(len(body)) + body)
            if c.next_packet(2) is not None:
                leave(c)
            c.close()
        except OSError:
            pass
    c = Connection(host, port)
    c.send(b"\x10\x11\0\4MQTT\5\2\0\0\0\0\4wipe")
    if c.next_packet(2) is None:
        c.close()
        return
    c.take(c.next_packet(0))
    c.send(b"\x82\x07\0\1\0\0\1#\0")
    while True:
        packet = c.next_packet(0.08)
        if packet is None:
            break
        c.take(packet)
        if packet[0] & 0xf1 == 0x31:
            _, pos = read_varint(packet, 1, len(packet))
            topic = packet[pos:pos + 2 + int.from_bytes(packet[pos:pos + 2], "big")]
            c.send(b"\x31" + varint(len(topic) + 1) + topic + b"\0")
    leave(c)
    c.close()


# ---------------------------------------------------------------- brokers to start

# How each configuration key is said to the brokers that we know how to start.
OURS_FLAGS = {
    "maximum_qos": "--max-qos",
    "server_keep_alive_s": "--keep-alive",
    "keep_alive_max_s": "--keep-alive-max",
    "session_expiry_max_s": "--session-expiry",
    "connections_max": "--max-clients",
}
OURS_SWITCHES = {
    "retain_available": "--no-retain",
    "wildcard_subscription_available": "--no-wildcards",
    "subscription_identifier_available": "--no-subscription-identifiers",
    "shared_subscription_available": "--no-shared",
}
OURS_CHOICES = {
    "queue_policy": ["drop_newest", "drop_oldest"],
    "durability": ["strict", "relaxed", "memory"],
    "rate_action": ["wait", "refuse", "disconnect"],
    "shared_strategy": ["round_robin", "random", "sticky", "least_inflight", "hash_topic",
                        "hash_clientid"],
}


def ours(key, value):
    """The flags of `mqttv5 broker` that set this key."""
    if key == "durability_for":
        return [w for rule in value.split(",")
                for w in ("--durability-for", "=".join(rule.rsplit(":", 1)))]
    if key == "allow_anonymous":
        raise Skip("the command line allows anonymous clients on loopback")
    if key == "methods":
        raise Skip("the method is one of the engine's tests")
    if key.endswith("_ms"):
        key, value = key[:-3], value + "ms"
    rate = re.fullmatch(r"rate_per_(client|user|address)\.(\w+)", key)
    if rate:
        return [f"--{rate[1]}-{rate[2].replace('_', '-')}", value]
    if key in OURS_SWITCHES:
        return [] if value == "1" else [OURS_SWITCHES[key]]
    if key in OURS_CHOICES:
        value = OURS_CHOICES[key][int(value)]
    return [OURS_FLAGS.get(key, "--" + key.replace("_", "-")), value]


MOSQUITTO = {
    "maximum_qos": lambda v: ["max_qos " + v],
    "retain_available": lambda v: ["retain_available " + ("true" if v == "1" else "false")],
    "server_keep_alive_s": lambda v: ["max_keepalive " + v],
    "maximum_packet_size": lambda v: ["max_packet_size " + v],
    "topic_alias_maximum": lambda v: ["max_topic_alias " + v],
}


def comes_back(scenario):
    return any(re.match("(restart|crash)", text) for _, text in scenario.steps)


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


class Broker:
    """A broker process for one configuration; with a fresh folder if it is to come back."""

    def __init__(self, options, config, keeps=False):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory() if keeps else None
        command = options.mosquitto or options.command
        if options.mosquitto:
            lines = ["listener %d 127.0.0.1" % self.port, "allow_anonymous true"]
            lines += [l for k, v in config.items() for l in self.translate(MOSQUITTO, k, v)]
            self.conf = tempfile.NamedTemporaryFile("w", suffix=".conf")
            self.conf.write("\n".join(lines) + "\n")
            self.conf.flush()
            argv = [options.mosquitto, "-c", self.conf.name]
        else:
            extra = [w for k, v in config.items() for w in ours(k, v)]
            argv = shlex.split(command.replace("{port}", str(self.port))) + extra
            if keeps:
                argv = self.with_folder(argv)
        self.argv = argv
        self.log = tempfile.TemporaryFile()
        self.start()

    def with_folder(self, argv):
        if "--storage-backend" in argv:
            at = argv.index("--storage-backend")
            argv = argv[:at] + argv[at + 2:]
        return argv + ["--storage-dir", self.folder.name]

    def start(self):
        self.process = subprocess.Popen(self.argv, stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        self.wait_ready(self.argv)

    def go(self, crash):
        """Ends the process, at once or in order, and waits for it."""
        if crash:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            raise Failure("the broker does not end\n" + self.output())
        if not crash and code != 0:
            raise Failure("the broker ended with %d\n%s" % (code, self.output()))

    @staticmethod
    def translate(table, key, value):
        if key not in table:
            raise Skip("no way to configure %s" % key)
        return table[key](value)

    def wait_ready(self, argv):
        end = time.monotonic() + 5
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                time.sleep(SETTLE_S)  # until the broker has seen this connection end
                if self.process.poll() is None:
                    return
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise ScriptError("the broker did not start: %s\n%s" % (" ".join(argv), self.output()))

    def output(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")[-2000:]

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Worker(threading.Thread):
    """Takes scenarios from the common list; keeps at most one broker running."""

    def __init__(self, options, queue, results):
        super().__init__()
        self.options, self.queue, self.results = options, queue, results
        self.broker, self.config = None, None

    def run(self):
        try:
            while True:
                try:
                    index, scenario = self.queue.pop(0)
                except IndexError:
                    return
                self.results[index] = self.one(scenario)
        finally:
            if self.broker:
                self.broker.kill()

    def one(self, scenario):
        try:
            return self.attempt(scenario)
        except Skip as s:
            return ("skipped", str(s))
        except Failure as f:
            return ("failed", str(f))
        except ScriptError as e:
            return ("failed", "bad script: %s" % e)
        except OSError as e:
            return ("failed", "connection: %s" % e)

    def attempt(self, scenario):
        if self.options.port:
            if scenario.broker:
                raise Skip("needs broker: " + str(scenario.broker))
            host, port, broker = self.options.host, self.options.port, None
        else:
            self.ensure_broker(scenario)
            host, port, broker = "127.0.0.1", self.broker.port, self.broker
        try:
            Runner(host, port, self.options, broker).run(scenario)
            if not self.options.port and self.broker.process.poll() not in (None, 0):
                raise Failure("the broker died\n" + self.broker.output())
        finally:
            stopped = any(t == "stop" for _, t in scenario.steps) or comes_back(scenario)
            if not self.options.port and (stopped or self.broker.process.poll() is not None):
                self.broker.kill()
                self.broker = None
            else:
                clean_broker(host, port, client_ids_of(scenario))
        return ("passed", "")

    def ensure_broker(self, scenario):
        for attempts_left in (3, 2, 1, 0):
            try:
                self.have_broker(scenario.broker, comes_back(scenario))
                return
            except ScriptError:  # somebody else may have taken the port that was free
                if not attempts_left:
                    raise

    def have_broker(self, config, keeps):
        if self.broker and (keeps or self.config != config or
                            self.broker.process.poll() is not None):
            self.broker.kill()
            self.broker = None
        if not self.broker:
            if keeps and self.options.mosquitto:
                raise Skip("must come back with its store")
            self.broker, self.config = Broker(self.options, config, keeps), config


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="a broker that already listens there")
    where.add_argument("--command", help="starts a broker; {port} is put in")
    where.add_argument("--mosquitto", metavar="PROGRAM", help="starts this mosquitto")
    where.add_argument("--check", action="store_true", help="only read the files")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--timeout", type=float, default=3.0, help="seconds to wait for a packet")
    p.add_argument("--quiet", type=float, default=DEFAULT_QUIET_S,
                   help="seconds that count as nothing")
    p.add_argument("--max-advance", type=float, default=17.0,
                   help="longer conversations are skipped (seconds)")
    p.add_argument("--lenient", action="store_true",
                   help="a broker may close without the DISCONNECT that says why")
    p.add_argument("-j", "--jobs", type=int, default=8)
    p.add_argument("-k", "--only", help="run titles that contain this")
    p.add_argument("-v", "--verbose", action="store_true")
    p.add_argument("files", nargs="+")
    return p.parse_args()


def main():
    options = arguments()
    scenarios = [s for f in options.files for s in read_file(f)]
    if options.only:
        scenarios = [s for s in scenarios if options.only.lower() in s.title.lower()]
    if options.check:
        for s in scenarios:
            compile_steps(s)
        print("%d conversations read" % len(scenarios))
        return 0
    # Those with a configuration come last, so that equal ones find the same broker.
    order = sorted(range(len(scenarios)), key=lambda i: sorted(scenarios[i].broker.items()))
    queue = [(i, scenarios[i]) for i in order]
    results = [None] * len(scenarios)
    jobs = 1 if options.port else max(1, min(options.jobs, len(scenarios)))
    workers = [Worker(options, queue, results) for _ in range(jobs)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for scenario, (outcome, why) in zip(scenarios, results):
        count[outcome] += 1
        if outcome == "failed":
            print("FAILED %s\n%s\n" % (scenario.name(), why))
        elif outcome == "skipped" or options.verbose:
            print("%s %s%s" % (outcome, scenario.name(), why and " (" + why + ")"))
    print("%d passed, %d failed, %d skipped" % (
        count["passed"], count["failed"], count["skipped"]))
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ScriptError as error:
        print("error: %s" % error, file=sys.stderr)
        sys.exit(2)

#!/usr/bin/env python3
"""Load of many kinds at once on a multi-worker broker built with the thread sanitizer.

    tests/tsan/run.py --binary build/tsan/mqttv5 [--workers 4] [--seconds 30] [--seed N]

Fails on any ThreadSanitizer report, on a broker that dies or does not end with 0 after
SIGTERM, and on a load that did not flow. The seed is printed; threads make no two runs equal.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import os
import pathlib
import random
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / 'tests/e2e'))
DEBIAN_PYTHON = '/usr/bin/python3'

try:
    import paho.mqtt.client   # noqa: F401, pylint: disable=unused-import
except ImportError:
    if sys.executable == DEBIAN_PYTHON or not os.path.exists(DEBIAN_PYTHON):
        sys.exit('tsan/run.py: python3-paho-mqtt is missing (apt install python3-paho-mqtt)')
    os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])

from harness import wire                                  # noqa: E402
from harness.broker import Broker, BrokerError, BrokerKind  # noqa: E402
from harness.peer import V311, V5, Peer                   # noqa: E402

# A report goes to a file beside the broker's log; halt_on_error stays off, so that one run
# shows them all. exitcode=66 makes a report visible in the exit status as well.
OPTIONS = 'halt_on_error=0 exitcode=66 second_deadlock_stack=1 history_size=4'
STOP_LIMIT_S = 20.0     # the sanitizer slows the drain down
HANDSHAKE_S = 15.0      # a sanitized broker on a busy machine takes its time
TOPICS = 8


class Load:
    """The state that all threads of one kind of load share."""

    def __init__(self, broker, seed, seconds):
        self.broker = broker
        self.seed = seed
        self.until = time.monotonic() + seconds
        self.counts = {}
        self.faults = []
        self._lock = threading.Lock()

    def goes_on(self):
        """True until the time is over or the broker is gone."""
        return time.monotonic() < self.until and self.broker.is_running()

    def count(self, what, more=1):
        """Counts work done, to show that the load did flow."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + more

    def wire(self, level=5):
        """A raw connection whose reads give up soon."""
        link = wire.Wire(self.broker.host, self.broker.port, level)
        link.socket.settimeout(5.0)
        return link


def drain(link, timeout_s=0.0):
    """Reads and acknowledges what has come; False when the connection has ended."""
    while True:
        try:
            got = link.read(timeout_s)
        except AssertionError:
            return True
        if got is None:
            return False
        if got.kind == wire.PUBLISH and got.qos:
            link.send(wire.ack(wire.PUBACK if got.qos == 1 else wire.PUBREC, got.packet_id))
        elif got.kind == wire.PUBREC:
            link.send(wire.ack(wire.PUBREL, got.packet_id))
        elif got.kind == wire.PUBREL:
            link.send(wire.ack(wire.PUBCOMP, got.packet_id))


def will_connect(name, level, expiry, rng):
    """A CONNECT with a will on one of the common topics."""
    flags = 4 | rng.randrange(3) << 3 | rng.randrange(2) << 5 | rng.randrange(2) << 1
    body = wire.text('MQTT') + bytes([level, flags]) + b'\x00\x05'
    if level == 5:
        props = wire.session_expiry(expiry)
        body += wire.varint(len(props)) + props
    body += wire.text(name)
    if level == 5:
        props = b'\x18\x00\x00\x00' + bytes([rng.randrange(2)])
        body += wire.varint(len(props)) + props
    return wire.packet(0x10, body + wire.text(f'load/{rng.randrange(TOPICS)}')
                       + wire.text('will'))


def connect_storm(load, rng):
    """Connections that come, sometimes subscribe, and go in every way there is."""
    while load.goes_on():
        level = rng.choice((4, 5))
        with load.wire(level) as link:
            link.send(will_connect(f'storm-{rng.randrange(40)}', level, rng.randrange(3), rng))
            way = rng.randrange(5)
            if way == 0:
                continue                          # gone before the CONNACK
            if link.read(HANDSHAKE_S) is None:
                continue
            if way >= 2:
                link.send(wire.subscribe(1, f'load/{rng.randrange(TOPICS)}', 1, level))
                link.send(wire.publish(f'load/{rng.randrange(TOPICS)}', b's', 1, 2, level=level))
                drain(link)
            if way == 4:
                link.send(wire.packet(0xE0))
            load.count('connections')


def kick_storm(load, rng):
    """One client id, taken over again and again, by connections with a shared session."""
    while load.goes_on():
        with load.wire() as link:
            link.send(wire.connect('kicked', 5, rng.random() < 0.2, 60, wire.session_expiry(5)))
            if link.read(HANDSHAKE_S) is None:
                continue
            link.send(wire.subscribe(1, 'load/+', 2))
            link.send(wire.publish('load/1', b'k', 2, 3))
            for _ in range(rng.randrange(4)):
                if not drain(link, 0.005):
                    break
            load.count('takeovers')


def filter_churn(load, rng):
    """The same few filters, subscribed and unsubscribed everywhere at once."""
    filters = ['load/+', 'load/1', 'load/#', '+/2', '#', '$share/a/load/+', '$share/b/load/3',
               'load/+/deep', 'load/3/deep/#']
    while load.goes_on():
        with load.wire() as link:
            link.open(f'churn-{rng.randrange(1000)}-{threading.get_ident()}')
            for i in range(40):
                topic_filter = rng.choice(filters)
                if rng.random() < 0.6:
                    link.send(wire.subscribe(2 * i + 1, topic_filter, rng.randrange(3)))
                else:
                    link.send(wire.unsubscribe(2 * i + 1, topic_filter))
                link.send(wire.publish(f'load/{rng.randrange(TOPICS)}', b'c', 0))
                if not drain(link):
                    break
                load.count('subscription changes')


def retained_churn(load, rng):
    """Retained messages set, cleared and asked for on the same topics."""
    with load.wire() as link:
        link.open(f'retained-{threading.get_ident()}')
        packet_id = 0
        while load.goes_on():
            packet_id = packet_id % 60000 + 1
            payload = b'' if rng.random() < 0.3 else b'r' * rng.randrange(1, 300)
            link.send(wire.publish(f'load/{rng.randrange(TOPICS)}/kept', payload, 1, packet_id,
                                   retain=True))
            if rng.random() < 0.3:
                link.send(wire.subscribe(60001, 'load/+/kept', 1))
            if not drain(link, 0.002):
                load.faults.append('the connection of retained_churn was closed')
                return
            load.count('retained messages')


def paho_pair(load, rng):
    """A publisher and a subscriber that check that all arrives in order across the workers."""
    version = rng.choice((V5, V311))
    qos = rng.randrange(1, 3)
    name = f'pair-{threading.get_ident()}'
    address = (load.broker.host, load.broker.port)
    sink, source = (Peer(*address, f'{name}-{role}', version) for role in ('sub', 'pub'))
    try:
        sink.connect(30)
        sink.subscribe(f'pair/{name}', qos, timeout_s=30)
        source.connect(30)
        done = 0
        while load.goes_on():
            for i in range(done, done + 50):
                source.send(f'pair/{name}', b'%d' % i, qos)
            done += 50
            got = sink.messages.wait_count(done, 30)
            if [int(m.payload) for m in got[-50:]] != list(range(done - 50, done)):
                load.faults.append(f'{name}: lost, doubled or out of order at QoS {qos}')
                return
            load.count('messages of pairs', 50)
    finally:
        source.close()
        sink.close()


def shared_group(load, rng):
    """Members of a group that come and go while the group is published to."""
    while load.goes_on():
        with load.wire() as member:
            member.open(f'member-{threading.get_ident()}-{rng.randrange(3)}')
            member.subscribe('$share/team/jobs/+', rng.randrange(3))
            for i in range(30):
                member.send(wire.publish(f'jobs/{rng.randrange(3)}', b'j', rng.randrange(2), i + 1))
                if not drain(member, 0.002):
                    break
            load.count('group members')
            # One in two goes without acknowledging what is still under way.


def sys_reader(load, _rng):
    """$SYS, and a wildcard over everything, read all the time."""
    with load.wire() as link:
        link.open(f'sys-{threading.get_ident()}')
        link.subscribe('$SYS/#', 0)
        link.send(wire.subscribe(2, '#', 1))
        while load.goes_on():
            if not drain(link, 0.05):
                load.faults.append('the connection of sys_reader was closed')
                return
            load.count('wildcard reads')


KINDS = ((connect_storm, 3), (kick_storm, 3), (filter_churn, 3), (retained_churn, 2),
         (paho_pair, 4), (shared_group, 3), (sys_reader, 1))


def run_one(load, kind, seed):
    """A thread's life; errors that a storm brings by itself end a round, not the thread."""
    rng = random.Random(seed)
    while load.goes_on():
        try:
            kind(load, rng)
        except (ConnectionError, TimeoutError):
            load.count('broken connections')
        except AssertionError as error:
            load.faults.append(f'{kind.__name__}: {error}')
            return


def run_load(load):
    """All kinds at once, until the time is over."""
    threads = []
    for kind, copies in KINDS:
        for copy in range(copies):
            seed = f'{load.seed}-{kind.__name__}-{copy}'
            threads.append(threading.Thread(target=run_one, args=(load, kind, seed), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, load.until - time.monotonic()) + 60.0)
        if thread.is_alive():
            load.faults.append('a load thread did not end')
            return


def stop(broker, faults):
    """SIGTERM, and whatever is wrong with how the broker ends."""
    if not broker.is_running():
        faults.append(f'the broker died with {broker.process.returncode}')
        return
    try:
        status, _ = broker.terminate(STOP_LIMIT_S)
        if status != 0:
            faults.append(f'the broker ended with {status}')
    except BrokerError as error:
        faults.append(str(error))


def reports(folder):
    """All ThreadSanitizer reports, as one text."""
    texts = [p.read_text('utf-8', 'replace') for p in sorted(folder.glob('tsan.*'))]
    return '\n'.join(texts)


def main():
    """Starts the broker, loads it, stops it, looks for reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--binary', default=str(ROOT / 'build/tsan/mqttv5'))
    parser.add_argument('--mosquitto', help='load this Mosquitto instead, to try the load itself')
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--seconds', type=float, default=30.0)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f'seed {options.seed}', flush=True)
    kind = BrokerKind(options.binary, mosquitto=options.mosquitto)
    given = os.environ.get('TSAN_OPTIONS', '')
    os.environ['TSAN_OPTIONS'] = f'{given} {OPTIONS} log_path=tsan'
    broker = Broker(kind, options.workers)
    folder = pathlib.Path(broker.folder)
    try:
        load = Load(broker, options.seed, options.seconds)
        run_load(load)
        stop(broker, load.faults)
        found = reports(folder)
        log = broker.log()
    finally:
        broker.kill()
    for what, count in sorted(load.counts.items()):
        print(f'{count:8} {what}')
    idle = [what for what in ('connections', 'takeovers', 'subscription changes', 'group members',
                              'retained messages', 'messages of pairs', 'wildcard reads')
            if not load.counts.get(what)]
    if idle:
        load.faults.append(f'nothing flowed: {", ".join(idle)}')
    if found:
        print(found[:60000])
        load.faults.append(f'{found.count("WARNING: ThreadSanitizer")} ThreadSanitizer reports')
    for fault in load.faults:
        print(f'fault: {fault}')
    if load.faults:
        print(log)
    print('0 passed, 1 failed' if load.faults else '1 passed, 0 failed')
    return 1 if load.faults else 0


if __name__ == '__main__':
    sys.exit(main())

# Faults that other brokers shipped, by their numbers in tests/security, seen from outside the
# process: its memory, its processor time, its descriptors.
# SPDX-License-Identifier: MIT OR Apache-2.0
import random
import socket
import struct
import tempfile
import threading

from harness import proc, wire
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = "our program's own behaviour"
REJECTS = 20000
IP_BIND_ADDRESS_NO_PORT = 24


def alive(ctx, name='alive'):
    """The broker still does its work."""
    with ctx.wire() as client:
        client.open(ctx.id(name))
        client.subscribe(ctx.topic('alive'), 1)
        client.send(wire.publish(ctx.topic('alive'), b'well', 1, 9))
        kinds = sorted(client.read().kind for _ in range(2))
        equal(kinds, [wire.PUBLISH, wire.PUBACK], 'answers to a publisher and subscriber')


def dial(ctx, source):
    """A connection from another address of the loopback: each has ports of its own."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((f'127.0.1.{source % 250 + 1}', 0))
    sock.settimeout(15)
    sock.connect((ctx.host, ctx.port))
    return sock


# ------------------------------------------------------------------------------------- memory

@test(limit_s=60, alone=True)
def case_01_memory_stays_flat_for_one_packet_identifier(ctx):
    """QoS 2 with one identifier, 100,000 times; nothing is ever released."""
    pid = ctx.own_broker().process.pid
    client = ctx.wire()
    client.open('one')
    burst = 1000
    packets = wire.publish('t', b'x' * 50, 2, 7, dup=True) * burst

    def send_bursts(count):
        for _ in range(count):
            client.send(packets, burst)
            for _ in range(burst):
                equal(client.expect(wire.PUBREC).packet_id, 7, 'PUBREC')

    send_bursts(5)
    before = proc.rss_kib(pid)
    send_bursts(95)
    grown = proc.rss_kib(pid) - before
    assert grown < 2048, f'100,000 times one identifier took {grown} KiB'


@test(limit_s=90, alone=True, not_mosquitto=OURS_ONLY)
def case_31_memory_of_expired_sessions_is_used_again(ctx):
    """Sessions with full queues expire, again and again: the third round takes no more than one."""
    pid = ctx.own_broker('--sys-interval', '1').process.pid
    reader, source = ctx.wire(), ctx.wire()
    reader.open('reader')
    reader.subscribe('$SYS/broker/clients/expired')
    source.open('source')
    sessions, each, payload = 200, 20, b'x' * 4000
    after = []
    for turn in range(3):
        for i in range(sessions):
            with ctx.wire() as client:
                client.open(f'away{turn}-{i}', props=wire.session_expiry(2))
                client.subscribe(f'q/{i}', 1)
                client.send(wire.packet(0xE0))
                client.wait_closed()
        for i in range(sessions):
            source.send(b''.join(wire.publish(f'q/{i}', payload, 1, k + 1) for k in range(each)),
                        each)
            for _ in range(each):
                source.expect(wire.PUBACK)
        while True:
            got = reader.expect(wire.PUBLISH, 30)
            if int(got.payload) >= (turn + 1) * sessions:
                break
        after.append(proc.rss_kib(pid))
    held = sessions * each * len(payload) // 1024
    assert after[2] - after[0] < held // 4, f'after each round {after} KiB, one round is {held}'


@test(limit_s=60, alone=True, not_mosquitto=OURS_ONLY)
def case_04_user_properties_take_linear_time(ctx):
    """As many bytes in packets of 1,000 properties and of 64,000 take as long."""
    pid = ctx.own_broker('--user-properties-max', '100000').process.pid
    listener = ctx.wire()
    listener.open('listener')
    listener.subscribe('t', 0)
    source = ctx.wire()
    source.open('source')

    def cost(count, packets):
        data = wire.publish('t', b'', 1, 1, props=b'\x26\0\1k\0\1v' * count)
        started = proc.cpu_s(pid)
        for _ in range(packets):
            source.send(data)
            source.expect(wire.PUBACK)
            listener.expect(wire.PUBLISH)
        return proc.cpu_s(pid) - started

    cost(1000, 8)
    few, many = cost(1000, 640), cost(64000, 10)
    assert many < 3 * few + 0.2, f'1,000 a packet: {few:.2f} s; 64,000 a packet: {many:.2f} s'


@test(not_mosquitto='Mosquitto 2.0 has no such limit')
def case_04_too_many_user_properties_are_refused(ctx):
    """64,000 in a PUBLISH are an end with 0x97, before they are routed."""
    client = ctx.wire()
    client.open(ctx.id('c'))
    client.send(wire.publish(ctx.topic('t'), b'', 0, props=b'\x26\0\1k\0\1v' * 64000))
    got = client.wait_closed()
    equal([(p.kind, p.body[0]) for p in got], [(wire.DISCONNECT, 0x97)], 'what came')


# ------------------------------------------------------------------------------ processor time

@test(limit_s=60, first=True, not_mosquitto='Mosquitto 2.0 waits for 90 s')
def case_09_half_open_connections_cost_no_time(ctx):
    """Nothing said, a byte, half a CONNECT, half a connection closed: the broker sleeps."""
    pid = ctx.own_broker('--connect-timeout', '4s').process.pid
    starts = [b'', b'\x10', wire.connect('half')[:9], wire.connect('half')[:-1]]
    waiting = [ctx.wire() for _ in range(40)]
    for i, client in enumerate(waiting):
        if starts[i % 4]:
            client.send(starts[i % 4])
    used, woken = proc.cpu_s(pid), proc.turns(pid)
    for client in waiting:
        client.wait_closed(15)
    used, woken = proc.cpu_s(pid) - used, proc.turns(pid) - woken
    assert used < 0.3, f'{used:.2f} s of processor time for 40 connections that said nothing'
    assert woken < 2000, f'woken {woken} times in 4 s for 40 connections that said nothing'
    alive(ctx)


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def case_09_unread_output_costs_no_time(ctx):
    """Subscribers that do not read, their buffers full: nothing spins on what cannot be sent."""
    pid = ctx.own_broker('--connect-timeout', '3s').process.pid
    deaf = [ctx.wire(receive_buffer=4096) for _ in range(10)]
    for i, client in enumerate(deaf):
        client.open(f'deaf{i}')
        client.subscribe('t', 0)
    source = ctx.wire()
    source.open('source')
    for i in range(60):
        source.send(wire.publish('t', b'x' * 100_000, 1, i + 1))
        source.expect(wire.PUBACK)
    silent = ctx.wire()                         # the clock: closed after 3 s
    used = proc.cpu_s(pid)
    silent.wait_closed(15)
    used = proc.cpu_s(pid) - used
    assert used < 0.3, f'{used:.2f} s of processor time in 3 s for output that nobody reads'
    alive(ctx)


# -------------------------------------------------------------------------------- descriptors

def refused(ctx, kind, number):
    """One connection that is refused in one of several ways; the answer's reason code."""
    packets = (
        wire.packet(0x10, wire.text('MQTT') + b'\x06\x02\0\x3c\0' + wire.text('x')),   # level 6
        wire.packet(0x10, wire.text('MQTT') + b'\x05\x82\0\x3c\0\0\0' + wire.text('who')),
        wire.packet(0x10, wire.text('MQTT') + b'\x04\0\0\x3c\0\0'),                    # no id
        wire.packet(0x10, wire.text('MQTT') + b'\x05\x03\0\x3c\0' + wire.text('x')),   # flag
        wire.packet(0xC0),
        b'\x10\xff\xff\xff\x7f',
    )
    with dial(ctx, number) as sock:
        sock.sendall(packets[kind])
        data = b''
        try:
            while chunk := sock.recv(1000):
                data += chunk
        except ConnectionError:
            pass
    return data[3] if len(data) > 3 and data[0] == 0x20 else None


@test(limit_s=180, once=True, alone=True, not_mosquitto=OURS_ONLY)
def case_41_refused_connections_leave_no_descriptor(ctx):
    """20,000 connections, refused in six ways, each closed by the broker; then as before."""
    with tempfile.NamedTemporaryFile() as nobody:
        broker = ctx.own_broker('--connect-timeout', '60s', '--auth-password-file', nobody.name)
    pid = broker.process.pid
    alive(ctx)
    before, held = proc.descriptors(pid), proc.rss_kib(pid)
    counts, faults = {}, []

    def refuse(first):
        try:
            for i in range(first, REJECTS, 4):
                kind = i // 4 % 6
                code = refused(ctx, kind, i)
                counts[first, kind, code] = counts.get((first, kind, code), 0) + 1
        except (OSError, AssertionError) as error:
            faults.append(error)

    threads = [threading.Thread(target=refuse, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(faults, [], 'faults')
    equal(sum(counts.values()), REJECTS, 'refused connections')
    codes = {kind: {c for _, k, c in counts if k == kind} for kind in range(6)}
    equal(codes[0], {0x84}, 'answers to level 6')
    assert codes[1] <= {0x86, 0x9F} and codes[1], f'answers to a name alone: {codes[1]}'
    equal(codes[2], {0x02}, 'answers to an empty identifier')
    equal(codes[4], {None}, 'answers to PINGREQ')
    until(lambda: proc.descriptors(pid) <= before, what='descriptors to be given back')
    grown = proc.rss_kib(pid) - held
    assert grown < 4096, f'{REJECTS} refused connections took {grown} KiB'
    alive(ctx)


@test(limit_s=90, alone=True, not_mosquitto=OURS_ONLY)
def case_29_connections_reset_after_each_byte_leave_nothing(ctx):
    """A session of all packets, cut by a reset or an end after each of its bytes."""
    pid = ctx.own_broker().process.pid
    alive(ctx)
    before = proc.descriptors(pid)
    stream = (wire.connect('cut', 5, False, 60, wire.session_expiry(60))
              + wire.subscribe(1, 'cut/+', 2) + wire.subscribe(2, '$share/g/cut/+', 1)
              + wire.publish('cut/t', b'x', 2, 3) + wire.publish('cut/t', b'y', 1, 4, retain=True)
              + wire.ack(wire.PUBREL, 3) + wire.unsubscribe(5, 'cut/+') + wire.packet(0xC0))
    for size in range(len(stream) + 1):
        for reset in (True, False):
            with dial(ctx, size) as sock:
                sock.sendall(stream[:size])
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                else:
                    sock.shutdown(socket.SHUT_WR)
    until(lambda: proc.descriptors(pid) <= before, what='descriptors to be given back')
    alive(ctx)


# ------------------------------------------------------------------------------------ threads

@test(limit_s=90, alone=True)
def case_24_takeovers_beside_changing_subscriptions(ctx):
    """Four threads fight for one client identifier, subscribing and publishing; one watches."""
    ctx.own_broker()
    watcher = ctx.wire()
    watcher.open('watcher')
    watcher.subscribe('calm', 1)
    won = []

    def fight(number):
        rng = random.Random(number)
        for i in range(150):
            with ctx.wire() as client:
                try:
                    client.send(wire.connect('victim', 5, rng.random() < 0.5, 60,
                                             wire.session_expiry(rng.choice((0, 5)))))
                    if client.read() is None:
                        continue
                    won.append(number)
                    client.send(wire.subscribe(1, rng.choice(('s/+', '$share/g/s/+', '#')), 2))
                    client.send(wire.publish('s/t', b'x', rng.randrange(3), i + 1))
                    if rng.random() < 0.5:
                        client.send(wire.unsubscribe(2, 's/+'))
                    client.read()
                except ConnectionError:
                    pass

    threads = [threading.Thread(target=fight, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    source = ctx.wire()
    source.open('source')
    for i in range(200):
        source.send(wire.publish('calm', b'%d' % i, 1, i + 1))
        source.expect(wire.PUBACK)
        got = watcher.expect(wire.PUBLISH)
        equal(got.payload, b'%d' % i, 'the message beside the fight')
        watcher.send(wire.ack(wire.PUBACK, got.packet_id))
    for thread in threads:
        thread.join()
    equal(sorted(set(won)), [0, 1, 2, 3], 'who was connected at some time')
    alive(ctx)

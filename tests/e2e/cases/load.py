# Many clients, many messages, clients that do not read.
# SPDX-License-Identifier: MIT OR Apache-2.0
import threading
import time

from harness import wire
from harness.peer import V5
from harness.registry import test
from harness.wait import equal

BURST = 20000


@test(limit_s=60, alone=True)
def burst_by_paho(ctx):
    """5,000 from paho to paho at QoS 1: none lost and all in order."""
    count = 5000
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    source = ctx.connected('pub', inflight=100)
    allowed = getattr(source.connack_properties, 'ReceiveMaximum', 65535)
    source.client.max_inflight_messages_set(min(100, allowed))
    for i in range(count):
        source.send(ctx.topic('x'), b'%d' % i, 1)
    source.wait_published(count, 40)
    got = watcher.receive(count, 40)
    equal([int(m.payload) for m in got], list(range(count)), 'numbers')
    assert not any(m.dup for m in got), 'DUP without a reconnect'


def collect(subscriber, into):
    """Reads and acknowledges until BURST messages are there."""
    while len(into) < BURST:
        got = subscriber.expect(wire.PUBLISH, 40)
        into.append((int(got.payload), got.packet_id))
        subscriber.send(wire.ack(wire.PUBACK, got.packet_id))


@test(limit_s=60, alone=True)
def burst_in_large_writes(ctx):
    """20,000 at QoS 1 with as many in flight as the broker allows, many packets a segment."""
    subscriber, publisher = ctx.wire(), ctx.wire()
    subscriber.open(ctx.id('sub'))
    subscriber.subscribe(ctx.topic('x'), 1)
    publisher.open(ctx.id('pub'))
    got = []
    reader = threading.Thread(target=collect, args=(subscriber, got), daemon=True)
    reader.start()
    window = 20 if ctx.is_mosquitto else 1000
    for start in range(0, BURST, window):
        publisher.send(b''.join(wire.publish(ctx.topic('x'), b'%d' % i, 1, i % window + 1)
                                for i in range(start, start + window)), window)
        for i in range(window):
            equal(publisher.expect(wire.PUBACK).packet_id, i + 1, 'PUBACK')
    reader.join(40)
    equal([number for number, _ in got], list(range(BURST)), 'numbers')
    equal([packet_id for _, packet_id in got], list(range(1, BURST + 1)), 'packet ids')


@test(limit_s=60, alone=True)
def burst_by_mosquitto_tools(ctx):
    """20,000 lines through mosquitto_pub -l, QoS 1, to mosquitto_sub -q 1 and -q 0."""
    subs = [ctx.subscribed('-t', ctx.topic('x'), '-q', qos) for qos in ('1', '0')]
    ctx.pub('-t', ctx.topic('x'), '-q', '1', '-l', timeout_s=50,
            stdin=b''.join(b'%d\n' % i for i in range(BURST)))
    got = subs[0].receive(BURST, 40)
    equal([int(m.payload) for m in got], list(range(BURST)), 'numbers')
    zero = [int(m.payload) for m in subs[1].messages.wait_count(BURST, 20)]
    equal(zero, list(range(BURST)), 'numbers at QoS 0')


@test(limit_s=60, alone=True)
def two_hundred_clients(ctx):
    """Each hears its own topic and a common one; each speaks to its neighbour."""
    count = 200
    peers = [ctx.peer(f'{i}') for i in range(count)]
    for peer in peers:
        peer.open()
    for i, peer in enumerate(peers):
        peer.connect_wait()
        peer.subscribe(ctx.topic(f'own/{i}'), 1)
        peer.subscribe(ctx.topic('all'), 1)
    for i, peer in enumerate(peers):
        peer.send(ctx.topic(f'own/{(i + 1) % count}'), f'to {(i + 1) % count}', 1)
    peers[0].publish(ctx.topic('all'), 'everybody', 1)
    for i, peer in enumerate(peers):
        got = sorted(m.payload for m in peer.receive(2, 30))
        equal(got, sorted([b'everybody', f'to {i}'.encode()]), f'messages of client {i}')


@test(limit_s=60, alone=True)
def slow_consumer_costs_itself(ctx):
    """A subscriber that stops reading does not hold up another, nor the publisher."""
    stuck = ctx.wire(receive_buffer=4096)
    stuck.open(ctx.id('stuck'))
    stuck.subscribe(ctx.topic('x'), 0)
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    source = ctx.connected('pub')
    block = b'x' * 100_000
    longest = 0.0
    for i in range(300):
        started = time.monotonic()
        source.publish(ctx.topic('x'), b'%d ' % i + block, 1)
        longest = max(longest, time.monotonic() - started)
    got = watcher.receive(300)
    equal([int(m.payload.split(b' ')[0]) for m in got], list(range(300)), 'numbers')
    assert longest < 5.0, f'a publish took {longest:.1f} s beside a stuck subscriber'


@test(limit_s=60)
def slow_qos1_consumer_costs_itself(ctx):
    """One that reads but never acknowledges only stops its own window."""
    stuck = ctx.wire()
    stuck.open(ctx.id('stuck'), props=b'\x21\x00\x05')      # Receive Maximum 5
    stuck.subscribe(ctx.topic('x'), 1)
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    source = ctx.connected('pub')
    for i in range(500):
        source.send(ctx.topic('x'), b'%d' % i, 1)
    source.wait_published(500)
    equal([int(m.payload) for m in watcher.receive(500)], list(range(500)), 'numbers')
    first = [stuck.expect(wire.PUBLISH) for _ in range(5)]
    equal([int(m.payload) for m in first], list(range(5)), 'the window of the stuck one')
    for message in first:
        stuck.send(wire.ack(wire.PUBACK, message.packet_id))
    equal([int(stuck.expect(wire.PUBLISH).payload) for _ in range(5)], list(range(5, 10)),
          'the next window')


@test(limit_s=60, alone=True,
      not_mosquitto='Mosquitto 2.0.11 mixes up QoS 1 and 2 when the window is full')
def many_publishers_keep_their_orders(ctx):
    """Ten publishers, each with its own topic and QoS, one wildcard subscriber."""
    each = 500
    watcher = ctx.watcher(ctx.topic('+'))
    sources = [ctx.connected(f'pub{i}') for i in range(10)]

    def publish(index):
        for i in range(each):
            sources[index].send(ctx.topic(f'{index}'), b'%d' % i, index % 3)

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = watcher.receive(10 * each, 40)
    for index in range(10):
        mine = [int(m.payload) for m in got if m.topic == ctx.topic(f'{index}')]
        equal(mine, list(range(each)), f'publisher {index} at QoS {index % 3}')


@test(limit_s=60)
def connection_storm(ctx):
    """Three hundred connections that come and go in many ways; the broker stays well."""
    for i in range(300):
        client = ctx.wire(level=(5, 4, 3)[i % 3])
        if i % 4:
            client.open(f'storm{ctx.workers}-{i % 50}')
        if i % 3 == 0:
            client.send(wire.packet(0xE0))
        client.close()
    watcher = ctx.watcher(ctx.topic('x'), qos=1, version=V5)
    ctx.connected('pub').publish(ctx.topic('x'), 'well', 1)
    equal(watcher.receive(1)[0].payload, b'well', 'message after the storm')

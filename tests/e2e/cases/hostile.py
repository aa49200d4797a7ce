# Peers that misbehave; others must not notice.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import random
import time

from harness import wire
from harness.registry import test
from harness.wait import equal

SEED = int(os.environ.get('E2E_SEED', '0')) or random.SystemRandom().randrange(1, 1 << 32)


def good_packets(ctx, level):
    """Packets that are right, to be cut, flipped and shuffled."""
    topic = ctx.topic('noise')
    return [
        wire.connect(ctx.id('other'), level), wire.publish(topic, b'p', 0, level=level),
        wire.publish(topic, b'p', 1, 5, level=level), wire.publish(topic, b'p', 2, 6, level=level),
        wire.subscribe(7, topic + '/+', 1, level), wire.unsubscribe(8, topic, level),
        wire.ack(wire.PUBACK, 5), wire.ack(wire.PUBREC, 6), wire.ack(wire.PUBREL, 6),
        wire.ack(wire.PUBCOMP, 6), wire.packet(0xC0), wire.packet(0xE0), wire.packet(0xF0),
    ]


def damaged(rng, data):
    """DATA, cut short, with bytes changed, or replaced by noise."""
    way = rng.randrange(4)
    if way == 0:
        return data[:rng.randrange(len(data))]
    if way == 1:
        out = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            out[rng.randrange(len(out))] = rng.randrange(256)
        return bytes(out)
    if way == 2:
        return rng.randbytes(rng.randrange(1, 200))
    return data + rng.randbytes(rng.randrange(1, 20))


@test(limit_s=60)
def garbage_does_not_disturb_others(ctx):
    """Noise, cut and changed packets, before and after CONNECT, beside a well-behaved pair."""
    watcher = ctx.watcher(ctx.topic('good'), qos=1)
    source = ctx.connected('pub')
    rng = random.Random(SEED)
    rounds = 200
    try:
        for i in range(rounds):
            level = rng.choice((3, 4, 5))
            with wire.Wire(ctx.host, ctx.port, level) as bad:
                try:
                    if rng.random() < 0.7:
                        bad.open(ctx.id(f'bad{i % 7}'))
                    for _ in range(rng.randrange(1, 6)):
                        data = rng.choice(good_packets(ctx, level))
                        bad.send(damaged(rng, data) if rng.random() < 0.7 else data)
                except ConnectionError:
                    pass            # closed on us in the middle, as it should
            source.publish(ctx.topic('good'), b'%d' % i, 1)
        got = watcher.receive(rounds)
        equal([int(m.payload) for m in got], list(range(rounds)), 'the good messages')
    except BaseException:
        print(f'seed {SEED}')
        raise AssertionError(f'E2E_SEED={SEED}') from None


@test()
def byte_by_byte(ctx):
    """A whole conversation, one byte a segment."""
    client = ctx.wire()
    stream = (wire.connect(ctx.id('c')) + wire.subscribe(1, ctx.topic('x'), 1)
              + wire.publish(ctx.topic('x'), b'hello', 1, 2))
    for byte in stream:
        client.send(bytes([byte]))
    kinds = [client.read().kind for _ in range(4)]
    equal(sorted(kinds), [wire.CONNACK, wire.PUBLISH, wire.PUBACK, wire.SUBACK], 'answers')


@test()
def whole_conversation_in_one_write(ctx):
    """CONNECT, SUBSCRIBE, PUBLISH and DISCONNECT in one segment are all obeyed."""
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    client = ctx.wire()
    client.send(wire.connect(ctx.id('c')) + wire.publish(ctx.topic('x'), b'1', 1, 1)
                + wire.publish(ctx.topic('x'), b'2', 0) + wire.packet(0xE0))
    client.wait_closed()
    equal([m.payload for m in watcher.receive(2)], [b'1', b'2'], 'messages')


@test()
def first_packet_must_be_connect(ctx):
    """[MQTT-3.1.0-1]: anything else closes the connection."""
    for data in (wire.publish(ctx.topic('x'), b'x'), wire.packet(0xC0), b'GET / HTTP/1.1\r\n\r\n',
                 b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(40)):
        client = ctx.wire()
        client.send(data)
        client.wait_closed()


@test()
def second_connect_closes(ctx):
    """[MQTT-3.1.0-2]."""
    client = ctx.wire()
    client.open(ctx.id('c'))
    client.send(wire.connect(ctx.id('c')))
    got = client.wait_closed()
    if got:
        equal((got[0].kind, got[0].body[0]), (wire.DISCONNECT, 0x82), 'DISCONNECT')


@test(not_mosquitto='Mosquitto 2.0 answers level 6 with 0x84 too, levels below 3 differently')
def unknown_level_is_refused(ctx):
    """CONNACK in a dialect the peer may know: 0x84 to a newer one, 0x01 to an older one."""
    for level, expected in ((6, 0x84), (2, 0x01)):
        client = ctx.wire()
        body = (wire.text('MQTT') + bytes([level, 2]) + b'\x00\x3c' + b'\x00'
                + wire.text('someone'))
        client.send(wire.packet(0x10, body))
        got = client.wait_closed()
        assert got and got[0].kind == wire.CONNACK and got[0].body[1] == expected, \
            f'level {level}: {got}'


@test(limit_s=40, first=True, not_mosquitto='Mosquitto 2.0 waits for 90 s')
def half_open_connect_is_closed(ctx):
    """Ten seconds to complete CONNECT: with nothing sent, and with half of it sent."""
    started = time.monotonic()
    silent, half = ctx.wire(), ctx.wire()
    half.send(wire.connect(ctx.id('c'))[:7])
    for client in (silent, half):
        client.wait_closed(20)
        elapsed = time.monotonic() - started
        assert 9.0 <= elapsed <= 15.0, f'closed after {elapsed:.1f} s instead of 10'


@test(not_mosquitto='Mosquitto 2.0 has no such limit')
def large_connect_is_refused(ctx):
    """At most 64 KiB before CONNECT is complete: closed on the length alone."""
    client = ctx.wire()
    client.send(b'\x10' + wire.varint(1 << 20) + wire.text('MQTT') + b'\x05')
    client.wait_closed(5)


@test()
def packet_too_large(ctx):
    """A PUBLISH beyond the announced Maximum Packet Size is refused on its length."""
    peer = ctx.connected('probe')
    limit = getattr(peer.connack_properties, 'MaximumPacketSize', None)
    if limit is None:
        equal(ctx.is_mosquitto, True, 'no Maximum Packet Size: only Mosquitto may')
        return
    client = ctx.wire()
    client.open(ctx.id('c'))
    client.send(b'\x30' + wire.varint(limit))
    got = client.wait_closed(5)
    assert got and (got[-1].kind, got[-1].body[0]) == (wire.DISCONNECT, 0x95), f'{got}'


@test(not_mosquitto='Mosquitto 2.0 allows more than it announces')
def receive_maximum_exceeded(ctx):
    """[MQTT-3.3.4-7]: one QoS 2 exchange more than announced is answered with 0x93."""
    peer = ctx.connected('probe')
    limit = getattr(peer.connack_properties, 'ReceiveMaximum', 65535)
    equal(limit, 1024, 'default Receive Maximum')
    client = ctx.wire()
    client.open(ctx.id('c'))
    packets = b''.join(wire.publish(ctx.topic('x'), b'', 2, i + 1) for i in range(limit + 1))
    client.send(packets, limit + 1)
    got = client.wait_closed()
    equal((got[-1].kind, got[-1].body[0]), (wire.DISCONNECT, 0x93), 'the last packet')
    equal([p.packet_id for p in got[:-1]], list(range(1, limit + 1)), 'PUBREC ids')

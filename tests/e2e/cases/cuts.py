# Exactly once at QoS 2, whatever byte the link breaks at.
# SPDX-License-Identifier: MIT OR Apache-2.0
from harness import wire
from harness.registry import test
from harness.wait import equal

KEEP = wire.session_expiry(300)
PACKET_ID = 9


def finish_publish(client, topic, payload):
    """The publisher's duty after a resume when it has seen no PUBREC: send again, finish."""
    client.send(wire.publish(topic, payload, 2, PACKET_ID, dup=True))
    equal(client.expect(wire.PUBREC).packet_id, PACKET_ID, 'PUBREC')
    finish_release(client)


def finish_release(client):
    """The publisher's duty once it has seen PUBREC."""
    client.send(wire.ack(wire.PUBREL, PACKET_ID))
    equal(client.expect(wire.PUBCOMP).packet_id, PACKET_ID, 'PUBCOMP')


@test(limit_s=60)
def publisher_cut_at_any_byte(ctx):
    """Each prefix of PUBLISH, then of PUBREL; the message arrives once."""
    topic = ctx.topic('x')
    watcher = ctx.watcher(topic)
    name = ctx.id('c')
    publish_size = len(wire.publish(topic, b'000', 2, PACKET_ID))
    cuts = publish_size + 1 + 5
    for cut in range(cuts):
        payload = b'%03d' % cut
        with ctx.wire() as client:
            client.open(name, clean=False, props=KEEP)
            packet = wire.publish(topic, payload, 2, PACKET_ID)
            if cut <= publish_size:
                client.send(packet[:cut])
            else:
                client.send(packet)
                client.expect(wire.PUBREC)
                client.send(wire.ack(wire.PUBREL, PACKET_ID)[:cut - publish_size - 1])
        with ctx.wire() as client:
            equal(client.open(name, clean=False, props=KEEP).body[0], 1, 'session present')
            if cut <= publish_size:
                finish_publish(client, topic, payload)
            else:
                finish_release(client)
    equal([int(m.payload) for m in watcher.receive(cuts)], list(range(cuts)), 'messages')


class Receiver:
    """The subscriber's half of QoS 2: a packet id seen before its PUBREL is no new message."""

    def __init__(self):
        self.pending = set()
        self.messages = []

    def take(self, client, got):
        """Handles one packet; True when it completed an exchange."""
        if got.kind == wire.PUBLISH:
            if got.packet_id not in self.pending:
                self.pending.add(got.packet_id)
                self.messages.append(got.payload)
            client.send(wire.ack(wire.PUBREC, got.packet_id))
        elif got.kind == wire.PUBREL:
            self.pending.discard(got.packet_id)
            client.send(wire.ack(wire.PUBCOMP, got.packet_id))
            return True
        return False


def read_bytes(client, receiver, cut):
    """Reads byte by byte, handling whole packets, until CUT bytes are read."""
    for _ in range(cut):
        byte = client.socket.recv(1)
        assert byte, 'closed by the server'
        client.feed(byte)
        got = client.take()
        if got is not None and receiver.take(client, got):
            return


@test(limit_s=60)
def subscriber_cut_at_any_byte(ctx):
    """It reads so many bytes of PUBLISH and PUBREL, is cut off, comes back, finishes."""
    topic = ctx.topic('x')
    name = ctx.id('c')
    source = ctx.connected('pub')
    receiver = Receiver()
    with ctx.wire() as client:
        client.open(name, props=KEEP)
        client.subscribe(topic, 2)
    cuts = len(wire.publish(topic, b'000', 2, 1)) + 4
    for cut in range(cuts):
        with ctx.wire() as client:
            client.open(name, clean=False, props=KEEP)
            source.publish(topic, b'%03d' % cut, 2)
            read_bytes(client, receiver, cut)
        with ctx.wire() as client:
            equal(client.open(name, clean=False, props=KEEP).body[0], 1, 'session present')
            while not receiver.take(client, client.read()):
                pass
            client.send(wire.packet(0xC0))          # PUBCOMP is dealt with before PINGREQ
            client.expect(wire.PINGRESP)
    equal([int(m) for m in receiver.messages], list(range(cuts)), 'messages')

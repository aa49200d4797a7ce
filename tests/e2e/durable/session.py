# A client with a persistent session that does exactly what MQTT 5 demands of one, and writes down
# everything that it was promised. Its state lives in this process: only the broker crashes.
# SPDX-License-Identifier: MIT OR Apache-2.0
import asyncio
import dataclasses
import struct
import time

from durable.ledger import Interval
from harness import wire

FOREVER_S = 86400
IDENTS = 40            # packet ids of publishes: few, so that each is used again soon
FIRST_REQUEST_ID = 1000


@dataclasses.dataclass(eq=False)
class Outgoing:
    """A message on its way to the broker."""
    message: object
    released: bool = False   # PUBREC came: only PUBREL is sent from now on
    tries: int = 0


class Link(asyncio.Protocol):
    """One connection of a session."""

    def __init__(self, session):
        self.session = session
        self.transport = None
        self.buffer = b''
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.session.opened(self)

    def connection_lost(self, exc):
        self.session.closed(self)
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data):
        self.buffer += data
        at = 0
        while (end := packet_end(self.buffer, at)) is not None:
            start, stop = end
            self.session.received(self, self.buffer[at], self.buffer[start:stop])
            at = stop
        self.buffer = self.buffer[at:]


def packet_end(data, at):
    """(where its body begins, where it ends) of the packet at AT; None: some of it is missing."""
    length = shift = 0
    for i in range(at + 1, min(at + 5, len(data))):
        length |= (data[i] & 0x7F) << shift
        shift += 7
        if not data[i] & 0x80:
            stop = i + 1 + length
            return (i + 1, stop) if stop <= len(data) else None
    return None


def parse_publish(first, body):
    """(topic, packet id, correlation data, payload)."""
    size = struct.unpack('!H', body[:2])[0]
    topic, rest = body[2:2 + size].decode(), body[2 + size:]
    packet_id = 0
    if first & 6:
        packet_id, rest = struct.unpack('!H', rest[:2])[0], rest[2:]
    length, rest = wire.split_varint(rest)
    properties, payload = rest[:length], rest[length:]
    ident = None
    if properties[:1] == b'\x09':
        size = struct.unpack('!H', properties[1:3])[0]
        ident = properties[3:3 + size]
    return topic, packet_id, ident, payload


class Session:
    """See the head of this file. Nothing of it may be called before its task runs."""

    def __init__(self, name, port, ledger, rng, receive_maximum=64):
        self.name, self.port, self.ledger, self.rng = name, port, ledger, rng
        self.receive_maximum = receive_maximum
        self.link = None
        self.online = False          # CONNACK came
        self.ending = False
        self.away_until = 0.0
        self.clean_next = False      # the next CONNECT ends the session
        self.promised = False        # the broker must have the session
        self.outgoing = {}           # packet id -> Outgoing, in the order of first sending
        self.holding = {}            # packet id -> ident: QoS 2 messages taken, not yet released
        self.requests = {}           # packet id -> (kind, Interval)
        self.answers = []            # acknowledgements not written yet, in order
        self.unanswered = 0          # QoS 1 and 2 messages taken on this connection
        self.next_request = FIRST_REQUEST_ID
        self.next_number = 0
        self.connects = self.resumes = self.duplicates = 0
        self.on_message = None       # of those without correlation data
        self.refused = 0             # publishes and subscriptions

    # ---- the connection ----

    async def run(self):
        """Connects again and again."""
        loop = asyncio.get_running_loop()
        while not self.ending:
            await asyncio.sleep(self.rng.uniform(0.002, 0.03))
            if time.monotonic() < self.away_until:
                continue
            try:
                _, link = await loop.create_connection(lambda: Link(self), '127.0.0.1', self.port)
            except OSError:
                continue
            await link.lost

    def opened(self, link):
        """TCP is there: CONNECT."""
        self.link, self.online, self.unanswered = link, False, 0
        self.answers = []
        if self.clean_next:
            self._end_all(time.monotonic())
        props = wire.session_expiry(FOREVER_S) + b'\x21' + struct.pack('!H', self.receive_maximum)
        self._write(wire.connect(self.name, clean=self.clean_next, keep_alive=0, props=props))

    def closed(self, link):
        """The connection has gone."""
        if link is self.link:
            self.link, self.online = None, False

    def drop(self, politely=False):
        """Ends the connection, with DISCONNECT or without."""
        if self.link:
            if politely and self.online:
                self.flush()
                self._write(b'\xe0\x00')
                self.link.transport.close()
            else:
                self.link.transport.abort()

    def leave(self, seconds, politely=False):
        """Goes offline for a while."""
        self.away_until = time.monotonic() + seconds
        self.drop(politely)

    def stop(self):
        """For good."""
        self.ending = True
        self.drop(True)

    def _write(self, data):
        if self.link and not self.link.transport.is_closing():
            self.link.transport.write(data)

    def received(self, link, first, body):
        """One packet."""
        if link is not self.link:
            return
        kind = first >> 4
        handler = {2: self._connack, 3: self._publish, 4: self._puback, 5: self._pubrec,
                   6: self._pubrel, 7: self._pubcomp, 9: self._suback, 11: self._unsuback,
                   13: lambda *_: None, 14: self._disconnect}[kind]
        handler(first, body)

    def _disconnect(self, _, body):
        reason = body[0] if body else 0
        if reason != 0x8B:   # the broker shuts down
            self.ledger.fail(f'{self.name}: DISCONNECT {reason:#x}')

    # ---- the session ----

    def _connack(self, _, body):
        present, reason = body[0] & 1, body[1]
        if reason:
            self.ledger.fail(f'{self.name}: CONNACK {reason:#x}')
            return
        self.connects += 1
        if self.clean_next:
            if present:   # [MQTT-3.2.2-2]
                self.ledger.fail(f'{self.name}: clean start, session present = 1')
            self._forget()
        elif present:
            self.resumes += 1
            self.promised = True
        else:   # [MQTT-3.2.2-5]
            if self.promised:
                self.ledger.fail(f'{self.name}: SESSION LOST: session present = 0')
            self._forget()
        self.clean_next = False
        self.online = True
        self._resume()

    def _forget(self):
        """The session of this side ends, too."""
        self._end_all(time.monotonic())
        for interval in self.ledger.intervals.setdefault(self.name, []):
            if interval.ended is None:
                interval.ended, interval.wiped = time.monotonic(), True
        self.outgoing, self.holding, self.requests = {}, {}, {}
        self.promised = False

    def _end_all(self, now):
        for interval in self.ledger.intervals.setdefault(self.name, []):
            interval.ending = interval.ending or now

    def _resume(self):
        """[MQTT-4.4.0-1]: PUBLISH with DUP and PUBREL, in the order of their first sending."""
        for packet_id, entry in self.outgoing.items():
            self._send(packet_id, entry)
        for packet_id, (kind, interval) in self.requests.items():
            self._request(packet_id, kind, interval)

    # ---- publishing ----

    def publish(self, topic, qos, payload, retain=False):
        """Sends a message now; its Message, or None without a free packet id."""
        free = [i for i in range(1, IDENTS + 1) if i not in self.outgoing]
        if not free or not self.online:
            return None
        message = self.ledger.new_message(self.name, self.next_number, topic, qos, retain, payload)
        self.next_number += 1
        packet_id = self.rng.choice(free)
        self.outgoing[packet_id] = Outgoing(message)
        self._send(packet_id, self.outgoing[packet_id])
        return message

    def send_plain(self, topic, payload):
        """A QoS 0 message that nobody accounts for."""
        self._write(wire.publish(topic, payload))

    def _send(self, packet_id, entry):
        if entry.released:
            self._write(wire.ack(wire.PUBREL, packet_id))
            return
        message = entry.message
        message.sent = message.sent or time.monotonic()
        props = b'\x09' + wire.text(message.ident)
        self._write(wire.publish(message.topic, message.payload, message.qos, packet_id,
                                 message.retain, entry.tries > 0, props=props))
        entry.tries += 1

    def _accepted(self, packet_id, entry, reason, name):
        """True when the acknowledgement takes the message over."""
        if entry is None or entry.released:
            self.ledger.fail(f'{self.name}: {name} {packet_id} for nothing')
            return False
        if reason >= 0x80:
            entry.message.refused = reason
            self.refused += 1
            del self.outgoing[packet_id]
            if not self.ledger.expect_refusals:
                self.ledger.fail(f'{self.name}: {name} {reason:#x} for {entry.message}')
            return False
        entry.message.acked = time.monotonic()
        return True

    def _puback(self, _, body):
        packet_id = struct.unpack('!H', body[:2])[0]
        entry = self.outgoing.get(packet_id)
        if self._accepted(packet_id, entry, body[2] if len(body) > 2 else 0, 'PUBACK'):
            del self.outgoing[packet_id]

    def _pubrec(self, _, body):
        packet_id = struct.unpack('!H', body[:2])[0]
        entry = self.outgoing.get(packet_id)
        if self._accepted(packet_id, entry, body[2] if len(body) > 2 else 0, 'PUBREC'):
            entry.released = True
            self.promised = True
            self._send(packet_id, entry)

    def _pubcomp(self, _, body):
        packet_id = struct.unpack('!H', body[:2])[0]
        entry = self.outgoing.pop(packet_id, None)
        if entry is None or not entry.released:
            self.ledger.fail(f'{self.name}: PUBCOMP {packet_id} for nothing')

    # ---- receiving ----

    def _publish(self, first, body):
        topic, packet_id, ident, payload = parse_publish(first, body)
        qos, dup = first >> 1 & 3, bool(first & 8)
        if qos:
            self.unanswered += 1
            if self.unanswered > self.receive_maximum:   # [MQTT-3.3.4-9]
                self.ledger.fail(f'{self.name}: more than {self.receive_maximum} messages at once')
        if qos == 2 and packet_id in self.holding:
            if self.holding[packet_id] != ident:
                self.ledger.fail(f'{self.name}: {ident} takes packet id {packet_id}, which '
                                 f'{self.holding[packet_id]} has still')
            elif not dup:   # [MQTT-3.3.1-1]
                self.ledger.fail(f'{self.name}: {ident} came again without DUP')
            self.duplicates += 1
        elif ident is None:
            if self.on_message:
                self.on_message(topic, payload)
        else:
            self.ledger.arrived(self.name, ident, topic, payload, dup, qos)
        if qos == 2:
            self.holding[packet_id] = ident
        if qos:
            self._answer(wire.PUBACK if qos == 1 else wire.PUBREC, packet_id)

    def _pubrel(self, _, body):
        packet_id = struct.unpack('!H', body[:2])[0]
        self.holding.pop(packet_id, None)
        self._answer(wire.PUBCOMP, packet_id)

    def _answer(self, kind, packet_id):
        """Now or later, so that a kill meets every phase; always in order."""
        self.answers.append((kind, packet_id))
        if self.rng.random() < 0.7:
            self.flush()

    def flush(self):
        """Writes the acknowledgements that were put off."""
        if self.answers and self.online:
            self.unanswered -= sum(kind != wire.PUBREC for kind, _ in self.answers)
            self._write(b''.join(wire.ack(kind, packet_id) for kind, packet_id in self.answers))
            self.answers = []

    # ---- subscribing ----

    def subscribe(self, topic_filter, qos, options=0):
        """SUBSCRIBE now, or as soon as there is a connection; its Interval."""
        interval = Interval(topic_filter, qos, options)
        self.ledger.intervals.setdefault(self.name, []).append(interval)
        self._ask('subscribe', interval)
        return interval

    def unsubscribe(self, interval):
        """UNSUBSCRIBE likewise."""
        self._ask('unsubscribe', interval)

    def _ask(self, kind, interval):
        packet_id = self.next_request
        self.next_request = FIRST_REQUEST_ID + (packet_id + 1 - FIRST_REQUEST_ID) % 60000
        self.requests[packet_id] = (kind, interval)
        if self.online:
            self._request(packet_id, kind, interval)

    def _request(self, packet_id, kind, interval):
        now = time.monotonic()
        if kind == 'subscribe':
            interval.asked = interval.asked or now
            self._write(wire.subscribe(packet_id, interval.topic_filter,
                                       interval.qos | interval.options))
        else:
            interval.ending = interval.ending or now
            self._write(wire.unsubscribe(packet_id, interval.topic_filter))

    def _suback(self, _, body):
        _, interval = self.requests.pop(struct.unpack('!H', body[:2])[0])
        if body[-1] >= 0x80 and self.ledger.expect_refusals:
            self.refused += 1
            interval.ending = interval.ended = time.monotonic()
            return
        if body[-1] != interval.qos:
            self.ledger.fail(f'{self.name}: SUBACK {body[-1]:#x} for {interval.topic_filter}')
        interval.granted = time.monotonic()
        self.promised = True

    def _unsuback(self, _, body):
        _, interval = self.requests.pop(struct.unpack('!H', body[:2])[0])
        if body[-1] not in (0x00, 0x11):   # 0x11: it was done, but the first UNSUBACK was lost
            self.ledger.fail(f'{self.name}: UNSUBACK {body[-1]:#x} for {interval.topic_filter}')
        interval.ended = time.monotonic()

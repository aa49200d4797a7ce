# MQTT packets by hand, for what no well-behaved client would send or leave out.
# SPDX-License-Identifier: MIT OR Apache-2.0
import socket
import struct
import time

from harness.wait import DEFAULT_S

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, PINGRESP, DISCONNECT = 9, 13, 14


def varint(n):
    """A Variable Byte Integer."""
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)


def text(s):
    """A length-prefixed string or binary."""
    raw = s.encode() if isinstance(s, str) else s
    return struct.pack('!H', len(raw)) + raw


def packet(first_byte, body=b''):
    """A whole packet: fixed header and BODY."""
    return bytes([first_byte]) + varint(len(body)) + body


def connect(client_id, level=5, clean=True, keep_alive=60, props=b''):
    """A CONNECT without will and credentials."""
    name = 'MQIsdp' if level == 3 else 'MQTT'
    body = text(name) + bytes([level, 2 if clean else 0]) + struct.pack('!H', keep_alive)
    if level == 5:
        body += varint(len(props)) + props
    return packet(0x10, body + text(client_id))


def session_expiry(seconds):
    """The Session Expiry Interval property."""
    return b'\x11' + struct.pack('!I', seconds)


def publish(topic, payload=b'', qos=0, packet_id=0, retain=False, dup=False, level=5, props=b''):
    """A PUBLISH."""
    body = text(topic) + (struct.pack('!H', packet_id) if qos else b'')
    if level == 5:
        body += varint(len(props)) + props
    return packet(0x30 | (8 if dup else 0) | (qos << 1) | (1 if retain else 0), body + payload)


def subscribe(packet_id, topic, options=0, level=5):
    """A SUBSCRIBE with one filter."""
    props = b'\x00' if level == 5 else b''
    return packet(0x82, struct.pack('!H', packet_id) + props + text(topic) + bytes([options]))


def unsubscribe(packet_id, topic, level=5):
    """An UNSUBSCRIBE with one filter."""
    props = b'\x00' if level == 5 else b''
    return packet(0xA2, struct.pack('!H', packet_id) + props + text(topic))


def ack(kind, packet_id):
    """PUBACK, PUBREC, PUBREL or PUBCOMP in its short form."""
    return packet(kind << 4 | (2 if kind == PUBREL else 0), struct.pack('!H', packet_id))


class Received:
    """One packet from the server."""

    def __init__(self, first_byte, body, size, level):
        self.first_byte = first_byte
        self.kind = first_byte >> 4
        self.body = body
        self.size = size          # on the wire, fixed header included
        if self.kind == PUBLISH:
            self._parse_publish(level)
        elif self.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK):
            self.packet_id = struct.unpack('!H', body[:2])[0]

    def _parse_publish(self, level):
        length = struct.unpack('!H', self.body[:2])[0]
        self.topic = self.body[2:2 + length].decode()
        rest = self.body[2 + length:]
        self.qos = self.first_byte >> 1 & 3
        self.dup = bool(self.first_byte & 8)
        self.packet_id = 0
        if self.qos:
            self.packet_id = struct.unpack('!H', rest[:2])[0]
            rest = rest[2:]
        if level == 5:
            size, rest = split_varint(rest)
            rest = rest[size:]
        self.payload = rest

    def __repr__(self):
        return f'packet {self.first_byte:02x} {self.body[:40].hex()}'


def split_varint(data):
    """(value, what follows it)."""
    value = shift = 0
    for i, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, data[i + 1:]
    raise ValueError('varint cut off')


class Wire:
    """A socket that speaks bytes and counts them."""

    def __init__(self, host, port, level=5, receive_buffer=None):
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(DEFAULT_S)
        sock.connect((host, port))
        self.adopt(sock, level)

    def adopt(self, sock, level=5):
        """Takes over a connected socket."""
        self.socket = sock
        self.socket.settimeout(DEFAULT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.level = level
        self.bytes_out = self.bytes_in = self.packets_out = self.packets_in = 0
        self._buffer = b''

    def send(self, data, packets=1):
        """Sends all of DATA, which counts as PACKETS packets."""
        self.socket.sendall(data)
        self.bytes_out += len(data)
        self.packets_out += packets

    def open(self, client_id, clean=True, keep_alive=60, props=b''):
        """CONNECT, and its CONNACK, which must accept; returns it."""
        self.send(connect(client_id, self.level, clean, keep_alive, props))
        got = self.expect(CONNACK)
        assert got.body[1] == 0, f'CONNECT of {client_id} refused: {got}'
        return got

    def subscribe(self, topic, options=0, packet_id=1):
        """SUBSCRIBE, and its SUBACK."""
        self.send(subscribe(packet_id, topic, options, self.level))
        return self.expect(SUBACK)

    def read(self, timeout_s=DEFAULT_S):
        """The next packet, or None at the end of the stream."""
        deadline = time.monotonic() + timeout_s
        while True:
            got = self.take()
            if got is not None:
                return got
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f'no packet within {timeout_s} s')
            self.socket.settimeout(left)
            try:
                chunk = self.socket.recv(65536)
            except socket.timeout as late:
                raise AssertionError(f'no packet within {timeout_s} s') from late
            except ConnectionError:
                return None
            if not chunk:
                return None
            self._buffer += chunk

    def feed(self, data):
        """Adds bytes that the caller has read from the socket."""
        self._buffer += data

    def take(self):
        """The next packet, if all of it has been read, or None."""
        if len(self._buffer) < 2:
            return None
        try:
            length, rest = split_varint(self._buffer[1:5])
        except ValueError:
            return None
        head = 1 + min(4, len(self._buffer) - 1) - len(rest)
        if len(self._buffer) < head + length:
            return None
        body = self._buffer[head:head + length]
        first = self._buffer[0]
        self._buffer = self._buffer[head + length:]
        self.bytes_in += head + length
        self.packets_in += 1
        return Received(first, body, head + length, self.level)

    def expect(self, kind, timeout_s=DEFAULT_S):
        """The next packet, which must be of KIND."""
        got = self.read(timeout_s)
        assert got is not None and got.kind == kind, f'expected packet type {kind}, got {got}'
        return got

    def wait_closed(self, timeout_s=DEFAULT_S):
        """Reads to the end of the stream; the packets that came before it."""
        deadline = time.monotonic() + timeout_s
        packets = []
        while True:
            got = self.read(max(0.01, deadline - time.monotonic()))
            if got is None:
                return packets
            packets.append(got)

    def close(self):
        """Closes the socket."""
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

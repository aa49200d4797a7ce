# WebSocket by hand: frames that do not fit packets, what is refused, what nobody agreed on.
# SPDX-License-Identifier: MIT OR Apache-2.0
import base64
import hashlib
import os
import random
import socket
import struct

from harness import wire
from harness.broker import WS
from harness.registry import test
from harness.wait import equal

OURS_ONLY = "our program's own behaviour"
MAGIC = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(payload, opcode=BINARY, final=True, reserved=0, mask=True):
    """A frame of a client."""
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack('!H', size)
    else:
        head += bytes([bit | 127]) + struct.pack('!Q', size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    stretched = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, 'big') ^ int.from_bytes(stretched, 'big')) if size else 0
    return head + key + masked.to_bytes(size, 'big')


class WebSocket:
    """A socket that has asked for an upgrade."""

    def __init__(self, ctx, path='/mqtt', host='localhost', headers=(), protocol='mqtt', key=None):
        self.socket = socket.create_connection((ctx.host, ctx.broker.ports[WS]), 15)
        self.socket.settimeout(15)
        ctx.keep(self)
        key = key or base64.b64encode(os.urandom(16)).decode()
        lines = [f'GET {path} HTTP/1.1', f'Host: {host}', 'Upgrade: websocket',
                 'Connection: keep-alive, Upgrade', f'Sec-WebSocket-Key: {key}',
                 'Sec-WebSocket-Version: 13', *headers]
        lines += [f'Sec-WebSocket-Protocol: {protocol}'] if protocol else []
        self.socket.sendall('\r\n'.join([*lines, '', '']).encode())
        self.rest = b''
        while b'\r\n\r\n' not in self.rest:
            chunk = self.socket.recv(4096)
            if not chunk:
                break
            self.rest += chunk
        head, _, self.rest = self.rest.partition(b'\r\n\r\n')
        self.status = int(head.split(b' ')[1])
        pairs = [line.partition(b':') for line in head.split(b'\r\n')[1:]]
        self.headers = {n.strip().lower().decode(): v.strip().decode() for n, _, v in pairs}
        if self.status == 101:
            expected = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()
            equal(self.headers['sec-websocket-accept'], expected, 'Sec-WebSocket-Accept')

    def send(self, payload, **how):
        """One frame."""
        self.socket.sendall(frame(payload, **how))

    def _take(self, count):
        while len(self.rest) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionError('the server has closed')
            self.rest += chunk
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def read(self):
        """(opcode, payload) of the next frame of the server."""
        first, second = self._take(2)
        equal((first & 0x70, second & 0x80), (0, 0), 'reserved bits and mask of a server')
        size = second & 0x7F
        if size == 126:
            size = struct.unpack('!H', self._take(2))[0]
        elif size == 127:
            size = struct.unpack('!Q', self._take(8))[0]
        return first & 15, self._take(size)

    def packets(self, count):
        """The first bytes of the next COUNT packets, from as many frames as it takes."""
        data, kinds = b'', []
        while len(kinds) < count:
            opcode, payload = self.read()
            equal(opcode, BINARY, 'opcode')           # [MQTT-6.0.0-1]
            data += payload
            while len(data) >= 2 and len(data) >= 2 + data[1]:
                kinds.append(data[0] >> 4)
                data = data[2 + data[1]:]
        return kinds

    def close_code(self):
        """The code of the close frame that must come, and then the end of the stream."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                break
        code = struct.unpack('!H', payload[:2])[0]
        try:
            self.send(payload[:2], opcode=CLOSE)
            while self.socket.recv(1000):
                pass
        except ConnectionError:
            pass
        return code

    def close(self):
        """Closes the socket."""
        self.socket.close()


def conversation(name):
    """A CONNECT, SUBSCRIBE, PUBLISH and PINGREQ, and what comes of them."""
    data = (wire.connect(name) + wire.subscribe(1, name, 1) + wire.publish(name, b'x' * 90, 1, 2)
            + wire.packet(0xC0))
    return data, sorted((wire.CONNACK, wire.SUBACK, wire.PUBLISH, wire.PUBACK, wire.PINGRESP))


@test(limit_s=60, not_mosquitto='Mosquitto 2.0.11 has a fault of its own here')
def case_23_packets_and_frames_do_not_fit(ctx):
    """One packet in many frames, many packets in one, cut everywhere. [MQTT-6.0.0-2]"""
    ctx.own_broker(listeners=(WS,))
    rng = random.Random(23)
    size = len(conversation('c00')[0])
    for number in range(2 * size):
        data, expected = conversation(f'c{number % 97:02}')
        client = WebSocket(ctx)
        if number < size:
            cuts = [number]                            # two frames, cut at every byte
        else:
            cuts = sorted(rng.randrange(size) for _ in range(rng.randrange(1, 30)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, size])]
        fragmented = number % 2 == 1                   # one message in fragments, or many
        for i, piece in enumerate(pieces):
            client.send(piece, opcode=CONTINUATION if fragmented and i else BINARY,
                        final=not fragmented or i == len(pieces) - 1)
            if i == 0 and number % 3 == 0:
                client.send(b'ping', opcode=PING)
        got, pongs = [], 0
        while len(got) < len(expected):
            opcode, payload = client.read()
            pongs += opcode == PONG
            while payload and opcode == BINARY:
                got.append(payload[0] >> 4)
                payload = payload[2 + payload[1]:]
        equal(sorted(got), expected, f'answers, cut at {cuts}')
        equal(pongs <= 1, True, 'pongs')
        client.close()


@test(not_mosquitto='Mosquitto 2.0.11 has a fault of its own here')
def case_23_a_frame_shorter_than_its_packet(ctx):
    """A Remaining Length that the frame does not hold: nothing is read past it, it waits."""
    ctx.own_broker(listeners=(WS,))
    client = WebSocket(ctx)
    client.send(wire.connect('short') + b'\x30\xff\x01\0\1t\0')      # 255 announced, 4 here
    equal(client.packets(1), [wire.CONNACK], 'answer')
    client.send(b'y' * 251 + wire.packet(0xC0))
    equal(client.packets(1), [wire.PINGRESP], 'answer after the rest has come')
    for announced in (b'\xff\xff\xff\x7f', b'\xff\xff\xff\xff\x01'):
        other = WebSocket(ctx)
        other.send(wire.connect('liar') + b'\x30' + announced + b'\0\1t')
        equal(other.packets(2), [wire.CONNACK, wire.DISCONNECT], 'answers to a lie')


@test(not_mosquitto=OURS_ONLY)
def case_48_nothing_is_inflated(ctx):
    """permessage-deflate is not agreed on, so a compressed frame is an error: there is no bomb."""
    ctx.own_broker(listeners=(WS,))
    client = WebSocket(ctx, headers=(
        'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',))
    equal((client.status, client.headers.get('sec-websocket-extensions')), (101, None),
          'the answer to an offer of compression')
    client.send(b'\xaa' * 100, reserved=0x40)
    equal(client.close_code(), 1002, 'close code for a compressed frame')


@test(not_mosquitto=OURS_ONLY)
def what_is_refused_is_told(ctx):
    """Wrong paths, versions, origins, subprotocols and plain requests, in words of HTTP."""
    ctx.own_broker('--ws-origin', 'https://good.example', listeners=(WS,))
    equal(WebSocket(ctx, headers=('Origin: https://good.example',)).status, 101, 'our page')
    equal(WebSocket(ctx, headers=('Origin: https://evil.example',)).status, 403, 'a stranger')
    equal(WebSocket(ctx, path='/other').status, 404, 'another path')
    equal(WebSocket(ctx, protocol='chat').status, 400, 'another subprotocol')
    with socket.create_connection((ctx.host, ctx.broker.ports[WS]), 15) as plain:
        plain.sendall(b'GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n')
        answer = plain.recv(4096)
    equal(answer.split(b' ')[1], b'426', 'a request without an upgrade')


@test(not_mosquitto=OURS_ONLY)
def what_is_wrong_closes_with_a_code(ctx):
    """Text [MQTT-6.0.0-1], no mask, reserved bits, unknown opcodes: the code says which."""
    ctx.own_broker(listeners=(WS,))
    for how, code in (({'opcode': TEXT}, 1003), ({'mask': False}, 1002),
                      ({'reserved': 0x10}, 1002), ({'opcode': 3}, 1002),
                      ({'opcode': CONTINUATION}, 1002)):
        client = WebSocket(ctx)
        client.send(wire.connect('wrong'), **how)
        equal(client.close_code(), code, f'close code for {how}')


@test(not_mosquitto=OURS_ONLY)
def ends_are_told_in_both_languages(ctx):
    """An error of MQTT is a DISCONNECT, then a close frame; a close is answered by a close."""
    ctx.own_broker(listeners=(WS,))
    client = WebSocket(ctx)
    client.send(wire.connect('twice') + wire.connect('twice'))
    equal(client.packets(2), [wire.CONNACK, wire.DISCONNECT], 'packets')
    equal(client.close_code() in (1000, 1002), True, 'close code after the DISCONNECT')
    client = WebSocket(ctx)
    client.send(wire.connect('goes'))
    equal(client.packets(1), [wire.CONNACK], 'packets')
    client.send(struct.pack('!H', 1001), opcode=CLOSE)
    equal(client.close_code(), 1001, 'the answer to a close')

# A server that answers CONNECT as told, and shows what the client sent.
# SPDX-License-Identifier: MIT OR Apache-2.0
import socket
import struct

from harness import wire
from harness.wait import DEFAULT_S


class Connect:
    """The fields of a CONNECT."""

    def __init__(self, body):
        name_size = struct.unpack('!H', body[:2])[0]
        at = 2 + name_size
        self.level = body[at]
        flags = body[at + 1]
        self.clean = bool(flags & 2)
        self.has_will, self.will_qos, self.will_retain = (
            bool(flags & 4), flags >> 3 & 3, bool(flags & 0x20))
        self.has_user_name, self.has_password = bool(flags & 0x80), bool(flags & 0x40)
        self.keep_alive = struct.unpack('!H', body[at + 2:at + 4])[0]
        rest = body[at + 4:]
        self.properties = b''
        if self.level == 5:
            self.properties, rest = self._properties(rest)
        self.client_id, rest = self._text(rest)
        self.will_properties = self.will_topic = self.will_payload = None
        if self.has_will:
            if self.level == 5:
                self.will_properties, rest = self._properties(rest)
            self.will_topic, rest = self._text(rest)
            self.will_payload, rest = self._text(rest)
        self.user_name = self.password = None
        if self.has_user_name:
            self.user_name, rest = self._text(rest)
        if self.has_password:
            self.password, rest = self._text(rest)

    @staticmethod
    def _properties(data):
        size, rest = wire.split_varint(data)
        return rest[:size], rest[size:]

    @staticmethod
    def _text(data):
        size = struct.unpack('!H', data[:2])[0]
        return data[2:2 + size].decode(), data[2 + size:]


class FakeServer:
    """Listens on a port of the loopback that the kernel chose."""

    def __init__(self):
        self._listener = socket.create_server(('127.0.0.1', 0))
        self._listener.settimeout(DEFAULT_S)
        self.port = self._listener.getsockname()[1]

    def accept(self):
        """The next connection and its CONNECT."""
        sock, _ = self._listener.accept()
        link = wire.Wire.__new__(wire.Wire)
        link.adopt(sock)
        first = link.expect(1)
        connect = Connect(first.body)
        link.level = connect.level
        return link, connect

    def close(self):
        """Stops listening."""
        self._listener.close()


def connack(level, reason=0, session_present=False):
    """A CONNACK without properties."""
    return wire.packet(0x20, bytes([session_present, reason]) + (b'\x00' if level == 5 else b''))

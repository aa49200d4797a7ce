# A paho client (Debian's python3-paho-mqtt 1.6) whose events can be awaited.
# SPDX-License-Identifier: MIT OR Apache-2.0
import dataclasses
import os
import socket

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCodes
from paho.mqtt.subscribeoptions import SubscribeOptions

from harness.wait import DEFAULT_S, Log

V5, V311, V31 = paho.MQTTv5, paho.MQTTv311, paho.MQTTv31
VERSION_NAMES = {V5: 'v5', V311: 'v311', V31: 'v31'}


@dataclasses.dataclass(frozen=True)
class Message:
    """One received PUBLISH."""
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: object

    def property(self, name):
        """The value of the property NAME, or None."""
        return getattr(self.properties, name, None)


def properties(packet, **values):
    """paho's Properties for a packet type ('PUBLISH', ...), from keyword arguments."""
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class LoopingClient(paho.Client):
    """A paho client that ends its thread with the connection, and does not reconnect.

    paho 1.6 reads the Reason Code of a DISCONNECT only when properties follow it, so the
    packet's first byte is kept here.
    """
    server_disconnect = None
    turn_s = 1.0     # pings are late by up to this

    def loop_forever(self, timeout=1.0, max_packets=1, retry_first_connection=False):
        while self.loop(self.turn_s) == paho.MQTT_ERR_SUCCESS:
            pass

    def _handle_disconnect(self):
        body = bytes(self._in_packet['packet'])
        self.server_disconnect = body[0] if body else 0
        return super()._handle_disconnect()


class Peer:
    """A client with logs of what it received."""

    def __init__(self, host, port, client_id, version=V5, clean=True, expiry=None, keep_alive=60,
                 connect=None, inflight=20, websocket=False):
        self.client_id = client_id
        self.version = version
        self._address = (host, port, keep_alive)
        self._clean = clean
        self._connect_properties = dict(connect or {})
        if expiry is not None:
            self._connect_properties['SessionExpiryInterval'] = expiry
        arguments = {} if version == V5 else {'clean_session': clean}
        if websocket:
            arguments['transport'] = 'websockets'      # path /mqtt, subprotocol mqtt
        self.client = LoopingClient(client_id, protocol=version, **arguments)
        # paho 1.6 does not see what its WebSocket has read ahead: it has to look often.
        self.client.turn_s = 0.02 if websocket else min(1.0, keep_alive / 8) or 1.0
        self.client.max_inflight_messages_set(inflight)
        self.client.max_queued_messages_set(0)
        self.messages = Log(f'{client_id} messages')
        self._connacks = Log(f'{client_id} CONNACKs')
        self._subacks = Log(f'{client_id} SUBACKs')
        self._unsubacks = Log(f'{client_id} UNSUBACKs')
        self._published = Log(f'{client_id} acknowledged')
        self._ends = Log(f'{client_id} ends')
        self._set_callbacks()

    def _set_callbacks(self):
        client = self.client
        client.on_message = self._on_message
        client.on_publish = lambda c, u, mid: self._published.add(mid)
        client.on_subscribe = lambda c, u, mid, codes, *p: self._subacks.add((mid, codes))
        if self.version == V5:
            client.on_connect = lambda c, u, flags, rc, p=None: self._connacks.add((flags, rc, p))
            client.on_unsubscribe = lambda c, u, mid, p, codes: self._unsubacks.add((mid, codes))
        else:
            client.on_connect = lambda c, u, flags, rc: self._connacks.add((flags, rc, None))
            client.on_unsubscribe = lambda c, u, mid: self._unsubacks.add((mid, None))
        client.on_disconnect = lambda c, u, rc, *p: self._ends.add(rc)

    def _on_message(self, _client, _userdata, m):
        self.messages.add(Message(m.topic, bytes(m.payload), m.qos, bool(m.retain), bool(m.dup),
                                  m.mid, getattr(m, 'properties', None)))

    def will(self, topic, payload, qos=0, retain=False, **values):
        """Sets the will; keyword arguments are its properties."""
        made = properties('WILLMESSAGE', **values) if values else None
        self.client.will_set(topic, payload, qos, retain, properties=made)
        return self

    def open(self):
        """Sends CONNECT without waiting for its answer."""
        host, port, keep_alive = self._address
        more = {}
        if self.version == V5:
            more['clean_start'] = self._clean
            if self._connect_properties:
                more['properties'] = properties('CONNECT', **self._connect_properties)
        self.client.connect(host, port, keep_alive, **more)
        self.client.loop_start()
        return self

    def connect(self, timeout_s=DEFAULT_S):
        """Connects and waits for a CONNACK that accepts."""
        return self.open().connect_wait(timeout_s)

    def connect_wait(self, timeout_s=DEFAULT_S):
        """Waits for the CONNACK of open()."""
        _, rc, _ = self._connacks.wait_count(1, timeout_s)[-1]
        if rc != 0:
            raise AssertionError(f'{self.client_id}: refused with {rc}')
        return self

    def reconnect(self):
        """Connects again after drop(), with everything paho remembers of its session."""
        count = len(self._connacks)
        self._ends = Log(f'{self.client_id} ends')
        self.client.reconnect()
        self.client.loop_start()
        _, rc, _ = self._connacks.wait_count(count + 1)[-1]
        if rc != 0:
            raise AssertionError(f'{self.client_id}: refused with {rc}')
        return self

    @property
    def session_present(self):
        """The Session Present flag of the CONNACK."""
        return bool(self._connacks.wait_count(1)[-1][0]['session present'])

    @property
    def connack_properties(self):
        """The properties of the CONNACK (v5)."""
        return self._connacks.wait_count(1)[-1][2]

    def subscribe(self, topic, qos=0, identifier=None, timeout_s=DEFAULT_S, **options):
        """Subscribes, waits for the SUBACK, returns the reason code; OPTIONS as paho's."""
        if self.version == V5:
            made = (properties('SUBSCRIBE', SubscriptionIdentifier=identifier)
                    if identifier else None)
            _, mid = self.client.subscribe(topic, options=SubscribeOptions(qos, **options),
                                           properties=made)
        else:
            _, mid = self.client.subscribe(topic, qos)
        code = self._subacks.wait_for(lambda s: s[0] == mid, timeout_s, 'a SUBACK')[1][0]
        code = getattr(code, 'value', code)
        if code >= 0x80:
            raise AssertionError(f'{self.client_id}: SUBACK 0x{code:02x} for {topic}')
        return code

    def unsubscribe(self, topic):
        """Unsubscribes and waits for the UNSUBACK."""
        _, mid = self.client.unsubscribe(topic)
        return self._unsubacks.wait_for(lambda s: s[0] == mid, what='an UNSUBACK')[1]

    def send(self, topic, payload=b'', qos=0, retain=False, **values):
        """Publishes without waiting; keyword arguments are PUBLISH properties."""
        made = properties('PUBLISH', **values) if values else None
        return self.client.publish(topic, payload, qos, retain, properties=made)

    def publish(self, topic, payload=b'', qos=0, retain=False, timeout_s=DEFAULT_S, **values):
        """Publishes and waits until it is sent (QoS 0) or acknowledged to the end."""
        info = self.send(topic, payload, qos, retain, **values)
        info.wait_for_publish(timeout_s)
        if not info.is_published():
            raise AssertionError(f'{self.client_id}: {topic} at QoS {qos} not acknowledged in '
                                 f'{timeout_s} s')
        return info

    def wait_published(self, count, timeout_s=DEFAULT_S):
        """Waits until COUNT publishes of this client are complete."""
        self._published.wait_count(count, timeout_s)

    def receive(self, count, timeout_s=DEFAULT_S):
        """The messages, as soon as there are COUNT; fails when there are more."""
        got = self.messages.wait_count(count, timeout_s)
        if len(got) != count:
            raise AssertionError(f'{self.client_id}: {len(got)} messages instead of {count}: '
                                 + str([(m.topic, m.payload[:40]) for m in got[:12]]))
        return got

    def payloads(self):
        """The payloads received so far."""
        return [m.payload for m in self.messages.items()]

    def _bare_socket(self):
        """The connection itself, below TLS and WebSocket."""
        return socket.socket(fileno=os.dup(self.client.socket().fileno()))

    def disconnect(self, reason=None):
        """Sends DISCONNECT and waits until the server has closed: then it has dealt with it."""
        with self._bare_socket() as sock:      # outlives paho's own, which it closes at once
            if reason is not None:
                self.client.disconnect(ReasonCodes(PacketTypes.DISCONNECT, identifier=reason))
            else:
                self.client.disconnect()
            self._ends.wait_count(1)
            self.client.loop_stop()
            sock.settimeout(DEFAULT_S)
            try:
                while sock.recv(65536):
                    pass
            except ConnectionError:
                pass

    def drop(self):
        """Closes the socket without DISCONNECT, as a crash would."""
        if self.client.socket() is not None:
            with self._bare_socket() as sock:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._ends.wait_count(1)
        self.client.loop_stop()

    def wait_closed_by_server(self, timeout_s=DEFAULT_S):
        """Waits for the end of the connection; the DISCONNECT's reason code, or None."""
        self._ends.wait_count(1, timeout_s)
        return self.client.server_disconnect

    @property
    def is_closed(self):
        """True after the connection has ended."""
        return len(self._ends) > 0

    def ends(self):
        """paho's reasons for the end, and the server's, for messages."""
        return f'paho {self._ends.items()}, server {self.client.server_disconnect}'

    def close(self):
        """Ends the connection in whatever state it is; for clean-up."""
        if self.client.socket() is not None and not self.is_closed:
            try:
                self.client.disconnect()
                self._ends.wait_count(1, 2.0)
            except (AssertionError, OSError):
                pass

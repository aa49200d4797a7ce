# What a test gets: the broker's address, unique names, and clients that are cleaned up.
# SPDX-License-Identifier: MIT OR Apache-2.0
from harness.broker import TLS, WS, WSS, Broker
from harness.peer import V5, Peer
from harness.programs import MosquittoSub, Process, mosquitto_pub
from harness.wire import Wire


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


class Context:
    """The world of one run of one test."""

    def __init__(self, test_name, kind, broker, workers):
        self.kind = kind
        self.workers = workers
        self.broker = broker
        self.host, self.port = (broker.host, broker.port) if broker else (None, None)
        self.is_mosquitto = bool(kind.mosquitto)
        self._prefix = test_name.replace('.', '/')
        self._id_prefix = test_name.replace('.', '-')
        self._clean_ups = []

    def topic(self, rest=''):
        """A topic of this test alone."""
        return f'e2e/{self._prefix}/{rest}' if rest else f'e2e/{self._prefix}'

    def id(self, name):
        """A client id of this test alone."""
        return f'{self._id_prefix}-{name}'

    def keep(self, thing):
        """Registers THING to be closed at the end."""
        self._clean_ups.append(thing.close)
        return thing

    def own_broker(self, *flags, host='127.0.0.1', port=None, workers=None, listeners=()):
        """Starts a broker for this test alone, and makes it the one in use."""
        self.broker = Broker(self.kind, workers or self.workers, flags, host, port, listeners)
        self._clean_ups.append(self.broker.kill)
        self.host, self.port = self.broker.host, self.broker.port
        return self.broker

    def peer(self, name, version=V5, **more):
        """A paho client, not yet connected."""
        return self.keep(Peer(self.host, self.port, self.id(name), version, **more))

    def peer_over(self, transport, name, version=V5, **more):
        """A paho client for one of the broker's other listeners, not yet connected."""
        peer = Peer(self.host, self.broker.ports[transport], self.id(name), version,
                    websocket=transport in (WS, WSS), **more)
        if transport in (TLS, WSS):
            peer.client.tls_set(self.broker.authority.file)
        return self.keep(peer)

    def connected(self, name, version=V5, **more):
        """A connected paho client."""
        return self.peer(name, version, **more).connect()

    def watcher(self, *filters, name='watcher', qos=2, version=V5, **more):
        """A connected paho client, subscribed to FILTERS."""
        watcher = self.connected(name, version, **more)
        for topic_filter in filters:
            watcher.subscribe(topic_filter, qos)
        return watcher

    def wire(self, level=5, **more):
        """A raw connection."""
        return self.keep(Wire(self.host, self.port, level, **more))

    def sub(self, *arguments, version='v5'):
        """mosquitto_sub; the client id is -i of ARGUMENTS or its own choice."""
        return self.keep(MosquittoSub(self.host, self.port, *arguments, version=version))

    def subscribed(self, *arguments, version='v5'):
        """mosquitto_sub, after its SUBACK."""
        return self.sub(*arguments, version=version).wait_subscribed()

    def pub(self, *arguments, version='v5', **more):
        """mosquitto_pub, run to its end."""
        mosquitto_pub(self.host, self.port, *arguments, version=version, **more)

    def run(self, argv, **more):
        """Any other program."""
        return self.keep(Process(argv, **more))

    def ours(self, *arguments, **more):
        """Our own program with ARGUMENTS."""
        return self.run([self.kind.binary, *arguments], **more)

    def close(self):
        """Ends everything this test started, the latest first."""
        while self._clean_ups:
            try:
                self._clean_ups.pop()()
            except OSError:
                pass

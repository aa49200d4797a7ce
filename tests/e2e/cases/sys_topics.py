# $SYS: the figures are compared with what went over our own sockets, byte for byte.
# SPDX-License-Identifier: MIT OR Apache-2.0
import time

from harness import wire
from harness.registry import test
from harness.wait import equal

PREFIX = '$SYS/broker/'
ROUNDS_S = 15


class Figures:
    """The latest value of each $SYS topic, read from one connection that counts its bytes."""

    def __init__(self, client):
        self._client = client
        self.values = {}
        self.positions = [0]       # bytes received by this client at each packet's end
        self.since_bytes_sent = 0  # index of the first position after the last bytes/sent

    def read(self):
        """Takes one packet; returns its topic without the prefix."""
        self.positions.append(self._client.bytes_in)
        got = self._client.expect(wire.PUBLISH, ROUNDS_S)
        name = got.topic.removeprefix(PREFIX)
        self.values[name] = got.payload.decode()
        return name

    def read_until(self, name, expected):
        """Reads until the figure NAME has the value; fails with its last one."""
        deadline = time.monotonic() + ROUNDS_S
        while self.values.get(name) != str(expected):
            if time.monotonic() > deadline:
                raise AssertionError(f'{PREFIX}{name}: expected {expected}, '
                                     f'last was {self.values.get(name)}')
            self.read()

    def plausible_bytes_sent(self, others):
        """Reads two bytes/sent; the second must be a total at the end of some packet between."""
        seen = 0
        while seen < 2:
            if self.read() != 'bytes/sent':
                continue
            seen += 1
            allowed = {p + others for p in self.positions[self.since_bytes_sent:]}
            self.since_bytes_sent = len(self.positions) - 1
        value = int(self.values['bytes/sent'])
        assert value in allowed, f'bytes/sent: {value} is not among {sorted(allowed)[:40]}'


@test(limit_s=60, first=True)
def figures_are_right(ctx):
    """Packets, bytes, clients, subscriptions: exactly what we sent and received."""
    ctx.own_broker(*([] if ctx.is_mosquitto else ['--sys-interval', '1']))
    reader, talker = ctx.wire(), ctx.wire(4)
    reader.open('reader')
    talker.open('talker')
    talker.subscribe('nothing/here')
    for i in range(5):
        talker.send(wire.publish('some/topic', b'x' * i, 0, level=4))
        talker.send(wire.publish('some/topic', b'y' * i, 1, i + 1, level=4))
        talker.expect(wire.PUBACK)
    talker.send(wire.packet(0xC0))
    talker.expect(wire.PINGRESP)
    reader.subscribe(PREFIX + '#')
    figures = Figures(reader)
    sent = reader.packets_out + talker.packets_out
    figures.read_until('messages/received', sent)
    figures.read_until('bytes/received', reader.bytes_out + talker.bytes_out)
    figures.read_until('publish/messages/received', 10)
    figures.read_until('clients/connected', 2)
    figures.read_until('subscriptions/count', 2)
    figures.plausible_bytes_sent(talker.bytes_in)
    figures.plausible_bytes_sent(talker.bytes_in)
    assert figures.values['version'], 'no version'
    assert figures.values['uptime'].split()[0].isdigit(), figures.values['uptime']
    talker.send(wire.packet(0xE0))
    talker.close()
    figures.read_until('clients/connected', 1)


@test(not_mosquitto='names of our own besides', limit_s=60)
def further_names(ctx):
    """The names that Mosquitto has not, or has differently."""
    ctx.own_broker('--sys-interval', '1')
    watcher = ctx.watcher(PREFIX + '#', qos=0)
    ctx.connected('pub').publish('kept', 'x', 1, retain=True)
    wanted = ['version', 'implementation', 'protocol_version', 'uptime', 'clients/connected',
              'clients/total', 'clients/maximum', 'messages/sent', 'messages/received',
              'messages/publish/sent', 'messages/publish/received', 'bytes/sent',
              'bytes/received', 'retained/count', 'subscriptions/count']
    for name in wanted:
        watcher.messages.wait_for(lambda m, n=name: m.topic == PREFIX + n, what=PREFIX + name)


@test()
def wildcard_does_not_reach_sys(ctx):
    """[MQTT-4.7.2-1]: `#` and `+/...` do not match topics that begin with `$`."""
    watcher = ctx.connected('w')
    watcher.subscribe('#', 0, retainHandling=0)
    watcher.subscribe('+/broker/version', 0)
    watcher.subscribe(ctx.topic('end'), 1)
    exact = ctx.watcher(PREFIX + 'version', name='exact', qos=0)
    got = exact.messages.wait_count(1)[0]
    equal((got.topic, got.retain), (PREFIX + 'version', True), 'version')
    ctx.connected('pub').publish(ctx.topic('end'), 'end', 1)
    watcher.messages.wait_for(lambda m: m.payload == b'end', what='the sentinel')
    assert not [m.topic for m in watcher.messages.items() if m.topic.startswith('$')], '$ seen'


@test(not_mosquitto='Mosquitto 2.0 lets clients publish there')
def clients_cannot_publish_there(ctx):
    """A client's publish to $SYS changes nothing."""
    watcher = ctx.watcher(PREFIX + 'version', qos=1)
    first = watcher.messages.wait_count(1)[0].payload
    liar = ctx.connected('liar')
    liar.send(PREFIX + 'version', 'forged', 0, retain=True)
    watcher.subscribe(ctx.topic('end'), 1)
    ctx.connected('pub').publish(ctx.topic('end'), 'end', 1)
    watcher.messages.wait_for(lambda m: m.payload == b'end', what='the sentinel')
    late = ctx.watcher(PREFIX + 'version', name='late', qos=1)
    equal(late.messages.wait_count(1)[0].payload, first, 'version afterwards')
    assert b'forged' not in watcher.payloads(), 'the forged version was delivered'

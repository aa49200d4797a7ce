# The same messages over TLS, WebSocket and both, by clients that nobody here wrote.
# SPDX-License-Identifier: MIT OR Apache-2.0
from harness.broker import TLS, WS, WSS
from harness.peer import V5, V31, V311, VERSION_NAMES
from harness.registry import test
from harness.wait import equal

ALL = (TLS, WS, WSS)
# Around what WebSocket frames, TLS records and Remaining Lengths count in.
SIZES = (0, 1, 100, 125, 126, 127, 128, 16383, 16384, 16385, 65535, 65536, 1 << 20)


def payload(size, salt=0):
    """Bytes that show where they were cut or swapped."""
    block = bytes((i * 7 + salt) % 251 for i in range(min(size, 65521)))
    return (block * (size // max(1, len(block)) + 1))[:size]


def tls_arguments(ctx):
    """What mosquitto_pub and mosquitto_sub need to trust the broker."""
    return ['--cafile', ctx.broker.authority.file]


@test(limit_s=60)
def mosquitto_tools_over_tls(ctx):
    """Every version, every QoS, up to a mebibyte."""
    ctx.own_broker(listeners=(TLS,))
    ctx.port = ctx.broker.ports[TLS]
    big = payload(1 << 20)
    for version in ('v5', 'v311', 'v31'):
        watcher = ctx.subscribed('-t', f'{version}/+', '-q', '2', '-i', f'sub{version}',
                                 *tls_arguments(ctx), version=version)
        for qos in '012':
            ctx.pub('-t', f'{version}/{qos}', '-m', f'by {version}', '-q', qos,
                    *tls_arguments(ctx), version=version)
        ctx.pub('-t', f'{version}/big', '-s', '-q', '1', *tls_arguments(ctx), version=version,
                stdin=big)
        got = {m.topic: m.payload for m in watcher.receive(4)}
        equal(got.pop(f'{version}/big') == big, True, 'the large message is whole')
        equal(got, {f'{version}/{q}': f'by {version}'.encode() for q in '012'}, 'messages')


@test(limit_s=60)
def mosquitto_tools_with_each_tls_version(ctx):
    """1.2 and 1.3; the older ones that the client still offers are refused."""
    ctx.own_broker(listeners=(TLS,))
    ctx.port = ctx.broker.ports[TLS]
    for version in ('tlsv1.2', 'tlsv1.3'):
        ctx.pub('-t', 'x', '-m', 'x', '-q', '1', '--tls-version', version, *tls_arguments(ctx))


@test()
def mosquitto_tools_do_not_trust_a_stranger(ctx):
    """The certificate is what it says: another authority's is refused by the client."""
    broker = ctx.own_broker(listeners=(TLS,))
    other = type(broker.authority)(broker.folder, 'other')
    for file in (other.file, '/etc/ssl/certs/ca-certificates.crt'):
        child = ctx.run(['mosquitto_pub', '-h', ctx.host, '-p', broker.ports[TLS], '-t', 'x', '-m',
                         'x', '--cafile', file])
        assert child.wait() != 0, f'{file} vouched for the broker'
    ctx.port = broker.ports[TLS]
    ctx.pub('-t', 'x', '-m', 'x', *tls_arguments(ctx))


@test(limit_s=90)
def paho_over_each(ctx):
    """Each transport, each version, each QoS: published and received over the same."""
    ctx.own_broker(listeners=ALL)
    for transport in ALL:
        for version in (V5, V311, V31):
            name = f'{transport}-{VERSION_NAMES[version]}'
            watcher = ctx.peer_over(transport, f'{name}-sub', version).connect()
            watcher.subscribe(f'{name}/#', 2)
            source = ctx.peer_over(transport, f'{name}-pub', version).connect()
            for qos in (0, 1, 2):
                source.publish(f'{name}/{qos}', payload(1000, qos), qos)
            got = watcher.receive(3)
            equal([(m.topic, m.payload, m.qos) for m in got],
                  [(f'{name}/{q}', payload(1000, q), q) for q in (0, 1, 2)], name)
            source.disconnect()
            watcher.disconnect()


@test(limit_s=90)
def every_size_over_each(ctx):
    """Payloads around every length that a layer counts in, both ways."""
    ctx.own_broker(listeners=ALL)
    for transport in ALL:
        watcher = ctx.peer_over(transport, f'{transport}-sub').connect()
        watcher.subscribe(f'{transport}/#', 1)
        source = ctx.peer_over(transport, f'{transport}-pub').connect()
        for size in SIZES:
            source.publish(f'{transport}/{size}', payload(size), 1)
        got = watcher.receive(len(SIZES), 40)
        equal([m.topic for m in got], [f'{transport}/{s}' for s in SIZES], 'topics')
        wrong = [m.topic for m in got if m.payload != payload(int(m.topic.partition('/')[2]))]
        equal(wrong, [], 'payloads that came out changed')


@test(limit_s=60)
def from_each_to_each(ctx):
    """A publisher and a subscriber on every pair of transports, TCP too."""
    ctx.own_broker(listeners=ALL)
    every = ('tcp', *ALL)
    watchers = {t: ctx.peer_over(t, f'sub-{t}').connect() for t in every}
    sources = {t: ctx.peer_over(t, f'pub-{t}').connect() for t in every}
    for watcher in watchers.values():
        watcher.subscribe('all/+', 2)
    for qos in (0, 1, 2):
        for transport, source in sources.items():
            source.publish(f'all/{transport}', f'at {qos}', qos)
    for transport, watcher in watchers.items():
        got = sorted((m.topic, m.payload, m.qos) for m in watcher.receive(3 * len(every)))
        equal(got, sorted((f'all/{t}', f'at {q}'.encode(), q) for t in every for q in (0, 1, 2)),
              f'what the subscriber over {transport} got')


@test(limit_s=60)
def bursts_over_each(ctx):
    """3,000 messages at QoS 1: none lost, all in order, many in one record or frame."""
    count = 3000
    ctx.own_broker(listeners=ALL)
    for transport in ALL:
        watcher = ctx.peer_over(transport, f'{transport}-sub').connect()
        watcher.subscribe(f'{transport}/x', 1)
        source = ctx.peer_over(transport, f'{transport}-pub', inflight=100).connect()
        for i in range(count):
            source.send(f'{transport}/x', b'%d' % i, 1)
        got = watcher.receive(count, 40)
        equal([int(m.payload) for m in got], list(range(count)), f'numbers over {transport}')


@test(limit_s=60)
def sessions_move_between_transports(ctx):
    """A session that began over one transport goes on over the others, with what it missed."""
    ctx.own_broker(listeners=ALL)
    source = ctx.connected('pub')
    first = ctx.peer_over('tcp', 'wanderer', clean=False, expiry=100).connect()
    first.subscribe('x', 1)
    first.disconnect()
    for i, transport in enumerate((*ALL, 'tcp')):
        source.publish('x', f'{i}', 1)
        again = ctx.peer_over(transport, 'wanderer', clean=False, expiry=100).connect()
        equal(again.session_present, True, f'session present over {transport}')
        equal(again.receive(1)[0].payload, b'%d' % i, f'what waited, over {transport}')
        again.disconnect()


@test(limit_s=60)
def wills_over_each(ctx):
    """A connection that breaks below TLS or WebSocket publishes the will; a goodbye does not."""
    ctx.own_broker(listeners=ALL)
    watcher = ctx.watcher('will/+', qos=1)
    for transport in ALL:
        ctx.peer_over(transport, f'calm-{transport}', V5).will(f'will/calm-{transport}',
                                                               'no').connect().disconnect()
        ctx.peer_over(transport, f'torn-{transport}', V5).will(f'will/torn-{transport}',
                                                               'yes').connect().drop()
    equal(sorted(m.topic for m in watcher.receive(3)),
          sorted(f'will/torn-{t}' for t in ALL), 'wills')

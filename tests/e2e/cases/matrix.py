# Every pair of versions, every pair of QoS, with Mosquitto's clients, paho and our own.
# SPDX-License-Identifier: MIT OR Apache-2.0
import itertools

from harness.context import Skip
from harness.peer import V31, V311, V5
from harness.programs import has_command
from harness.registry import test
from harness.wait import equal

QOS_PAIRS = list(itertools.product((0, 1, 2), repeat=2))
TEXT = 'Grüße, 你好'


def mosquitto_pair(publisher, subscriber):
    """Nine subscribers, one a QoS pair; nine publishes; each gets its own, at the lower QoS."""
    def run(ctx):
        # [MQTT-3.8.4-8]: the QoS is the lower of the two.
        for out_qos in (0, 1, 2):
            sub = ctx.subscribed('-t', ctx.topic(f'{out_qos}/+'), '-q', out_qos,
                                 version=subscriber)
            for in_qos in (0, 1, 2):
                ctx.pub('-t', ctx.topic(f'{out_qos}/{in_qos}'), '-q', in_qos,
                        '-m', f'{TEXT} {in_qos}', version=publisher)
            # Three publishers: nothing orders what one of them sends after another's.
            got = sorted((m.topic, m.qos, m.payload.decode(), m.retain) for m in sub.receive(3))
            equal(got, [(ctx.topic(f'{out_qos}/{q}'), min(q, out_qos), f'{TEXT} {q}', False)
                        for q in (0, 1, 2)], f'messages at QoS {out_qos}')
    return run


def paho_pair(publisher, subscriber):
    """The same with paho, where all nine run in two connections."""
    def run(ctx):
        source = ctx.connected('pub', publisher)
        sink = ctx.connected('sub', subscriber)
        for _, out_qos in QOS_PAIRS[:3]:
            equal(sink.subscribe(ctx.topic(f'{out_qos}/+'), out_qos), out_qos, 'granted QoS')
        expected = []
        for in_qos, out_qos in QOS_PAIRS:
            topic = ctx.topic(f'{out_qos}/{in_qos}')
            source.publish(topic, TEXT, in_qos)
            expected.append((topic, TEXT.encode(), min(in_qos, out_qos), False))
        got = [(m.topic, m.payload, m.qos, m.retain) for m in sink.receive(len(expected))]
        # A QoS 2 message is seen after its PUBREL, so it may come after a later QoS 0 one.
        equal(sorted(got), sorted(expected), 'messages')
    return run


for pub_version, sub_version in itertools.product(('v5', 'v311', 'v31'), repeat=2):
    test(name=f'mosquitto_{pub_version}_to_{sub_version}')(
        mosquitto_pair(pub_version, sub_version))

for pub_version, sub_version in itertools.product((V5, V311, V31), repeat=2):
    NAMES = {V5: 'v5', V311: 'v311', V31: 'v31'}
    test(name=f'paho_{NAMES[pub_version]}_to_{NAMES[sub_version]}')(
        paho_pair(pub_version, sub_version))


@test()
def wildcards(ctx):
    """Each filter gets what it must and nothing else."""
    base = ctx.topic()
    published = ['', 'a', 'a/b', 'a/b/c', 'a/', '/a', 'b/b', 'a//c']
    filters = {
        f'{base}/#': [''] + published,
        f'{base}/+': ['', 'a'],
        f'{base}/+/b': ['a/b', 'b/b'],
        f'{base}/a/+': ['a/b', 'a/'],
        f'{base}/a/+/c': ['a/b/c', 'a//c'],
        f'{base}/a/#': ['a', 'a/b', 'a/b/c', 'a/', 'a//c'],
        f'{base}/+/+': ['a/b', 'a/', '/a', 'b/b'],
        f'{base}/a/b': ['a/b'],
    }
    watchers = [ctx.watcher(f, name=f'w{i}', qos=1) for i, f in enumerate(filters)]
    source = ctx.connected('pub')
    source.publish(base, 'parent', 1)
    for topic in published:
        source.publish(f'{base}/{topic}', topic, 1)
    for watcher, (topic_filter, expected) in zip(watchers, filters.items()):
        want = [f'{base}/{t}' for t in expected]
        if topic_filter.endswith(f'{base}/#'):
            want[0] = base          # [MQTT-4.7.1-2]: `#` also matches the parent level
        got = [m.topic for m in watcher.receive(len(want))]
        equal(got, want, topic_filter)


@test()
def unsubscribe_ends_delivery(ctx):
    """After the UNSUBACK nothing comes for that filter; other filters stay."""
    watcher = ctx.watcher(ctx.topic('a'), ctx.topic('b'), qos=1)
    source = ctx.connected('pub')
    source.publish(ctx.topic('a'), '1', 1)
    watcher.receive(1)
    watcher.unsubscribe(ctx.topic('a'))
    source.publish(ctx.topic('a'), '2', 1)
    source.publish(ctx.topic('b'), '3', 1)
    equal([m.payload for m in watcher.receive(2)], [b'1', b'3'], 'payloads')


@test()
def thousand_topics(ctx):
    """A thousand topics, each with its own subscription, and one wildcard over all."""
    count = 1000
    sink = ctx.connected('sub')
    options = [(ctx.topic(f't/{i}'), 1) for i in range(count)]
    mids = []
    for start in range(0, count, 100):
        mids.append(sink.client.subscribe(
            [(t, paho_options(q)) for t, q in options[start:start + 100]])[1])
    for mid in mids:
        codes = sink._subacks.wait_for(lambda s, m=mid: s[0] == m)[1]
        equal([c.value for c in codes], [1] * 100, 'SUBACK codes')
    watcher = ctx.watcher(ctx.topic('t/+'), qos=0)
    source = ctx.connected('pub')
    for topic, _ in options:
        source.send(topic, topic, 1)
    source.wait_published(count)
    for client in (sink, watcher):
        got = client.receive(count)
        equal([m.topic for m in got], [t for t, _ in options], 'topics in order')
        assert all(m.payload.decode() == m.topic for m in got), 'payloads mixed up'


def paho_options(qos):
    """paho's subscription options with only a QoS."""
    from paho.mqtt.subscribeoptions import SubscribeOptions
    return SubscribeOptions(qos)


@test()
def mosquitto_sub_many_filters(ctx):
    """mosquitto_sub with several -t, and -T and -U, as its users call it."""
    sub = ctx.subscribed('-t', ctx.topic('a'), '-t', ctx.topic('b/#'), '-T', ctx.topic('b/x'),
                         '-q', '1', '-C', '3')
    for topic in ('a', 'b/1', 'b/x', 'c', 'b/2'):
        ctx.pub('-t', ctx.topic(topic), '-m', topic, '-q', '1')
    sub.succeed()
    equal([m.payload for m in sub.receive(3)], [b'a', b'b/1', b'b/2'], 'payloads')


def ours_pair(version):
    """mqttv5 pub to mosquitto_sub, and mosquitto_pub to mqttv5 sub, at every QoS."""
    def run(ctx):
        if not (has_command(ctx.kind.binary, 'pub') and has_command(ctx.kind.binary, 'sub')):
            raise Skip('no mqttv5 pub|sub')
        place = ['-H', ctx.host, '-p', ctx.port, '--protocol-version', version]
        mosquitto = {'5': 'v5', '3.1.1': 'v311'}[version]
        for qos in (0, 1, 2):
            topic = ctx.topic(f'out/{qos}')
            sub = ctx.subscribed('-t', topic, '-q', '2', '-C', '1', version=mosquitto)
            ctx.ours('pub', *place, '-t', topic, '-m', TEXT, '-q', qos).succeed()
            sub.succeed()
            got = sub.receive(1)[0]
            equal((got.payload.decode(), got.qos), (TEXT, qos), f'mqttv5 pub at QoS {qos}')
            topic = ctx.topic(f'in/{qos}')
            mine = ctx.ours('sub', *place, '-t', topic, '-q', qos, '-n', '1')
            mine.error_lines.wait_for(lambda line: 'ubscribed' in line, what='a status line')
            ctx.pub('-t', topic, '-m', TEXT, '-q', '2', version=mosquitto)
            equal(mine.succeed(), f'{TEXT}\n'.encode(), f'mqttv5 sub at QoS {qos}')
    return run


test(name='mqttv5_pub_and_sub_v5')(ours_pair('5'))
test(name='mqttv5_pub_and_sub_v311')(ours_pair('3.1.1'))

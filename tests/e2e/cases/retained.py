# Retained messages. SPDX-License-Identifier: MIT OR Apache-2.0
from harness.peer import V311, V5
from harness.registry import test
from harness.wait import equal


def sentinel(ctx, source, watcher, count):
    """Publishes one more message and waits for it: what was to come has come before."""
    source.publish(ctx.topic('end'), 'end', 1)
    got = watcher.messages.wait_for(lambda m: m.payload == b'end', what='the sentinel')
    equal(len(watcher.messages), count + 1, f'messages up to {got.topic}')


def set_replace_clear(version):
    """A later subscriber sees the latest retained message, with the flag; none when cleared."""
    def run(ctx):
        source = ctx.connected('pub', version)
        topic = ctx.topic('x')
        source.publish(topic, 'one', 1, retain=True)
        source.publish(topic, 'two', 2, retain=True)
        source.publish(topic, 'live', 1, retain=False)      # does not touch the retained one
        late = ctx.watcher(topic, ctx.topic('end'), name='late', version=version)
        got = late.receive(1)[0]
        # [MQTT-3.3.1-8]: sent as the result of a subscription, so RETAIN is 1.
        equal((got.payload, got.qos, got.retain), (b'two', 2, True), 'retained message')
        source.publish(topic, 'three', 1, retain=True)
        got = late.receive(2)[1]
        equal((got.payload, got.retain), (b'three', False), 'live copy')   # [MQTT-3.3.1-12]
        source.publish(topic, b'', 1, retain=True)          # [MQTT-3.3.1-6]
        equal(late.receive(3)[2].payload, b'', 'the clearing message itself')
        after = ctx.watcher(topic, ctx.topic('end'), name='after', version=version)
        sentinel(ctx, source, after, 0)
    return run


test(name='set_replace_clear_v5')(set_replace_clear(V5))
test(name='set_replace_clear_v311')(set_replace_clear(V311))


@test()
def handling_0_1_2(ctx):
    """Retain Handling 0: always; 1: only for a new subscription; 2: never."""
    source = ctx.connected('pub')
    source.publish(ctx.topic('x'), 'kept', 1, retain=True)
    expected = {0: 2, 1: 1, 2: 0}     # copies after subscribing twice
    for handling, copies in expected.items():
        watcher = ctx.connected(f'h{handling}')
        watcher.subscribe(ctx.topic('end'), 1)
        for _ in range(2):
            watcher.subscribe(ctx.topic('x'), 1, retainHandling=handling)
        sentinel(ctx, source, watcher, copies)
        watcher.disconnect()


@test()
def wildcard_gets_all(ctx):
    """A wildcard subscription gets every retained message that matches, once."""
    source = ctx.connected('pub')
    topics = [ctx.topic(f'k/{i}/v') for i in range(200)]
    for topic in topics:
        source.send(topic, topic, 1, retain=True)
    source.wait_published(len(topics))
    watcher = ctx.watcher(ctx.topic('k/+/v'), qos=1)
    got = watcher.receive(len(topics))
    equal(sorted(m.topic for m in got), sorted(topics), 'topics')
    assert all(m.retain and m.payload.decode() == m.topic for m in got), 'flag or payload wrong'


@test()
def lower_qos_of_the_two(ctx):
    """Delivered at the lower of publish and subscription QoS."""
    source = ctx.connected('pub')
    for qos in (0, 1, 2):
        source.publish(ctx.topic(f'{qos}'), str(qos), qos, retain=True)
    source.publish(ctx.topic('flush'), '', 1)
    for limit in (0, 1, 2):
        watcher = ctx.watcher(ctx.topic('+'), name=f'w{limit}', qos=limit)
        got = {m.topic[-1]: m.qos for m in watcher.receive(3)}
        equal(got, {str(q): min(q, limit) for q in (0, 1, 2)}, f'subscribed at {limit}')


@test()
def properties_are_kept(ctx):
    """Every PUBLISH property of a retained message reaches the later subscriber."""
    source = ctx.connected('pub')
    source.publish(ctx.topic('x'), 'data', 1, retain=True, PayloadFormatIndicator=1,
                   MessageExpiryInterval=500, ContentType='text/plain', ResponseTopic='reply/to',
                   CorrelationData=b'\x00\xff\x01',
                   UserProperty=[('a', '1'), ('b', '2'), ('a', '3')])
    got = ctx.watcher(ctx.topic('x')).receive(1)[0]
    equal(got.property('PayloadFormatIndicator'), 1, 'payload format')
    assert 490 <= got.property('MessageExpiryInterval') <= 500, 'expiry not counted down'
    equal(got.property('ContentType'), 'text/plain', 'content type')
    equal(got.property('ResponseTopic'), 'reply/to', 'response topic')
    equal(got.property('CorrelationData'), b'\x00\xff\x01', 'correlation data')
    equal(got.property('UserProperty'), [('a', '1'), ('b', '2'), ('a', '3')], 'user properties')


@test(not_mosquitto='Mosquitto 2.0 sends them')
def shared_subscription_gets_none(ctx):
    """Retained messages are not sent to a new shared subscription (MQTT 5.0, 4.8.2)."""
    source = ctx.connected('pub')
    source.publish(ctx.topic('x'), 'kept', 1, retain=True)
    watcher = ctx.watcher(f'$share/g/{ctx.topic("x")}', ctx.topic('end'), qos=1)
    sentinel(ctx, source, watcher, 0)


@test()
def mosquitto_tools(ctx):
    """mosquitto_pub -r, -n; mosquitto_sub --retained-only, -R and --remove-retained."""
    ctx.pub('-t', ctx.topic('a'), '-m', 'A', '-r', '-q', '1')
    ctx.pub('-t', ctx.topic('b'), '-m', 'B', '-r', '-q', '1', version='v311')
    sub = ctx.subscribed('-t', ctx.topic('+'), '-C', '2', '-q', '1')
    sub.succeed()
    equal(sorted((m.payload, m.retain) for m in sub.receive(2)), [(b'A', True), (b'B', True)],
          'retained')
    ctx.pub('-t', ctx.topic('a'), '-n', '-r', '-q', '1')
    sub = ctx.subscribed('-t', ctx.topic('+'), '-C', '1', '-q', '1')
    sub.succeed()
    equal(sub.receive(1)[0].payload, b'B', 'what is left')

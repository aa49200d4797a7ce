# What MQTT 5 adds to a message or a subscription.
# SPDX-License-Identifier: MIT OR Apache-2.0
from harness import wire
from harness.peer import V311
from harness.registry import test
from harness.wait import equal


@test()
def all_publish_properties_at_each_qos(ctx):
    """Forwarded unaltered and in order [MQTT-3.3.2-17] [MQTT-3.3.2-18]."""
    watcher = ctx.watcher(ctx.topic('+'))
    source = ctx.connected('pub')
    pairs = [('k', 'v'), ('k', 'w'), ('ü', '\U0001f600'), ('', '')]
    for qos in (0, 1, 2):
        source.publish(ctx.topic(f'{qos}'), 'x', qos, UserProperty=pairs, ContentType='a/b',
                       ResponseTopic='some/where', CorrelationData=bytes(range(256)),
                       PayloadFormatIndicator=1, MessageExpiryInterval=1000)
        got = watcher.receive(qos + 1)[-1]
        equal((got.property('UserProperty'), got.property('ContentType'),
               got.property('ResponseTopic'), got.property('CorrelationData'),
               got.property('PayloadFormatIndicator')),
              (pairs, 'a/b', 'some/where', bytes(range(256)), 1), f'properties at QoS {qos}')
        assert 990 <= got.property('MessageExpiryInterval') <= 1000, 'expiry'


@test()
def user_properties_by_mosquitto_tools(ctx):
    """mosquitto_pub -D to mosquitto_sub -F %P; a 3.1.1 subscriber gets the bare message."""
    sub = ctx.subscribed('-t', ctx.topic('x'), '-C', '1')
    old = ctx.watcher(ctx.topic('x'), version=V311)
    ctx.pub('-t', ctx.topic('x'), '-m', 'hi', '-D', 'publish', 'user-property', 'a', '1',
            '-D', 'publish', 'content-type', 'text/plain')
    sub.succeed()
    equal(sub.receive(1)[0].user_properties, 'a:1', 'user properties')
    equal(old.receive(1)[0].payload, b'hi', '3.1.1 payload')


@test()
def request_response_by_mosquitto_rr(ctx):
    """mosquitto_rr asks; paho answers to the response topic with the correlation data."""
    responder = ctx.connected('responder')
    responder.subscribe(ctx.topic('ask'), 1)
    asker = ctx.run(['mosquitto_rr', '-h', ctx.host, '-p', ctx.port, '-t', ctx.topic('ask'),
                     '-e', ctx.topic('answer'), '-m', 'question', '-q', '1', '-W', '15',
                     '-D', 'publish', 'correlation-data', 'id-1', '-F', '%D %p'])
    request = responder.receive(1)[0]
    equal((request.payload, request.property('ResponseTopic'),
           request.property('CorrelationData')),
          (b'question', ctx.topic('answer'), b'id-1'), 'request')
    responder.publish(request.property('ResponseTopic'), 'reply', 1,
                      CorrelationData=request.property('CorrelationData'))
    equal(asker.succeed(), b'id-1 reply\n', 'what mosquitto_rr printed')


@test()
def topic_alias_from_the_client(ctx):
    """An alias set once stands for its topic; setting it again changes it."""
    watcher = ctx.watcher(ctx.topic('+'), qos=1)
    source = ctx.connected('pub')
    assert source.connack_properties.TopicAliasMaximum >= 2, 'no topic aliases allowed'
    source.send(ctx.topic('a'), '1', 1, TopicAlias=1)
    source.send('', '2', 1, TopicAlias=1)
    source.send(ctx.topic('b'), '3', 0, TopicAlias=2)
    source.send('', '4', 0, TopicAlias=1)
    source.send('', '5', 1, TopicAlias=2)
    source.send(ctx.topic('c'), '6', 1, TopicAlias=1)
    source.send('', '7', 1, TopicAlias=1)
    got = watcher.receive(7)
    equal([(m.topic[-1], m.payload) for m in got],
          [(t, str(i + 1).encode()) for i, t in enumerate('aababcc')], 'topics')
    assert all(m.property('TopicAlias') is None for m in got), "the publisher's alias came through"


@test(not_mosquitto='Mosquitto 2.0 assigns none')
def topic_alias_from_the_broker(ctx):
    """We assign aliases, from the first message on, within the client's maximum."""
    watcher = ctx.watcher(ctx.topic('+'), qos=1, connect={'TopicAliasMaximum': 2})
    source = ctx.connected('pub')
    for i, topic in enumerate('ababcca'):
        source.publish(ctx.topic(topic), str(i), 1)
    aliases, topics, bare = {}, [], 0
    for message in watcher.receive(7):
        alias = message.property('TopicAlias')
        assert alias is None or 1 <= alias <= 2, f'alias {alias} beyond the maximum'
        if message.topic:
            topics.append(message.topic[-1])
            if alias:
                aliases[alias] = message.topic[-1]
        else:
            bare += 1
            topics.append(aliases[alias])
    equal(''.join(topics), 'ababcca', 'topics')
    assert bare >= 2, f'only {bare} messages used an alias'


@test()
def no_alias_unless_allowed(ctx):
    """[MQTT-3.1.2-26]: a client that allows none gets none."""
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    source = ctx.connected('pub')
    for i in range(3):
        source.publish(ctx.topic('x'), str(i), 1)
    assert all(m.topic == ctx.topic('x') and m.property('TopicAlias') is None
               for m in watcher.receive(3)), 'an alias was used'


@test()
def subscription_identifier(ctx):
    """[MQTT-3.3.4-3]: the identifier comes with each message, until it is replaced."""
    watcher = ctx.connected('w')
    watcher.subscribe(ctx.topic('a'), 1, identifier=1)
    watcher.subscribe(ctx.topic('b'), 1, identifier=268435455)
    watcher.subscribe(ctx.topic('c'), 1)
    source = ctx.connected('pub')
    for topic in 'abc':
        source.publish(ctx.topic(topic), topic, 1)
    got = [m.property('SubscriptionIdentifier') for m in watcher.receive(3)]
    equal(got, [[1], [268435455], None], 'identifiers')
    watcher.subscribe(ctx.topic('a'), 1, identifier=9, retainHandling=2)
    source.publish(ctx.topic('a'), 'a', 1)
    equal(watcher.receive(4)[3].property('SubscriptionIdentifier'), [9], 'replaced identifier')


@test(not_mosquitto='Mosquitto 2.0 sends one copy a subscription')
def overlapping_subscriptions_one_copy(ctx):
    """One copy, at the highest QoS, with every identifier [MQTT-3.3.4-4]."""
    watcher = ctx.connected('w')
    watcher.subscribe(ctx.topic('#'), 0, identifier=3)
    watcher.subscribe(ctx.topic('+'), 2, identifier=5)
    watcher.subscribe(ctx.topic('x'), 1)
    source = ctx.connected('pub')
    source.publish(ctx.topic('x'), 'one', 2)
    source.publish(ctx.topic('y/z'), 'two', 2)
    got = watcher.receive(2)
    by_payload = {m.payload: m for m in got}
    one = by_payload[b'one']
    equal((one.qos, sorted(one.property('SubscriptionIdentifier'))), (2, [3, 5]), 'one copy')
    equal(by_payload[b'two'].qos, 0, 'the other')


@test()
def no_local(ctx):
    """[MQTT-3.8.3-3]: not to the connection that published it."""
    both = ctx.connected('both')
    both.subscribe(ctx.topic('x'), 1, noLocal=True)
    both.subscribe(ctx.topic('own'), 1)
    other = ctx.connected('other')
    both.publish(ctx.topic('x'), 'mine', 1)
    other.publish(ctx.topic('x'), 'theirs', 1)
    both.publish(ctx.topic('own'), 'echo', 1)
    equal([m.payload for m in both.receive(2)], [b'theirs', b'echo'], 'messages')


@test()
def retain_as_published(ctx):
    """[MQTT-3.3.1-12] [MQTT-3.3.1-13]: the RETAIN flag of live messages."""
    keeps = ctx.connected('keeps')
    keeps.subscribe(ctx.topic('+'), 1, retainAsPublished=True)
    clears = ctx.connected('clears')
    clears.subscribe(ctx.topic('+'), 1)
    source = ctx.connected('pub')
    source.publish(ctx.topic('r'), 'x', 1, retain=True)
    source.publish(ctx.topic('p'), 'x', 1, retain=False)
    equal([m.retain for m in keeps.receive(2)], [True, False], 'with RAP')
    equal([m.retain for m in clears.receive(2)], [False, False], 'without RAP')


@test()
def receive_maximum_of_the_client(ctx):
    """[MQTT-3.3.4-9]: no more unacknowledged messages than the client allows."""
    slow = ctx.wire()
    slow.open(ctx.id('slow'), props=b'\x21\x00\x03')       # Receive Maximum 3
    slow.subscribe(ctx.topic('x'), 1)
    source = ctx.connected('pub')
    for i in range(10):
        source.publish(ctx.topic('x'), str(i), 1)
    window = [slow.expect(wire.PUBLISH) for _ in range(3)]
    slow.send(wire.packet(0xC0))
    slow.expect(wire.PINGRESP)                            # and not a fourth PUBLISH before it
    got = list(window)
    while len(got) < 10:
        slow.send(wire.ack(wire.PUBACK, got[len(got) - 3].packet_id))
        got.append(slow.expect(wire.PUBLISH))
    equal([int(m.payload) for m in got], list(range(10)), 'order')


@test()
def maximum_packet_size_of_the_client(ctx):
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25]: what is too large for the client is left out for it."""
    small = ctx.watcher(ctx.topic('x'), name='small', qos=1, connect={'MaximumPacketSize': 200})
    large = ctx.watcher(ctx.topic('x'), name='large', qos=1)
    source = ctx.connected('pub')
    for size in (10, 1000, 20):
        source.publish(ctx.topic('x'), b'x' * size, 1)
    equal([len(m.payload) for m in large.receive(3)], [10, 1000, 20], 'without a maximum')
    equal([len(m.payload) for m in small.receive(2)], [10, 20], 'with a maximum of 200')

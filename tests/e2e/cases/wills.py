# Wills: when they are sent, when not, delayed, cancelled.
# SPDX-License-Identifier: MIT OR Apache-2.0
import signal
import time

from harness.peer import V311, V5
from harness.registry import test
from harness.wait import equal


def on_drop(version):
    """A connection that breaks without DISCONNECT leaves its will, with its QoS."""
    def run(ctx):
        watcher = ctx.watcher(ctx.topic('#'), version=version)
        for qos in (0, 1, 2):
            ctx.peer(f'q{qos}', version).will(ctx.topic(f'{qos}'), f'gone {qos}', qos) \
                .connect().drop()
            got = watcher.receive(qos + 1)[-1]
            equal((got.topic, got.payload, got.qos, got.retain),
                  (ctx.topic(f'{qos}'), f'gone {qos}'.encode(), qos, False), 'will')
    return run


test(name='on_drop_v5')(on_drop(V5))
test(name='on_drop_v311')(on_drop(V311))


@test()
def on_kill_of_mosquitto_sub(ctx):
    """SIGKILL of a real process."""
    watcher = ctx.watcher(ctx.topic('will'))
    for index, version in enumerate(('v5', 'v311', 'v31')):
        victim = ctx.subscribed('-t', ctx.topic('x'), '--will-topic', ctx.topic('will'),
                                '--will-payload', version, '--will-qos', '1', version=version)
        victim.signal(signal.SIGKILL)
        equal(watcher.receive(index + 1)[-1].payload, version.encode(), 'will')


@test()
def none_after_normal_disconnect(ctx):
    """[MQTT-3.14.4-3]: DISCONNECT 0x00 discards the will, in both versions."""
    watcher = ctx.watcher(ctx.topic('#'), qos=1)
    for version in (V5, V311):
        ctx.peer(f'c{version}', version).will(ctx.topic('will'), 'no', 1).connect().disconnect()
    ctx.connected('pub').publish(ctx.topic('end'), 'end', 1)
    equal(watcher.messages.wait_count(1)[0].payload, b'end', 'only the sentinel')


@test()
def sent_after_disconnect_with_will(ctx):
    """DISCONNECT 0x04 asks for the will."""
    watcher = ctx.watcher(ctx.topic('will'))
    ctx.peer('c').will(ctx.topic('will'), 'asked', 1).connect().disconnect(reason=4)
    equal(watcher.receive(1)[0].payload, b'asked', 'will')


@test()
def retained_will(ctx):
    """A will with RETAIN is stored."""
    watcher = ctx.watcher(ctx.topic('will'), qos=1)
    ctx.peer('c').will(ctx.topic('will'), 'kept', 1, retain=True).connect().drop()
    watcher.receive(1)
    late = ctx.watcher(ctx.topic('will'), name='late', qos=1).receive(1)[0]
    equal((late.payload, late.retain), (b'kept', True), 'retained will')


@test()
def properties(ctx):
    """The will's properties arrive; its delay does not."""
    watcher = ctx.watcher(ctx.topic('will'))
    ctx.peer('c').will(ctx.topic('will'), 'w', 1, ContentType='text/x', ResponseTopic='r',
                       CorrelationData=b'id', PayloadFormatIndicator=1, MessageExpiryInterval=99,
                       UserProperty=[('k', 'v')]).connect().drop()
    got = watcher.receive(1)[0]
    equal((got.property('ContentType'), got.property('ResponseTopic'),
           got.property('CorrelationData'), got.property('PayloadFormatIndicator'),
           got.property('UserProperty')), ('text/x', 'r', b'id', 1, [('k', 'v')]), 'properties')
    assert 90 <= got.property('MessageExpiryInterval') <= 99, 'expiry wrong'
    equal(got.property('WillDelayInterval'), None, 'will delay in a PUBLISH')


@test()
def delay_is_kept(ctx):
    """A will with a delay of 2 s comes after it, not before."""
    watcher = ctx.watcher(ctx.topic('#'), qos=1)
    source = ctx.connected('pub')
    victim = ctx.peer('c', expiry=60).will(ctx.topic('will'), 'late', 1, WillDelayInterval=2)
    victim.connect()
    dropped = time.monotonic()
    victim.drop()
    source.publish(ctx.topic('early'), 'early', 1)
    got = watcher.receive(2)
    equal([m.payload for m in got], [b'early', b'late'], 'order')
    least = 0.9 if ctx.is_mosquitto else 1.9          # it counts in whole seconds
    assert time.monotonic() - dropped >= least, 'the will came before its delay was over'


@test()
def delay_ends_with_the_session(ctx):
    """[MQTT-3.1.3-9]: at the end of the session, whatever the delay."""
    watcher = ctx.watcher(ctx.topic('will'), qos=1)
    started = time.monotonic()
    ctx.peer('c', expiry=1).will(ctx.topic('will'), 'w', 1, WillDelayInterval=600).connect().drop()
    watcher.receive(1)
    assert time.monotonic() - started >= 0.9, 'the will came before the session ended'


@test(not_mosquitto='Mosquitto 2.0 waits for the delay all the same')
def delay_without_session(ctx):
    """A session that ends with its connection leaves the will at once."""
    watcher = ctx.watcher(ctx.topic('will'), qos=1)
    ctx.peer('c').will(ctx.topic('will'), 'at once', 1, WillDelayInterval=600).connect().drop()
    equal(watcher.receive(1)[0].payload, b'at once', 'will')


@test()
def cancelled_by_resumption(ctx):
    """[MQTT-3.1.3-9]: a client that comes back before the delay is over has not died."""
    watcher = ctx.watcher(ctx.topic('#'), qos=1)
    for name in ('resumed', 'gone'):     # in this order, so their delays end in this order
        ctx.peer(name, expiry=60).will(ctx.topic(name), name, 1, WillDelayInterval=1) \
            .connect().drop()
        if name == 'resumed':
            back = ctx.peer(name, clean=False, expiry=60).connect()
            assert back.session_present, 'no session'
            back.drop()          # it has no will now, neither its own nor the first one's
    equal([m.payload for m in watcher.receive(1)], [b'gone'], 'wills')


@test(not_mosquitto='Mosquitto 2.0.11 drops the will of a session that is resumed')
def sent_on_takeover(ctx):
    """The connection that is taken over ends without DISCONNECT from its client."""
    watcher = ctx.watcher(ctx.topic('will'), qos=1)
    ctx.peer('c').will(ctx.topic('will'), 'taken', 1).connect()
    ctx.peer('c').connect()
    equal(watcher.receive(1)[0].payload, b'taken', 'will')
    ctx.peer('d', expiry=60).will(ctx.topic('will'), 'resumed', 1).connect()
    assert ctx.peer('d', clean=False, expiry=60).connect().session_present, 'no session'
    equal(watcher.receive(2)[1].payload, b'resumed', 'will without a delay, session resumed')

# Payload sizes from nothing to 15 MiB. SPDX-License-Identifier: MIT OR Apache-2.0
import os
import random
import tempfile

from harness.peer import V311, V5
from harness.registry import test
from harness.wait import equal

MEGABYTE = 1 << 20


def noise(size, seed):
    """SIZE bytes that do not compress, nor repeat, nor look like text."""
    return random.Random(seed).randbytes(size)


def megabyte(version, out_version):
    """1 MiB there and back at each QoS, both clients in turn the publisher."""
    def run(ctx):
        sides = [ctx.watcher(ctx.topic('to-a/+'), name='a', version=version),
                 ctx.watcher(ctx.topic('to-b/+'), name='b', version=out_version)]
        for qos in (0, 1, 2):
            data = noise(MEGABYTE, qos)
            for sender, receiver, name in ((0, 1, 'b'), (1, 0, 'a')):
                sides[sender].publish(ctx.topic(f'to-{name}/{qos}'), data, qos)
                got = sides[receiver].receive(qos + 1)[-1]
                equal(got.qos, qos, 'QoS')
                assert got.payload == data, f'payload differs at QoS {qos}, {len(got.payload)} B'
    return run


test(name='megabyte_v5')(megabyte(V5, V5))
test(name='megabyte_v311')(megabyte(V311, V311))
test(name='megabyte_v5_v311')(megabyte(V5, V311))


@test()
def megabyte_by_mosquitto_tools(ctx):
    """mosquitto_pub -f and -s, mosquitto_sub."""
    data = noise(MEGABYTE, 7)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        for qos in (0, 1, 2):
            sub = ctx.subscribed('-t', ctx.topic(f'{qos}'), '-q', qos, '-C', '1')
            ctx.pub('-t', ctx.topic(f'{qos}'), '-q', qos, '-f', file.name)
            sub.succeed()
            assert sub.receive(1)[0].payload == data, f'-f: payload differs at QoS {qos}'
    sub = ctx.subscribed('-t', ctx.topic('s'), '-q', '1', '-C', '1', version='v311')
    ctx.pub('-t', ctx.topic('s'), '-q', '1', '-s', stdin=data, version='v311')
    sub.succeed()
    assert sub.receive(1)[0].payload == data, '-s: payload differs'


@test(limit_s=60, alone=True)
def fifteen_mebibytes(ctx):
    """Just under the default Maximum Packet Size of 16 MiB."""
    data = noise(15 * MEGABYTE, 15)
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    ctx.connected('pub').publish(ctx.topic('x'), data, 1, timeout_s=30)
    assert watcher.receive(1, timeout_s=30)[0].payload == data, 'payload differs'


@test()
def megabyte_retained(ctx):
    """A large retained message, to three later subscribers."""
    data = noise(MEGABYTE, 3)
    ctx.connected('pub').publish(ctx.topic('x'), data, 1, retain=True)
    for i in range(3):
        got = ctx.watcher(ctx.topic('x'), name=f'w{i}', qos=i).receive(1)[0]
        assert got.payload == data, f'payload differs at QoS {i}'


@test()
def empty(ctx):
    """No payload at all, at each QoS, by paho and by mosquitto_pub -n."""
    watcher = ctx.watcher(ctx.topic('+'))
    source = ctx.connected('pub')
    for qos in (0, 1, 2):
        source.publish(ctx.topic(f'{qos}'), b'', qos)
        ctx.pub('-t', ctx.topic(f'{qos}'), '-q', qos, '-n')
    got = watcher.receive(6)
    equal([m.payload for m in got], [b''] * 6, 'payloads')


@test()
def every_size_class(ctx):
    """Sizes around the steps of the Remaining Length and of likely buffers."""
    steps = [1, 127, 128, 4096, 16384, 65536, 131072, 2097152]
    sizes = sorted({max(0, s + d - h) for s in steps for d in (-1, 0, 1)
                    for h in (0, 40, 52)})
    watcher = ctx.watcher(ctx.topic('x'), qos=1)
    source = ctx.connected('pub')
    block = os.urandom(max(sizes))
    for size in sizes:
        source.send(ctx.topic('x'), block[:size], 1)
    source.wait_published(len(sizes))
    got = watcher.receive(len(sizes))
    equal([len(m.payload) for m in got], sizes, 'sizes in order')
    assert all(block.startswith(m.payload) for m in got), 'contents differ'


@test()
def long_topic(ctx):
    """A topic name of 65,000 bytes in few levels, and one of 200 levels."""
    watcher = ctx.watcher(ctx.topic('#'), qos=1)
    source = ctx.connected('pub')
    long_name = ctx.topic('x' * (65000 - len(ctx.topic('-'))))
    deep = ctx.topic('/'.join('d' * (200 - ctx.topic('').count('/') - 1)))
    source.publish(long_name, 'long', 1)
    source.publish(deep, 'deep', 1)
    equal([(m.topic, m.payload) for m in watcher.receive(2)],
          [(long_name, b'long'), (deep, b'deep')], 'messages')

# Shared subscriptions. SPDX-License-Identifier: MIT OR Apache-2.0
from harness.peer import V311, V5
from harness.registry import test
from harness.wait import equal, until

COUNT = 300


def total(members):
    """Messages received by all members."""
    return sum(len(m.messages) for m in members)


def each_once(members, count, what):
    """Waits for COUNT messages among the members; each payload once."""
    until(lambda: total(members) >= count, what=f'{count} messages in {what}')
    got = sorted(int(p) for m in members for p in m.payloads())
    equal(got, list(range(count)), what)


def balanced(version, qos):
    """Three members share evenly; a plain subscriber gets everything."""
    def run(ctx):
        topic = ctx.topic('jobs')
        members = [ctx.watcher(f'$share/workers/{topic}', name=f'm{i}', qos=qos, version=version)
                   for i in range(3)]
        plain = ctx.watcher(topic, name='plain', qos=qos, version=version)
        source = ctx.connected('pub')
        for i in range(COUNT):
            source.send(topic, str(i), qos)
        each_once(members, COUNT, 'the group')
        equal([int(m.payload) for m in plain.receive(COUNT)], list(range(COUNT)), 'plain')
        for member in members:
            assert COUNT // 6 <= len(member.messages) <= COUNT // 2, \
                f'unbalanced: {[len(m.messages) for m in members]}'
    return run


test(name='balanced_v5_qos0')(balanced(V5, 0))
test(name='balanced_v5_qos1')(balanced(V5, 1))
test(name='balanced_v5_qos2')(balanced(V5, 2))


# A 3.1.1 client may use $share too, as with most brokers.
test(name='balanced_v311')(balanced(V311, 1))


@test()
def two_groups_get_all(ctx):
    """A group is its name and its filter; every group gets every message."""
    topic = ctx.topic('x')
    groups = [[ctx.watcher(f'$share/{group}/{topic}', name=f'{group}{i}', qos=1)
               for i in range(2)] for group in ('a', 'b')]
    wild = [ctx.watcher(f'$share/a/{ctx.topic("+")}', name='wild', qos=1)]
    source = ctx.connected('pub')
    for i in range(100):
        source.send(topic, str(i), 1)
    for group in groups + [wild]:
        each_once(group, 100, 'a group')


@test()
def member_that_leaves(ctx):
    """After a member unsubscribes or goes, the rest get all."""
    topic = ctx.topic('x')
    members = [ctx.watcher(f'$share/g/{topic}', name=f'm{i}', qos=1) for i in range(3)]
    source = ctx.connected('pub')
    members[0].unsubscribe(f'$share/g/{topic}')
    members[1].disconnect()
    for i in range(60):
        source.publish(topic, str(i), 1)
    each_once([members[2]], 60, 'the last member')
    equal(total(members[:2]), 0, 'messages to members that left')


@test(not_mosquitto='Mosquitto 2.0 keeps them for the member that left')
def unacknowledged_go_back_to_the_group(ctx):
    """A member that goes without acknowledging hands its messages to the others."""
    topic = ctx.topic('x')
    lazy = ctx.wire()
    lazy.open(ctx.id('lazy'))
    lazy.subscribe(f'$share/g/{topic}', 1)
    source = ctx.connected('pub')
    for i in range(10):
        source.publish(topic, str(i), 1)
    for _ in range(10):
        lazy.expect(3)
    member = ctx.watcher(f'$share/g/{topic}', name='diligent', qos=1)
    lazy.close()
    each_once([member], 10, 'the member that stayed')


@test()
def mosquitto_sub_members(ctx):
    """Groups of mosquitto_sub processes."""
    topic = ctx.topic('x')
    subs = [ctx.subscribed('-t', f'$share/g/{topic}', '-q', '1') for _ in range(2)]
    data = b''.join(b'%d\n' % i for i in range(100))
    ctx.pub('-t', topic, '-q', '1', '-l', stdin=data)
    until(lambda: sum(len(s.messages) for s in subs) >= 100, what='100 messages')
    got = sorted(int(m.payload) for s in subs for m in s.messages.items())
    equal(got, list(range(100)), 'messages')
    assert all(len(s.messages) >= 20 for s in subs), 'unbalanced'

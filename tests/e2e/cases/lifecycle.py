# The broker as a process: start, stop, addresses, errors of its command line.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import signal

from harness import wire
from harness.broker import free_port
from harness.context import Skip
from harness.peer import V311
from harness.registry import test
from harness.wait import equal, until

SHUTTING_DOWN = 0x8B
OURS_ONLY = "our program's own behaviour"


@test()
def sigterm_says_goodbye(ctx):
    """DISCONNECT 0x8B to v5 clients, a plain close to others, exit 0 within 5 s."""
    broker = ctx.own_broker()
    new, old, raw = ctx.connected('new'), ctx.connected('old', V311), ctx.wire()
    raw.open('raw')
    status, seconds = broker.terminate()
    equal(status, 0, 'exit status')
    assert seconds < 5.0, f'took {seconds:.1f} s'
    if ctx.is_mosquitto:
        return                                      # 2.0.11 just closes
    packets = raw.wait_closed()
    equal([(p.kind, p.body[:1]) for p in packets], [(wire.DISCONNECT, bytes([SHUTTING_DOWN]))],
          'what a raw v5 client got')
    equal(new.wait_closed_by_server(), SHUTTING_DOWN, 'reason code seen by paho')
    equal(old.wait_closed_by_server(), None, 'DISCONNECT to a 3.1.1 client')


@test(once=True)
def sigint_stops_too(ctx):
    """Ctrl+C is a normal end."""
    broker = ctx.own_broker()
    broker.process.send_signal(signal.SIGINT)
    equal(broker.process.wait(5), 0, 'exit status')


@test(limit_s=40)
def sigterm_under_load(ctx):
    """It also ends in time with a client that reads nothing and a lot queued for it."""
    broker = ctx.own_broker()
    stuck = ctx.wire(receive_buffer=4096)
    stuck.open('stuck')
    stuck.subscribe('x', 1)
    source = ctx.connected('pub')
    for i in range(60):
        source.publish('x', b'x' * 200_000, 1)
    half = ctx.wire()
    half.send(wire.connect('half')[:5])
    status, _ = broker.terminate()
    equal(status, 0, 'exit status')


@test()
def nothing_is_kept(ctx):
    """With the memory backend a restart forgets sessions and retained messages, leaves no file."""
    broker = ctx.own_broker()
    first = ctx.connected('c', expiry=3600)
    first.subscribe('x', 1)
    first.publish('kept', 'kept', 1, retain=True)
    first.disconnect()
    left = set(os.listdir(broker.folder)) - {'log', 'mosquitto.conf'}
    equal(left, set(), 'files in the working directory')
    broker.terminate()
    ctx.own_broker(port=broker.port)
    again = ctx.connected('c', clean=False, expiry=3600)
    assert not again.session_present, 'session present after a restart'
    again.subscribe('kept', 1)
    again.subscribe('end', 1)
    ctx.connected('pub').publish('end', 'end', 1)
    equal([m.payload for m in again.receive(1)], [b'end'], 'messages')


@test(not_mosquitto=OURS_ONLY)
def second_broker_on_the_port(ctx):
    """The second says clearly that the address is in use and exits with 1; the first lives."""
    second = ctx.run(ctx.kind.argv(ctx.host, ctx.broker.ports, ctx.workers, ctx.broker.folder))
    equal(second.wait(10), 1, 'exit status')
    assert str(ctx.port) in second.stderr and 'in use' in second.stderr, second.stderr
    ctx.connected('c').publish(ctx.topic('x'), 'x', 1)


@test(limit_s=40)
def ipv6(ctx):
    """A listener on [::1], with mosquitto_pub, mosquitto_sub and paho."""
    try:
        free_port('::1')
    except OSError as error:
        raise Skip('no IPv6 loopback here') from error
    ctx.own_broker(host='::1')
    sub = ctx.subscribed('-t', 'x', '-q', '1', '-C', '1')
    watcher = ctx.watcher('x')
    ctx.pub('-t', 'x', '-m', 'six', '-q', '1')
    sub.succeed()
    equal(watcher.receive(1)[0].payload, b'six', 'message')


@test(not_mosquitto=OURS_ONLY)
def several_addresses(ctx):
    """--host may be given more than once."""
    extra = free_port()
    ctx.own_broker('--host', f'127.0.0.1:{extra}')
    watcher = ctx.watcher('x')
    first_port, ctx.port = ctx.port, extra
    ctx.connected('pub').publish('x', 'across', 1)
    equal(watcher.receive(1)[0].payload, b'across', f'from {extra} to {first_port}')


@test(once=True, not_mosquitto=OURS_ONLY)
def help_texts(ctx):
    """--help of the program and of each command: exit 0, on stdout, naming the flags."""
    flags = {
        (): ['broker', 'pub', 'sub'],
        ('broker',): ['--host', '--allow-anonymous', '--storage-backend', '--workers',
                      '--max-clients', '--session-expiry', '--max-qos', '--sys-interval'],
        ('pub',): ['--topic', '--message', '--file', '--stdin', '--url', '--qos', '--retain',
                   '--protocol-version', '--will-topic', '--session-expiry', '--no-clean-start'],
        ('sub',): ['--topic', '--count', '--verbose', '--no-local', '--retain-handling',
                   '--subscription-identifier'],
    }
    for command, wanted in flags.items():
        text = ctx.ours(*command, '--help').succeed().decode()
        missing = [w for w in wanted if w not in text]
        equal(missing, [], f'missing in `mqttv5 {" ".join(command)} --help`')
    assert ctx.ours('--version').succeed().strip(), '--version prints nothing'


@test(once=True, not_mosquitto=OURS_ONLY)
def wrong_usage(ctx):
    """Exit 2 and a hint on stderr, nothing on stdout."""
    for words in (['--nonsense'], ['brokr'], ['broker', '--allow-anonymus'],
                  ['broker', '--workers', 'many'], ['broker', '--workers'],
                  ['broker', '--workers', '1000000'], ['broker', '--max-qos', '3'],
                  ['pub', '--tpic', 'x'], ['sub', '--qos', '3', '-t', 'x']):
        child = ctx.ours(*words)
        equal((child.wait(10), child.stdout), (2, b''), f'status and stdout of {words}')
        assert child.stderr.strip(), f'{words}: nothing on stderr'
    bad_port = ctx.ours('broker', '--host', '127.0.0.1:99999')
    assert bad_port.wait(10) in (1, 2) and '99999' in bad_port.stderr, bad_port.stderr
    hint = ctx.ours('broker', '--allow-anonymus')
    hint.wait()
    assert '--allow-anonymous' in hint.stderr or '--help' in hint.stderr, hint.stderr


@test(once=True, not_mosquitto=OURS_ONLY)
def log_names_the_address(ctx):
    """Whoever starts a broker is told where it listens."""
    broker = ctx.own_broker()
    assert str(broker.port) in broker.log(), 'the log does not say where it listens'


@test(not_mosquitto=OURS_ONLY)
def most_clients(ctx):
    """--max-clients: one more is refused, until another goes."""
    ctx.own_broker('--max-clients', '3')
    peers = [ctx.connected(f'c{i}') for i in range(3)]
    refused = ctx.wire()
    try:
        refused.send(wire.connect('one-more'))
        answers = refused.wait_closed()
    except ConnectionError:
        answers = []
    assert not any(p.kind == wire.CONNACK and p.body[1] == 0 for p in answers), 'accepted'
    peers[0].disconnect()

    def accepted():
        with ctx.wire() as late:
            try:
                late.send(wire.connect('late'))
                got = late.read()
            except ConnectionError:
                return False
            return got is not None and got.kind == wire.CONNACK and got.body[1] == 0
    until(accepted, what='a free place')


@test(not_mosquitto=OURS_ONLY)
def capabilities_switched_off(ctx):
    """--no-retain, --no-wildcards, --max-qos: announced in CONNACK and enforced."""
    ctx.own_broker('--no-retain', '--no-wildcards', '--max-qos', '1')
    peer = ctx.connected('c')
    told = peer.connack_properties
    equal((told.RetainAvailable, told.WildcardSubscriptionAvailable, told.MaximumQoS), (0, 0, 1),
          'CONNACK')
    cases = (('qos', wire.publish('x', b'', 2, 1), 0x9B),
             ('retain', wire.publish('x', b'', 0, retain=True), 0x9A))
    for name, data, reason in cases:
        client = ctx.wire()
        client.open(name)
        client.send(data)
        got = client.wait_closed()
        equal([(p.kind, p.body[0]) for p in got], [(wire.DISCONNECT, reason)], name)
    client = ctx.wire()
    client.open('wildcard')
    equal(client.subscribe('a/+', 1).body[-1], 0xA2, 'SUBACK for a wildcard')
    equal(client.subscribe('a/b', 2, packet_id=2).body[-1], 1, 'granted QoS')

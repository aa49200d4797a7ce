# `mqttv5 pub` and `mqttv5 sub` as their users and their scripts see them.
# SPDX-License-Identifier: MIT OR Apache-2.0
import functools
import json
import signal
import struct
import tempfile

from harness import wire
from harness.broker import free_port
from harness.context import Skip
from harness.fake_server import FakeServer, connack
from harness.programs import has_command
from harness.registry import test
from harness.wait import equal

BINARY = bytes(range(256)) + b'\n\r\0 end'


def cli_test(**options):
    """As @test, for what needs our pub and sub."""
    def register(function):
        @functools.wraps(function)
        def run(ctx):
            if not (has_command(ctx.kind.binary, 'pub') and has_command(ctx.kind.binary, 'sub')):
                raise Skip('no mqttv5 pub|sub')
            function(ctx)
        return test(**options)(run)
    return register


def need_flag(ctx, command, flag):
    """Skips the test when the command has no such flag yet."""
    if flag.encode() not in ctx.ours(command, '--help').succeed():
        raise Skip(f'mqttv5 {command} has no {flag}')


def place(ctx):
    """The flags that lead to the broker."""
    return ['-H', ctx.host, '-p', ctx.port]


def pub(ctx, *arguments, **more):
    """mqttv5 pub to its end, which must be a success that prints nothing on stdout."""
    child = ctx.ours('pub', *place(ctx), *arguments, **more)
    equal(child.succeed(), b'', f'stdout of pub {arguments}')
    return child


def sub(ctx, *arguments, **more):
    """mqttv5 sub, once it says on stderr that it is subscribed."""
    child = ctx.ours('sub', *place(ctx), *arguments, **more)
    child.error_lines.wait_for(lambda line: 'ubscribed' in line, what='a status line')
    return child


@cli_test()
def pub_takes_its_message_from_anywhere(ctx):
    """-m, -f and --stdin, byte for byte."""
    watcher = ctx.watcher(ctx.topic('x'))
    with tempfile.NamedTemporaryFile() as file:
        file.write(BINARY)
        file.flush()
        pub(ctx, '-t', ctx.topic('x'), '-m', 'Grüße')
        pub(ctx, '-t', ctx.topic('x'), '-m', '')
        pub(ctx, '-t', ctx.topic('x'), '-f', file.name)
        pub(ctx, '-t', ctx.topic('x'), '--stdin', stdin=BINARY)
        pub(ctx, '--topic', ctx.topic('x'), '--file', file.name, '--qos', '2')
        pub(ctx, '--topic', ctx.topic('x'), '--message', '-1', '-q1')
    got = [m.payload for m in watcher.receive(6)]
    equal(got, ['Grüße'.encode(), b'', BINARY, BINARY, BINARY, b'-1'], 'payloads')


@cli_test()
def pub_qos_and_retain(ctx):
    """-q and -r."""
    watcher = ctx.connected('w')
    watcher.subscribe(ctx.topic('+'), 2, retainAsPublished=True)
    for qos in (0, 1, 2):
        pub(ctx, '-t', ctx.topic(f'{qos}'), '-m', 'x', '-q', qos)
        pub(ctx, '-t', ctx.topic(f'{qos}'), '-m', 'kept', '-q', qos, '-r')
    equal([(m.topic[-1], m.qos, m.retain) for m in watcher.receive(6)],
          [(str(q), q, r) for q in (0, 1, 2) for r in (False, True)], 'messages')


@cli_test()
def pub_properties(ctx):
    """Expiry, response topic, correlation data in hex, topic alias."""
    watcher = ctx.watcher(ctx.topic('x'))
    pub(ctx, '-t', ctx.topic('x'), '-m', 'x', '-q', '1', '--message-expiry-interval', '1m40s',
        '--response-topic', 'reply/here', '--correlation-data', '00ff10', '--topic-alias', '1')
    got = watcher.receive(1)[0]
    assert 98 <= got.property('MessageExpiryInterval') <= 100, 'expiry'
    equal((got.property('ResponseTopic'), got.property('CorrelationData')),
          ('reply/here', b'\x00\xff\x10'), 'properties')


@cli_test()
def urls(ctx):
    """-U mqtt:// and tcp://, for both commands; not together with -H or -p."""
    for scheme in ('mqtt', 'tcp'):
        url = f'{scheme}://{ctx.host}:{ctx.port}'
        child = ctx.ours('sub', '-U', url, '-t', ctx.topic(scheme), '-n', '1')
        child.error_lines.wait_for(lambda line: 'ubscribed' in line, what='a status line')
        equal(ctx.ours('pub', '--url', url, '-t', ctx.topic(scheme), '-m', scheme).succeed(), b'',
              'stdout of pub')
        equal(child.succeed(), f'{scheme}\n'.encode(), 'stdout of sub')
    both = ctx.ours('pub', '-U', url, *place(ctx), '-t', ctx.topic('x'), '-m', 'x')
    equal(both.wait(), 2, 'exit status with -U and -H')


@cli_test(once=True)
def protocol_versions(ctx):
    """--protocol-version in each of its spellings reaches the wire."""
    for spelling, level in (('5', 5), ('5.0', 5), ('3.1.1', 4), ('311', 4), ('4', 4), (None, 5)):
        server = ctx.keep(FakeServer())
        flags = ['--protocol-version', spelling] if spelling else []
        child = ctx.ours('pub', '-H', '127.0.0.1', '-p', server.port, '-t', 'x', '-m', 'x', *flags)
        link, connect = server.accept()
        ctx.keep(link)
        equal(connect.level, level, f'protocol level for {spelling}')
        link.send(connack(level))
        equal(link.expect(wire.PUBLISH).payload, b'x', 'payload')
        link.expect(wire.DISCONNECT)
        link.close()
        equal(child.wait(), 0, 'exit status')


@cli_test(once=True)
def connect_fields(ctx):
    """Client id, keep-alive, session, will and credentials arrive as given."""
    server = ctx.keep(FakeServer())
    ctx.ours('sub', '-H', '127.0.0.1', '-p', server.port, '-t', 'x', '-c', 'my-id', '-k', '17',
             '--no-clean-start', '--session-expiry', '1h', '--will-topic', 'w/t',
             '--will-message', 'bye', '--will-qos', '2', '--will-retain', '--will-delay', '9',
             '-u', 'me', '-P', 'secret')
    link, connect = server.accept()
    ctx.keep(link)
    equal((connect.client_id, connect.keep_alive, connect.clean), ('my-id', 17, False), 'session')
    assert struct.pack('!BI', 0x11, 3600) in connect.properties, 'session expiry'
    equal((connect.will_topic, connect.will_payload, connect.will_qos, connect.will_retain),
          ('w/t', 'bye', 2, True), 'will')
    assert struct.pack('!BI', 0x18, 9) in connect.will_properties, 'will delay'
    equal((connect.user_name, connect.password), ('me', 'secret'), 'credentials')


@cli_test(once=True)
def connect_defaults(ctx):
    """Clean start, no session expiry, 60 s keep-alive, an id of its own each time."""
    names = set()
    for command in (['pub', '-m', 'x'], ['sub']) * 2:
        server = ctx.keep(FakeServer())
        ctx.ours(command[0], '-H', '127.0.0.1', '-p', server.port, '-t', 'x', *command[1:])
        link, connect = server.accept()
        ctx.keep(link)
        names.add(connect.client_id)
        equal((connect.clean, connect.keep_alive, connect.has_will), (True, 60, False), 'CONNECT')
        assert connect.client_id.startswith(f'mqttv5-{command[0]}-'), connect.client_id
    equal(len(names), 4, 'distinct client ids')


@cli_test(once=True)
def refused_connection(ctx):
    """A CONNACK that refuses: exit 1, and the reason in words."""
    for command in (['pub', '-m', 'x'], ['sub']):
        server = ctx.keep(FakeServer())
        child = ctx.ours(command[0], '-H', '127.0.0.1', '-p', server.port, '-t', 'x', *command[1:])
        link, connect = server.accept()
        link.send(connack(connect.level, 0x87))
        equal((child.wait(), child.stdout), (1, b''), f'{command[0]}: status and stdout')
        assert 'not authorized' in child.stderr.lower().replace('_', ' '), child.stderr
        link.close()


@cli_test(once=True)
def nobody_listens(ctx):
    """Exit 1, soon, and the address in the message."""
    port = free_port()
    for command in (['pub', '-m', 'x'], ['sub']):
        child = ctx.ours(command[0], '-H', '127.0.0.1', '-p', port, '-t', 'x', *command[1:])
        equal((child.wait(5), child.stdout), (1, b''), f'{command[0]}: status and stdout')
        assert str(port) in child.stderr, child.stderr


@cli_test(once=True)
def pub_fails_when_the_server_refuses(ctx):
    """A PUBACK with an error, or the end of the connection before it: exit 1."""
    for answer in (wire.packet(0x40, b'\x00\x01\x97'), None):
        server = ctx.keep(FakeServer())
        child = ctx.ours('pub', '-H', '127.0.0.1', '-p', server.port, '-t', 'x', '-m', 'x',
                         '-q', '1')
        link, _ = server.accept()
        link.send(connack(5))
        equal(link.expect(wire.PUBLISH).packet_id, 1, 'packet id')
        if answer:
            link.send(answer)
        else:
            link.close()
        equal(child.wait(), 1, 'exit status')
        assert child.stderr.strip(), 'nothing on stderr'


@cli_test(once=True)
def wrong_arguments(ctx):
    """Usage errors exit with 2, impossible values with 1 or 2; both speak on stderr only."""
    common = ['-H', '127.0.0.1', '-p', '1']
    cases = [
        (['pub', *common, '-t', 'a/+', '-m', 'x'], (1, 2)),
        (['pub', *common, '-t', '', '-m', 'x'], (1, 2)),
        (['sub', *common, '-t', 'a/#/b'], (1, 2)),
        (['pub', *common, '-m', 'x'], (1, 2)),                       # no topic, no terminal
        (['pub', *common, '-t', 'x', '-m', 'x', '-f', '/etc/hostname'], (2,)),
        (['pub', *common, '-t', 'x', '-f', '/nonexistent/file'], (1,)),
        (['pub', *common, '-t', 'x', '-m', 'x', '-q', '3'], (2,)),
        (['pub', *common, '-t', 'x', '-m', 'x', '--protocol-version', '6'], (2,)),
        (['pub', '-U', 'gopher://x', '-t', 'x', '-m', 'x'], (1, 2)),
        (['pub', *common, '-t', 'x', '-m', 'x', '--correlation-data', 'xyz'], (1, 2)),
        (['sub', *common, '-t', 'x', '--retain-handling', '3'], (2,)),
        (['sub', *common, '-t', 'x', '--subscription-identifier', '0'], (2,)),
        (['sub', *common, '-t', 'x', '-n', 'many'], (2,)),
        (['sub', *common, '-t', 'x', '--bogus'], (2,)),
    ]
    for words, allowed in cases:
        child = ctx.ours(*words)
        status = child.wait(10)
        assert status in allowed, f'{words}: exit status {status}, not {allowed}: {child.stderr}'
        equal(child.stdout, b'', f'stdout of {words}')
        assert child.stderr.strip(), f'{words}: nothing on stderr'


@cli_test()
def sub_prints_payloads_only(ctx):
    """stdout holds the payloads, a line each, and nothing else; -n ends it with 0."""
    child = sub(ctx, '-t', ctx.topic('#'), '-q', '1', '-n', '4')
    source = ctx.connected('pub')
    for payload in (b'one', b'', BINARY, b'four'):
        source.publish(ctx.topic('x'), payload, 1)
    equal(child.succeed(), b'one\n\n' + BINARY + b'\nfour\n', 'stdout')


@cli_test()
def sub_verbose(ctx):
    """-v puts the topic before the payload."""
    child = sub(ctx, '-v', '-t', ctx.topic('+'), '--count', '2')
    source = ctx.connected('pub')
    for topic in ('a', 'b'):
        source.publish(ctx.topic(topic), f'value {topic}')
    equal(child.succeed().decode(),
          f'{ctx.topic("a")}: value a\n{ctx.topic("b")}: value b\n', 'stdout')


@cli_test()
def sub_prints_at_once(ctx):
    """Into a pipe too, a message is seen when it comes, not when the program ends."""
    child = sub(ctx, '-t', ctx.topic('x'))
    source = ctx.connected('pub')
    for i in range(3):
        source.publish(ctx.topic('x'), str(i), 1)
        child.lines.wait_for(lambda line, i=i: line == str(i), 5.0, f'line {i}')
    child.signal(signal.SIGTERM)
    equal(child.wait(5), 0, 'exit status after SIGTERM')


@cli_test()
def sub_large_payload(ctx):
    """A megabyte through pub and sub at each QoS."""
    data = b'0123456789abcdef' * 65536
    for qos in (0, 1, 2):
        child = sub(ctx, '-t', ctx.topic('x'), '-q', qos, '-n', '1')
        pub(ctx, '-t', ctx.topic('x'), '-q', qos, '--stdin', stdin=data)
        assert child.succeed() == data + b'\n', f'payload differs at QoS {qos}'


@cli_test()
def sub_interrupted(ctx):
    """Ctrl+C and SIGTERM are normal ends: exit 0, DISCONNECT sent, so no will."""
    watcher = ctx.watcher(ctx.topic('will'), ctx.topic('end'), qos=1)
    for number in (signal.SIGINT, signal.SIGTERM):
        child = sub(ctx, '-t', ctx.topic('x'), '--will-topic', ctx.topic('will'),
                    '--will-message', 'no', '--will-qos', '1')
        child.signal(number)
        equal(child.wait(5), 0, f'exit status after signal {number}')
    ctx.connected('pub').publish(ctx.topic('end'), 'end', 1)
    equal([m.payload for m in watcher.receive(1)], [b'end'], 'messages')


@cli_test()
def sub_will(ctx):
    """Killed without a word, its will is published, retained as asked."""
    watcher = ctx.connected('w')
    watcher.subscribe(ctx.topic('will'), 2, retainAsPublished=True)
    child = sub(ctx, '-t', ctx.topic('x'), '--will-topic', ctx.topic('will'), '--will-message',
                'gone', '--will-qos', '2', '--will-retain')
    child.signal(signal.SIGKILL)
    got = watcher.receive(1)[0]
    equal((got.payload, got.qos, got.retain), (b'gone', 2, True), 'will')


@cli_test()
def sub_session(ctx):
    """With an id, an expiry and --no-clean-start the second run gets what came in between."""
    common = ['-t', ctx.topic('x'), '-q', '2', '-c', ctx.id('c'), '--no-clean-start',
              '--session-expiry', '300']
    first = sub(ctx, *common)
    first.signal(signal.SIGTERM)
    equal(first.wait(), 0, 'exit status')
    source = ctx.connected('pub')
    for i in range(10):
        source.publish(ctx.topic('x'), str(i), 1 + i % 2)
    second = ctx.ours('sub', *place(ctx), *common, '-n', '10')
    lines = second.succeed().decode().split()
    equal(sorted(lines), sorted(str(i) for i in range(10)), 'payloads')
    for parity in (0, 1):
        equal([n for n in lines if int(n) % 2 == parity],
              [str(i) for i in range(parity, 10, 2)], 'order within a QoS')


@cli_test()
def sub_loses_its_broker(ctx):
    """"Connection lost" is an error: exit 1."""
    broker = ctx.own_broker()
    child = sub(ctx, '-t', 'x')
    broker.process.kill()
    equal(child.wait(5), 1, 'exit status')
    assert child.stderr.count('\n') >= 2, 'no word about it on stderr'


@cli_test(not_mosquitto='Mosquitto 2.0.11 just closes')
def sub_is_told_to_go(ctx):
    """The broker's shutdown (DISCONNECT 0x8B) ends it with 1 and a reason."""
    broker = ctx.own_broker()
    child = sub(ctx, '-t', 'x')
    broker.terminate()
    equal(child.wait(5), 1, 'exit status')
    assert 'shutting down' in child.stderr.lower().replace('_', ' '), child.stderr


@cli_test(once=True)
def sub_options(ctx):
    """The subscription options and the identifier, as they go over the wire."""
    server = ctx.keep(FakeServer())
    ctx.ours('sub', '-H', '127.0.0.1', '-p', server.port, '-t', 'a/b', '-q', '1', '--no-local',
             '--retain-as-published', '--retain-handling', '2', '--subscription-identifier', '300')
    link, _ = server.accept()
    ctx.keep(link)
    link.send(connack(5))
    got = link.read()
    equal(got.first_byte, 0x82, 'SUBSCRIBE')
    equal(got.body[2:], b'\x03\x0b\xac\x02' + wire.text('a/b') + bytes([1 | 4 | 8 | 2 << 4]),
          'SUBSCRIBE after its packet id')


@cli_test(once=True)
def sub_refused(ctx):
    """A SUBACK with an error: exit 1."""
    server = ctx.keep(FakeServer())
    child = ctx.ours('sub', '-H', '127.0.0.1', '-p', server.port, '-t', 'a')
    link, _ = server.accept()
    ctx.keep(link)
    link.send(connack(5))
    packet_id = link.read().body[:2]
    link.send(wire.packet(0x90, packet_id + b'\x00\x87'))
    equal((child.wait(), child.stdout), (1, b''), 'status and stdout')


@cli_test()
def sub_into_a_closed_pipe(ctx):
    """`mqttv5 sub | head -1` ends when its reader has gone."""
    child = ctx.run(['sh', '-c', 'exec 3>&1; { "$0" "$@"; echo "status $?" >&3; } | head -n 1',
                     ctx.kind.binary, 'sub', *place(ctx), '-t', ctx.topic('x')])
    child.error_lines.wait_for(lambda line: 'ubscribed' in line, what='a status line')
    source = ctx.connected('pub')
    for i in range(200):
        source.publish(ctx.topic('x'), b'x' * 100, 1)
        if child.process.poll() is not None:
            break
    child.wait(10)


@cli_test()
def environment(ctx):
    """MQTT5_... variables stand in for flags; a flag wins."""
    variables = {'MQTT5_HOST': ctx.host, 'MQTT5_PORT': str(ctx.port),
                 'MQTT5_TOPIC': ctx.topic('env'), 'MQTT5_QOS': '1'}
    watcher = ctx.watcher(ctx.topic('+'))
    ctx.ours('pub', '-m', 'by environment', env=variables).succeed()
    ctx.ours('pub', '-m', 'by flag', '-t', ctx.topic('flag'), '-q', '2', env=variables).succeed()
    equal([(m.topic, m.qos) for m in watcher.receive(2)],
          [(ctx.topic('env'), 1), (ctx.topic('flag'), 2)], 'messages')


@cli_test()
def pub_lines(ctx):
    """-l sends each line of stdin, in order; more properties of MQTT 5."""
    need_flag(ctx, 'pub', '--stdin-lines')
    watcher = ctx.watcher(ctx.topic('x'))
    pub(ctx, '-t', ctx.topic('x'), '-q', '1', '-l', '--content-type', 'text/plain',
        '--user-property', 'a=1', '--user-property', 'b=x=y',
        stdin=b''.join(b'%d\n' % i for i in range(2000)) + b'no line feed')
    got = watcher.receive(2001)
    equal([m.payload for m in got], [b'%d' % i for i in range(2000)] + [b'no line feed'], 'lines')
    equal((got[0].property('ContentType'), got[0].property('UserProperty')),
          ('text/plain', [('a', '1'), ('b', 'x=y')]), 'properties')


@cli_test()
def sub_several_filters(ctx):
    """-t more than once."""
    child = sub(ctx, '-t', ctx.topic('a'), '-t', ctx.topic('b/+'), '-q', '1', '-n', '2')
    source = ctx.connected('pub')
    for topic in ('a', 'c', 'b/1'):
        source.publish(ctx.topic(topic), topic, 1)
    equal(child.succeed(), b'a\nb/1\n', 'stdout')


@cli_test()
def sub_json(ctx):
    """--json: a line of JSON a message, whatever is in it."""
    need_flag(ctx, 'sub', '--json')
    child = sub(ctx, '--json', '-t', ctx.topic('x'), '-q', '1', '-n', '3')
    source = ctx.connected('pub')
    source.publish(ctx.topic('x'), 'say "hi"\n\\', 1, UserProperty=[('k"', 'v')])
    source.publish(ctx.topic('x'), BINARY, 1)
    source.publish(ctx.topic('x'), b'', 0)
    lines = [json.loads(line) for line in child.succeed().decode().splitlines()]
    equal([line['topic'] for line in lines], [ctx.topic('x')] * 3, 'topics')
    equal([line['qos'] for line in lines], [1, 1, 0], 'QoS')
    equal(lines[0]['payload'], 'say "hi"\n\\', 'payload')


@cli_test()
def sub_properties(ctx):
    """-s shows the properties of a message on stdout, below it."""
    child = sub(ctx, '-s', '-t', ctx.topic('x'), '-n', '1')
    ctx.connected('pub').publish(ctx.topic('x'), 'p', 1, ContentType='text/x',
                                 UserProperty=[('key', 'value')])
    text = child.succeed().decode()
    assert text.startswith('p\n') and 'text/x' in text and 'key' in text and 'value' in text, text


@cli_test()
def pub_repeat(ctx):
    """--repeat with --interval sends the same again."""
    need_flag(ctx, 'pub', '--repeat')
    watcher = ctx.watcher(ctx.topic('x'))
    pub(ctx, '-t', ctx.topic('x'), '-m', 'again', '-q', '1', '--repeat', '3', '--interval', '10')
    equal([m.payload for m in watcher.receive(3)], [b'again'] * 3, 'payloads')


@cli_test()
def pub_wait_response(ctx):
    """--wait-response prints the answer to the response topic."""
    need_flag(ctx, 'pub', '--wait-response')
    responder = ctx.connected('responder')
    responder.subscribe(ctx.topic('ask'), 1)
    asker = ctx.ours('pub', *place(ctx), '-t', ctx.topic('ask'), '-m', 'question', '-q', '1',
                     '--response-topic', ctx.topic('answer'), '--wait-response', '--timeout', '10')
    request = responder.receive(1)[0]
    equal(request.property('ResponseTopic'), ctx.topic('answer'), 'response topic')
    more = {}
    if request.property('CorrelationData'):
        more['CorrelationData'] = request.property('CorrelationData')
    responder.publish(ctx.topic('answer'), 'reply', 1, **more)
    equal(asker.succeed(), b'reply\n', 'stdout')

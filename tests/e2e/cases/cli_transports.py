# Our own `pub`, `sub` and `bench` over TLS, WebSocket, both, and Unix sockets.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import re
import tempfile
import time

from cases.cli import cli_test
from cases.transports import payload
from harness.broker import TLS, WS, WSS
from harness.certificates import Authority, openssl
from harness.wait import equal

ALL = (TLS, WS, WSS)
OURS = 'how our broker is set up'


def arguments(ctx, transport):
    """What leads there, by URL."""
    trust = ['--ca-cert', ctx.broker.authority.file] if transport in (TLS, WSS) else []
    return ['-U', ctx.broker.url(transport), *trust]


def subscribed(ctx, *words):
    """mqttv5 sub, once it says that it is subscribed."""
    child = ctx.ours('sub', *words)
    child.error_lines.wait_for(lambda line: 'ubscribed' in line, what='a status line')
    return child


def refuse(ctx, words, *sentences, status=1):
    """mqttv5 pub in vain: its status, and what it says."""
    child = ctx.ours('pub', '-t', 'x', '-m', 'x', *words)
    equal(child.wait(), status, f'status of pub {words}')
    for sentence in sentences:
        assert sentence in child.stderr, f'no "{sentence}" in: {child.stderr}'


@cli_test(limit_s=90)
def messages_over_each(ctx):
    """Both versions, every QoS, sizes around those that layers count in."""
    ctx.own_broker(listeners=ALL)
    for transport in ALL:
        for version in ('5', '3.1.1'):
            for qos, size in ((0, 0), (1, 125), (2, 126), (1, 16385), (2, 65536), (1, 1 << 20)):
                if ctx.is_mosquitto and size > 65536 and transport != TLS:
                    continue  # Mosquitto 2.0 stops in the middle until the client says something
                there = [*arguments(ctx, transport), '-V', version, '-q', str(qos)]
                child = subscribed(ctx, *there, '-t', 'x', '-n', '1', '-N')
                ctx.ours('pub', *there, '-t', 'x', '--stdin', stdin=payload(size)).succeed()
                equal(child.succeed() == payload(size), True, f'{size} bytes over {transport}')


@cli_test(limit_s=60)
def bursts_over_each(ctx):
    """10,000 lines at QoS 1, in order."""
    count = 10000
    ctx.own_broker(listeners=ALL)
    lines = b''.join(b'%d\n' % i for i in range(count))
    for transport in ALL:
        there = [*arguments(ctx, transport), '-t', 'lines', '-q', '1']
        child = subscribed(ctx, *there, '-n', str(count))
        ctx.ours('pub', *there, '-l', stdin=lines).succeed()
        equal(child.succeed() == lines, True, f'lines over {transport}')


@cli_test()
def flags_of_mosquitto_pub(ctx):
    """-p, --cafile, --insecure, --tls-version, --tls-alpn: TLS without a URL."""
    broker = ctx.own_broker(listeners=(TLS,))
    watcher = ctx.watcher('flags')
    there = ['-H', 'localhost', '-p', broker.ports[TLS], '-t', 'flags', '-q', '1']
    for trust in (['--cafile', broker.authority.file], ['--insecure'],
                  ['--cafile', broker.authority.file, '--tls-version', 'tlsv1.3'],
                  ['--cafile', broker.authority.file, '--tls-alpn', 'mqtt']):
        ctx.ours('pub', *there, *trust, '-m', trust[0]).succeed()
    got = [m.payload.decode() for m in watcher.receive(4)]
    equal(got, ['--cafile', '--insecure', '--cafile', '--cafile'], 'payloads')


@cli_test(limit_s=60)
def strangers_are_not_trusted(ctx):
    """Every scheme verifies: another authority, the system's, another name."""
    broker = ctx.own_broker(listeners=(TLS, WSS))
    other = type(broker.authority)(broker.folder, 'other')
    for transport in (TLS, WSS):
        url = ['-U', broker.url(transport)]
        refuse(ctx, url, 'issued by somebody we do not trust', '--ca-cert FILE',
               broker.url(transport))
        refuse(ctx, [*url, '--ca-cert', other.file], 'issued by somebody we do not trust')
        refuse(ctx, [*url, '--ca-cert', broker.authority.file, '--tls-server-name', 'a.example'],
               'is for', 'not for a.example')
        refuse(ctx, [*url, '--ca-cert', '/nowhere.pem'], '/nowhere.pem: ')
        ctx.ours('pub', *url, '--insecure', '-t', 'x', '-m', 'x').succeed()


@cli_test(limit_s=60)
def a_wrong_certificate_ends_the_attempts(ctx):
    """--auto-reconnect does not hammer at a door that stays shut; a refused connection it does."""
    broker = ctx.own_broker(listeners=(TLS,))
    again = ['--auto-reconnect', '--reconnect-delay', '20ms']
    began = time.monotonic()
    refuse(ctx, ['-U', broker.url(TLS), *again], 'do not trust')
    assert time.monotonic() - began < 20, 'it went on trying'


@cli_test()
def flags_that_make_no_sense(ctx):
    """A flag about TLS for a URL without it is a mistake, and so on."""
    url = ['-U', 'mqtt://localhost:1']
    refuse(ctx, [*url, '--ca-cert', 'x'], '--ca-cert is about TLS', 'mqtts://', status=2)
    refuse(ctx, [*url, '--insecure'], '--insecure is about TLS', status=2)
    refuse(ctx, [*url, '--ws-header', 'A: b'], 'about WebSocket', 'ws://', status=2)
    refuse(ctx, ['-U', 'ws://localhost:1', '--cert', 'x'], 'wss://', status=2)
    refuse(ctx, ['-U', 'ws://localhost:1', '--ws-header', 'Host: b'], 'handshake', status=2)
    refuse(ctx, ['--unix', '/x', '-U', 'ws://localhost:1'], '--unix stands for', status=2)
    refuse(ctx, ['--tls', '--key', 'x'], '--cert', status=2)
    refuse(ctx, ['--psk', '00'], '--psk-identity', status=2)
    refuse(ctx, ['--ca-cert', 'x', '--capath', 'y'], 'one of', status=2)


@cli_test(not_mosquitto=OURS)
def our_certificate_is_who_we_are(ctx):
    """--cert and --key, also an encrypted one; without, the server refuses."""
    with tempfile.TemporaryDirectory() as folder:
        people = Authority(folder, 'people')
        certificate, key = people.issue('anna', 'anna', None)
        locked = os.path.join(folder, 'locked.key')
        openssl('pkcs8', '-topk8', '-in', key, '-out', locked, '-passout', 'pass:secret',
                folder=folder)
        ctx.own_broker('--tls-ca-cert', people.file, '--tls-require-client-cert',
                       listeners=(TLS,))
        there = ['-U', ctx.broker.url(TLS), '--ca-cert', ctx.broker.authority.file]
        refuse(ctx, there, 'certificate')
        there += ['--cert', certificate, '--key']
        refuse(ctx, [*there, locked, '--key-password', 'wrong'], 'locked.key')
        for words in ([key], [locked, '--key-password', 'secret']):
            ctx.ours('pub', *there, *words, '-t', 'x', '-m', 'x').succeed()


@cli_test(not_mosquitto=OURS)
def pre_shared_keys(ctx):
    """--psk and --psk-identity; a wrong key is refused."""
    with tempfile.NamedTemporaryFile('w', encoding='ascii') as file:
        file.write('device:00112233445566778899aabbccddeeff\n')
        file.flush()
        ctx.own_broker('--tls-psk-file', file.name, listeners=(TLS,))
        there = ['-U', ctx.broker.url(TLS), '--insecure', '--psk-identity', 'device']
        ctx.ours('pub', *there, '--psk', '00112233445566778899aabbccddeeff', '-t', 'x', '-m',
                 'x').succeed()
        refuse(ctx, [*there, '--psk', 'ff112233445566778899aabbccddeeff'], 'cannot connect to')


@cli_test(not_mosquitto='Mosquitto answers as libwebsockets does')
def what_a_websocket_is_refused_for(ctx):
    """The server's status, in words."""
    ctx.own_broker(listeners=(WS,))
    url = ctx.broker.url(WS)
    refuse(ctx, ['-U', url.replace('/mqtt', '/other?token=secret')], '/other: ', '404 Not Found')
    refuse(ctx, ['-U', url, '--ws-subprotocol', 'amqp'], '400 Bad Request')
    refuse(ctx, ['-U', f'ws://127.0.0.1:{ctx.port}'], 'handshake')
    refuse(ctx, ['-U', f'mqtt://127.0.0.1:{ctx.broker.ports[WS]}'], 'cannot connect')
    assert 'MQTT came without WebSocket' in ctx.broker.log(), ctx.broker.log()


@cli_test(not_mosquitto=OURS)
def unix_sockets(ctx):
    """--unix with a whole path and one from here, and unix:// URLs."""
    broker = ctx.own_broker('--unix', 'broker.sock')
    path = os.path.join(broker.folder, 'broker.sock')
    watcher = ctx.watcher('unix')
    ctx.ours('pub', '--unix', path, '-t', 'unix', '-m', '1').succeed()
    ctx.ours('pub', '--unix', os.path.relpath(path), '-t', 'unix', '-m', '2').succeed()
    ctx.ours('pub', '-U', f'unix://{path}', '-t', 'unix', '-m', '3').succeed()
    equal(sorted(m.payload for m in watcher.receive(3)), [b'1', b'2', b'3'], 'payloads')
    refuse(ctx, ['--unix', path + '.not'], 'No such file or directory')


@cli_test(limit_s=60)
def bench_over_each(ctx):
    """A load loses nothing over any of them."""
    ctx.own_broker(listeners=ALL)
    for transport in ALL:
        there = [*arguments(ctx, transport), '--warmup', '0', '--duration', '500ms',
                 '--rate', '2000']
        report = ctx.ours('bench', *there, '-q', '1', '--publishers', '3', '--subscribers',
                          '3').succeed().decode()
        assert re.search(r'^lost +0 ', report, re.MULTILINE), report
        report = ctx.ours('bench', *there, '--mode', 'connections', '--concurrency',
                          '5').succeed().decode()
        assert re.search(r'^failed +0', report, re.MULTILINE), report

# Unix sockets, and proxies that tell for whom they speak.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import socket
import ssl
import stat
import struct

from harness import wire
from harness.broker import TLS, WS
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = "our program's own flags"
V2_SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'


@test(not_mosquitto=OURS_ONLY)
def mosquitto_tools_over_a_unix_socket(ctx):
    """mosquitto_pub and _sub through the file system; others may not; the file goes at the end."""
    with_folder = ctx.own_broker()
    path = os.path.join(with_folder.folder, 'door')
    broker = ctx.own_broker('--unix', path)
    until(lambda: os.path.exists(path), what='the socket')
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o660, 'mode of the socket')
    watcher = ctx.run(['stdbuf', '-oL', 'mosquitto_sub', '--unix', path, '-t', 'x', '-C', '3', '-V',
                       'mqttv5', '-q', '1', '-d'])
    watcher.lines.wait_for(lambda line: line.startswith('Subscribed (mid:'))
    for qos in '012':
        child = ctx.run(['mosquitto_pub', '--unix', path, '-t', 'x', '-m', f'at {qos}', '-q', qos])
        child.succeed()
    text = watcher.succeed().decode()
    equal([f'at {q}' in text for q in '012'], [True] * 3, 'messages')
    broker.terminate()
    equal(os.path.exists(path), False, 'the socket is there after the end')


def v2(source, port, command=1, tail=b''):
    """A header of version 2 for a client at SOURCE."""
    body = socket.inet_aton(source) + socket.inet_aton('192.0.2.1') + struct.pack('!HH', port, 1883)
    return V2_SIGNATURE + bytes([0x20 | command, 0x11]) + struct.pack('!H', len(body + tail)) \
        + body + tail


def behind(ctx, header, name, pieces=1):
    """A connection that begins with a header, perhaps in pieces; its CONNACK."""
    client = ctx.wire()
    data = header + wire.connect(ctx.id(name))
    for i in range(pieces):
        client.send(data[i * len(data) // pieces:(i + 1) * len(data) // pieces])
    return client.read()


@test(not_mosquitto=OURS_ONLY)
def case_45_proxies_tell_who_it_is(ctx):
    """Versions 1 and 2, whole and byte by byte: the log has the client's address."""
    broker = ctx.own_broker('--proxy-protocol', 'any', '--proxy-trusted', '127.0.0.0/8')
    for i, header in enumerate((b'PROXY TCP4 198.51.100.7 192.0.2.1 4711 1883\r\n',
                                b'PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n',
                                v2('198.51.100.7', 4711))):
        for pieces in (1, 20):
            got = behind(ctx, header, f'client{i}', pieces)
            equal(got.kind, wire.CONNACK, 'answer')
    until(lambda: broker.log().count('peer=198.51.100.7:4711') >= 4, what='the address in the log')
    assert '2001:db8::7' in broker.log(), broker.log()


@test(not_mosquitto=OURS_ONLY)
def case_45_headers_that_are_none_are_refused(ctx):
    """No header, a forged or overlong one, line feeds in it: closed, and nothing in the log."""
    broker = ctx.own_broker('--proxy-protocol', 'any', '--proxy-trusted', '127.0.0.1/32')
    bad = (b'', b'PROXY TCP4 198.51.100.7\r\n', b'PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n',
           b'PROXY TCP4 1.2.3.4\nforged=1 5.6.7.8 1 1\r\n', b'PROXY ' + b'x' * 200,
           V2_SIGNATURE + b'\x31\x11\0\x0c' + bytes(12), v2('1.2.3.4', 1)[:20] + b'\xff' * 40)
    for header in bad:
        client = ctx.wire()
        client.send(header + wire.connect(ctx.id('bad')))
        client.socket.shutdown(socket.SHUT_WR)
        equal(client.wait_closed(), [], f'answers to {header[:40]}')
    assert 'client.connected' not in broker.log(), broker.log()
    assert '\nforged' not in broker.log(), broker.log()
    equal(behind(ctx, v2('198.51.100.8', 1), 'good').kind, wire.CONNACK, 'answer afterwards')


@test(not_mosquitto=OURS_ONLY)
def case_45_only_trusted_proxies_are_heard(ctx):
    """A header from elsewhere is a reason to close, whatever it says."""
    ctx.own_broker('--proxy-protocol', 'any', '--proxy-trusted', '10.0.0.0/8')
    client = ctx.wire()
    client.send(v2('198.51.100.7', 1) + wire.connect(ctx.id('stranger')))
    try:
        equal(client.wait_closed(), [], 'answers')
    except ConnectionError:
        pass


@test(not_mosquitto=OURS_ONLY)
def proxies_stand_before_tls_and_websocket(ctx):
    """The header comes first, TLS or the request behind it."""
    broker = ctx.own_broker('--proxy-protocol', 'v2', '--proxy-trusted', '127.0.0.1/32',
                            listeners=(TLS, WS))
    bare = socket.create_connection((ctx.host, broker.ports[TLS]), 15)
    bare.sendall(v2('198.51.100.9', 99))
    context = ssl.create_default_context(cafile=broker.authority.file)
    client = wire.Wire.__new__(wire.Wire)
    client.adopt(context.wrap_socket(bare, server_hostname='localhost'))
    ctx.keep(client).open(ctx.id('tls'))
    with socket.create_connection((ctx.host, broker.ports[WS]), 15) as plain:
        plain.sendall(v2('198.51.100.9', 98) + b'GET /other HTTP/1.1\r\nHost: x\r\n\r\n')
        equal(plain.recv(100).split(b' ')[1], b'404', 'answer to a request')
    until(lambda: 'peer=198.51.100.9:99 ' in broker.log(), what='the address in the log')

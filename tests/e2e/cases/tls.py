# TLS as openssl, GnuTLS and Python see it: versions, ciphers, certificates, tickets, reload.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import re
import shutil
import signal
import socket
import ssl

from harness import wire
from harness.broker import TLS, WSS, free_port
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = "our program's own behaviour"
CIPHER = re.compile(r'Cipher is (\S+)')


def s_client(ctx, *arguments, stdin=b''):
    """What openssl says of a handshake (stdout, stderr); the stream ends at once."""
    child = ctx.run(['openssl', 's_client', '-connect', f'{ctx.host}:{ctx.broker.ports[TLS]}',
                     '-CAfile', ctx.broker.authority.file, '-servername', 'localhost', *arguments],
                    stdin=stdin)
    child.wait()
    return child.stdout.decode('utf-8', 'replace'), child.stderr


def cipher_of(ctx, *arguments):
    """The cipher that a handshake came to, or None."""
    found = CIPHER.search(s_client(ctx, *arguments)[0])
    assert found, 'openssl did not say a word about ciphers'
    return None if found[1] == '(NONE)' else found[1]


def secure_wire(ctx, context=None, session=None, port=None):
    """A raw connection over TLS."""
    context = context or ssl.create_default_context(cafile=ctx.broker.authority.file)
    bare = socket.create_connection((ctx.host, port or ctx.broker.ports[TLS]), 15)
    # Python would otherwise wait, with a packet behind its Finished, for the kernel's delay.
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made = wire.Wire.__new__(wire.Wire)
    made.adopt(context.wrap_socket(bare, server_hostname='localhost', session=session))
    return ctx.keep(made)


@test()
def openssl_protocol_versions(ctx):
    """1.2 and 1.3, nothing older, whatever the client is ready to do."""
    ctx.own_broker(listeners=(TLS,))
    for version in ('-tls1_2', '-tls1_3'):
        assert cipher_of(ctx, version), f'{version} was refused'
    for version in ('-tls1', '-tls1_1'):
        equal(cipher_of(ctx, version, '-cipher', 'ALL:@SECLEVEL=0'), None, f'cipher of {version}')


@test(not_mosquitto='Mosquitto 2.0 leaves the ciphers to OpenSSL')
def openssl_weak_ciphers(ctx):
    """No cipher without encryption, authentication, forward secrecy or of the last century."""
    ctx.own_broker(listeners=(TLS,))
    for cipher in ('eNULL', 'aNULL', 'kRSA', 'PSK', '3DES', 'RC4', 'SEED', 'CAMELLIA', 'kDHE',
                   'SRP'):
        listed = ctx.run(['openssl', 'ciphers', '-tls1_2', f'{cipher}:@SECLEVEL=0'])
        if listed.wait() != 0:
            continue                    # this openssl cannot even ask for it
        got = cipher_of(ctx, '-tls1_2', '-cipher', f'{cipher}:@SECLEVEL=0')
        equal(got, None, f'cipher of a client that offers {cipher}')
    for cipher in ('ECDHE+AESGCM', 'ECDHE+CHACHA20'):
        assert cipher_of(ctx, '-tls1_2', '-cipher', cipher), f'{cipher} was refused'


@test(once=True)
def gnutls_protocol_versions(ctx):
    """The same of gnutls-cli; and the certificate is checked as a client would."""
    if not shutil.which('gnutls-cli'):
        raise AssertionError('gnutls-cli is missing (Debian: gnutls-bin)')
    ctx.own_broker(listeners=(TLS,))

    def status(version, authority=ctx.broker.authority.file):
        child = ctx.run(['gnutls-cli', '-p', ctx.broker.ports[TLS], '--x509cafile', authority,
                         '--priority', f'NORMAL:%COMPAT:-VERS-ALL:+VERS-{version}', 'localhost'],
                        stdin=b'')
        return child.wait()

    equal([status(v) == 0 for v in ('TLS1.3', 'TLS1.2', 'TLS1.1', 'TLS1.0')],
          [True, True, False, False], 'handshakes with 1.3, 1.2, 1.1 and 1.0')
    other = type(ctx.broker.authority)(ctx.broker.folder, 'other')
    assert status('TLS1.3', other.file) != 0, "another authority's word was enough"


@test()
def case_47_openssl_may_not_renegotiate(ctx):
    """In 1.2 a client asks for another handshake within the connection: it gets none."""
    ctx.own_broker(listeners=(TLS,))
    out, err = s_client(ctx, '-tls1_2', stdin=b'R\n')
    assert 'RENEGOTIATING' in out + err, f'openssl did not even try: {err}'
    rest = (out + err).rpartition('RENEGOTIATING')[2]
    assert 'verify return' not in rest, 'a second handshake was made'
    assert 'renegotiation' in rest or 'error' in rest, f'the broker said nothing: {rest}'
    secure_wire(ctx).open('after')


@test(not_mosquitto='Mosquitto 2.0 does not look at ALPN')
def protocols_are_agreed_on(ctx):
    """ALPN: mqtt if it is offered; a client of another protocol does not get far."""
    ctx.own_broker(listeners=(TLS,))
    assert 'ALPN protocol: mqtt' in s_client(ctx, '-alpn', 'h2,mqtt')[0]
    assert 'No ALPN negotiated' in s_client(ctx)[0]
    assert 'ALPN protocol: h2' not in s_client(ctx, '-alpn', 'h2')[0]


@test()
def tickets_resume(ctx):
    """A client that returns with its ticket does no full handshake; in 1.2 and in 1.3."""
    ctx.own_broker(listeners=(TLS,))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=ctx.broker.authority.file)
        context.minimum_version = context.maximum_version = version
        first = secure_wire(ctx, context)
        first.open('first')
        equal(first.socket.session_reused, False, 'the first handshake was a short one')
        second = secure_wire(ctx, context, first.socket.session)
        second.open('second')
        equal(second.socket.session_reused, True, f'{version.name}: the second is a short one')


@test(not_mosquitto=OURS_ONLY)
def without_tickets_nothing_resumes(ctx):
    """Switched off."""
    ctx.own_broker('--no-tls-session-tickets', listeners=(TLS,))
    context = ssl.create_default_context(cafile=ctx.broker.authority.file)
    first = secure_wire(ctx, context)
    first.open('first')
    second = secure_wire(ctx, context, first.socket.session)
    second.open('second')
    equal(second.socket.session_reused, False, 'the second handshake was a short one')


def served_certificate(ctx):
    """The certificate that a new connection is shown, DER."""
    with secure_wire(ctx) as client:
        client.open('looker')
        return client.socket.getpeercert(binary_form=True)


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def certificates_change_without_dropping_anybody(ctx):
    """New files and SIGHUP: who is connected stays, who comes sees the new one."""
    broker = ctx.own_broker(listeners=(TLS, WSS))
    staying = secure_wire(ctx)
    staying.open('staying')
    staying.subscribe('t', 1)
    before = served_certificate(ctx)
    paths = broker.authority.issue('next', 'localhost')
    for new, old in zip(paths, broker.certificate):
        os.replace(new, old)
    broker.process.send_signal(signal.SIGHUP)
    until(lambda: served_certificate(ctx) != before, what='the new certificate')
    staying.send(wire.publish('t', b'still here', 1, 1))
    kinds = sorted(staying.read().kind for _ in range(2))
    equal(kinds, [wire.PUBLISH, wire.PUBACK], 'what the old connection got')
    # A file that makes no sense changes nothing.
    now = served_certificate(ctx)
    with open(broker.certificate[0], 'w', encoding='ascii') as out:
        out.write('no certificate\n')
    broker.process.send_signal(signal.SIGHUP)
    until(lambda: broker.certificate[0] in broker.log(), what='a word in the log')
    equal(served_certificate(ctx), now, 'the certificate after a bad file')


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def client_certificates_are_demanded(ctx):
    """Without one, and with a stranger's, nothing works; with one of ours its name is the user."""
    broker = ctx.own_broker(listeners=(TLS,))      # for its authority, which vouches for clients
    authority, port = broker.authority, free_port()
    good = authority.issue('client', 'alice', None)
    bad = type(authority)(broker.folder, 'other').issue('stranger', 'alice', None)
    rules = os.path.join(broker.folder, 'rules')
    with open(rules, 'w', encoding='ascii') as out:
        out.write('user alice topic alice/# permission readwrite\n')
    second = ctx.ours('broker', '--tls-host', f'{ctx.host}:{port}', '--tls-cert',
                      broker.certificate[0], '--tls-key', broker.certificate[1], '--tls-ca-cert',
                      authority.file, '--tls-require-client-cert', '--tls-identity', 'cn',
                      '--acl-file', rules, '--storage-backend', 'memory',
                      '--workers', ctx.workers)
    second.error_lines.wait_for(lambda line: 'listener.ready' in line)

    def code(topic, certificate):
        context = ssl.create_default_context(cafile=authority.file)
        if certificate:
            context.load_cert_chain(*certificate)
        with secure_wire(ctx, context, port=port) as client:
            client.open('device')
            client.send(wire.publish(topic, b'x', 1, 1))
            return client.expect(wire.PUBACK).body[2:3]

    for certificate in (None, bad):
        try:
            code('alice/x', certificate)
        except (OSError, AssertionError):
            continue
        raise AssertionError(f'accepted with {certificate}')
    assert code('alice/x', good) in (b'', b'\x10'), 'alice may not write her own topic'
    equal(code('bob/x', good), b'\x87', "the answer to another's topic")


@test()
def what_is_not_tls_is_closed(ctx):
    """MQTT without TLS, HTTP and noise on a TLS port: closed, and the next one is served."""
    ctx.own_broker(listeners=(TLS,))
    for data in (wire.connect('plain'), b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', bytes(1000),
                 b'\x16\x03\x01\xff\xff' + bytes(100)):
        with wire.Wire(ctx.host, ctx.broker.ports[TLS]) as client:
            client.send(data)
            client.socket.shutdown(socket.SHUT_WR)
            try:
                while client.socket.recv(1000):
                    pass
            except ConnectionError:
                pass
    secure_wire(ctx).open('after')

# Who comes in over TLS: client certificates and what they prove, shared keys, revocation, names.
# SPDX-License-Identifier: MIT OR Apache-2.0
import hashlib
import json
import os
import shutil
import ssl
import tempfile

from harness.broker import free_port
from harness.certificates import Authority, openssl
from harness.peer import V5, V311, Peer
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = "our program's own flags"
PSK = '00112233445566778899aabbccddeeff'
ACL = """\
user alice topic alice/# permission readwrite
user device-7 topic alice/# permission readwrite
user * topic # permission deny
"""


class Place:
    """A folder with an authority, and a TLS port for one test."""

    def __init__(self, ctx):
        self.ctx = ctx
        self.folder = tempfile.mkdtemp(prefix='mqtt5-e2e-tls-')
        os.chmod(self.folder, 0o755)
        ctx.keep(self)
        self.port = free_port()
        self.authority = Authority(self.folder)
        self.server = self.authority.issue('server', 'localhost')
        self.cafile = ['--cafile', self.authority.file]

    def close(self):
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        """A file in the folder; returns its path."""
        path = os.path.join(self.folder, name)
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        return path

    def start(self, *flags, certificate=True):
        """The broker, listening with TLS."""
        flags = ['--tls-host', f'127.0.0.1:{self.port}', *flags]
        if certificate:
            flags += ['--tls-cert', self.server[0], '--tls-key', self.server[1]]
        return wait_for_tls(self.ctx.own_broker(*flags))

    def publish(self, *arguments, topic='alice/x', version='mqttv5'):
        """mosquitto_pub with QoS 1; returns its exit status."""
        child = self.ctx.run(['mosquitto_pub', '-h', 'localhost', '-p', self.port, '-V', version,
                              '-t', topic, '-m', 'x', '-q', '1', *arguments])
        return child.wait()

    def s_client(self, *arguments):
        """What openssl says of a handshake."""
        child = self.ctx.run(['openssl', 's_client', '-connect', f'127.0.0.1:{self.port}',
                              '-CAfile', self.authority.file, *arguments], stdin=b'')
        child.wait()
        return child.stdout.decode('utf-8', 'replace') + child.stderr


def wait_for_tls(broker):
    """The harness has waited for the TCP listener only."""
    until(lambda: 'transport=tls' in broker.log(), what='the TLS listener')
    return broker


def with_certificate(paths):
    """Flags of Mosquitto's clients."""
    return ['--cert', paths[0], '--key', paths[1]]


@test(once=True, limit_s=60, not_mosquitto=OURS_ONLY)
def a_certificate_is_the_user(ctx):
    """By common name, by alternative name, by fingerprint: the ACL is that of the name."""
    place = Place(ctx)
    alice = place.authority.issue('client', 'alice', None)
    device = place.authority.issue('device', 'nobody', 'DNS:device-7')
    with open(alice[0], encoding='ascii') as file:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()
    known = place.write('users', f'# who is who\n{digest}:device-7\n')
    acl = place.write('acl', ACL)
    ways = [('cn', alice, device, ()), ('san', device, None, ()),
            ('fingerprint', alice, device, ('--tls-identity-file', known))]
    for way, good, bad, more in ways:
        broker = place.start('--tls-ca-cert', place.authority.file, '--tls-identity', way,
                             '--acl-file', acl, *more)
        equal(place.publish(*place.cafile, *with_certificate(good)), 0, f'{way}: own topic')
        # Not authorised: mosquitto_pub says so, and ends with 0; the message is nowhere.
        watcher = Peer('127.0.0.1', place.port, ctx.id(f'w-{way}'), V5)
        watcher.client.tls_set(place.authority.file, *good)
        ctx.keep(watcher).connect()
        watcher.subscribe('alice/#', 1)
        place.publish(*place.cafile, *with_certificate(good), topic='bob/x')
        place.publish(*place.cafile, *with_certificate(good), topic='alice/y')
        equal([m.topic for m in watcher.receive(1)], ['alice/y'], f'{way}: what is allowed')
        if way == 'fingerprint':
            assert place.publish(*place.cafile, *with_certificate(bad)) != 0, 'unknown fingerprint'
            assert 'no user has its fingerprint' in broker.log(), 'the log does not say why'
        elif bad:
            place.publish(*place.cafile, *with_certificate(bad), topic='alice/z')
            place.publish(*place.cafile, *with_certificate(good), topic='alice/last')
            equal([m.topic for m in watcher.receive(2)], ['alice/y', 'alice/last'],
                  f"{way}: another's")
        broker.kill()


@test(once=True, limit_s=60, not_mosquitto=OURS_ONLY)
def clients_of_all_makers_with_certificates(ctx):
    """paho and Mosquitto, MQTT 5 and 3.1.1, TLS 1.2 and 1.3; without a certificate nobody."""
    place = Place(ctx)
    alice = place.authority.issue('client', 'alice', None)
    stranger = Authority(place.folder, 'other').issue('stranger', 'alice', None)
    place.start('--tls-ca-cert', place.authority.file, '--tls-require-client-cert')
    for number, version in enumerate((V5, V311)):
        for tls in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=place.authority.file)
            context.minimum_version = context.maximum_version = tls
            context.load_cert_chain(*alice)
            peer = Peer('localhost', place.port, ctx.id(f'{number}-{tls.name}'), version)
            peer.client.tls_set_context(context)
            ctx.keep(peer).connect()
            peer.subscribe('alice/#', 1)
            peer.publish('alice/x', bytes(100000), 1)
            equal([len(m.payload) for m in peer.receive(1)], [100000], f'{tls.name}: a big one')
    for tls in ('tlsv1.2', 'tlsv1.3'):
        for version in ('mqttv5', 'mqttv311'):
            flags = [*place.cafile, '--tls-version', tls]
            equal(place.publish(*flags, *with_certificate(alice), version=version), 0, tls)
            assert place.publish(*flags, version=version) != 0, f'{tls}: without a certificate'
            assert place.publish(*flags, *with_certificate(stranger), version=version) != 0, \
                f"{tls}: with a stranger's"


@test(once=True, limit_s=60, not_mosquitto=OURS_ONLY)
def pre_shared_keys(ctx):
    """mosquitto_pub --psk: the right key, the wrong one, nobody's."""
    place = Place(ctx)
    keys = place.write('keys', f'# devices\nbob:{PSK}\n')
    for certificate in (False, True):
        broker = place.start('--tls-psk-file', keys, certificate=certificate)
        for tls in ('tlsv1.2', 'tlsv1.3'):
            flags = ['--tls-version', tls, '--psk-identity']
            equal(place.publish(*flags, 'bob', '--psk', PSK), 0, f'{tls}: the right key')
            assert place.publish(*flags, 'bob', '--psk', PSK[:-1] + 'e') != 0, 'a wrong key'
            assert place.publish(*flags, 'eve', '--psk', PSK) != 0, 'nobody knows eve'
        if certificate:
            equal(place.publish(*place.cafile), 0, 'by certificate beside keys')
        broker.kill()


@test(once=True, limit_s=60, not_mosquitto=OURS_ONLY)
def revoked_certificates(ctx):
    """A certificate on the list is refused, the others are not."""
    place = Place(ctx)
    good = place.authority.issue('good', 'alice', None)
    stolen = place.authority.issue('stolen', 'alice', None)
    serial = openssl('x509', '-in', stolen[0], '-noout', '-serial',
                     folder=place.folder).strip().partition('=')[2]
    place.write('index.txt', f'R\t491231235959Z\t200101000000Z\t{serial}\tunknown\t/CN=alice\n')
    place.write('ca.conf', '[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\ndefault_md=sha256\n'
                           'default_crl_days=1\n')
    openssl('ca', '-config', 'ca.conf', '-gencrl', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-out',
            'list.crl', folder=place.folder)
    broker = place.start('--tls-ca-cert', place.authority.file, '--tls-require-client-cert',
                         '--tls-crl', os.path.join(place.folder, 'list.crl'))
    equal(place.publish(*place.cafile, *with_certificate(good)), 0, 'a good certificate')
    assert place.publish(*place.cafile, *with_certificate(stolen)) != 0, 'a revoked certificate'
    assert 'the certificate of the client has been revoked' in broker.log(), 'the log says why'


@test(once=True, limit_s=60, not_mosquitto=OURS_ONLY)
def several_names_and_stapled_responses(ctx):
    """SNI picks the certificate, a locked key is opened, and the OCSP response comes along."""
    place = Place(ctx)
    other = place.authority.issue('second', 'other.example', 'DNS:other.example')
    openssl('pkcs8', '-topk8', '-in', other[1], '-out', 'locked.key', '-v2', 'aes-256-cbc',
            '-passout', 'pass:sesame', folder=place.folder)
    serial = openssl('x509', '-in', place.server[0], '-noout', '-serial',
                     folder=place.folder).strip().partition('=')[2]
    place.write('index.txt', f'V\t491231235959Z\t\t{serial}\tunknown\t/CN=localhost\n')
    openssl('ocsp', '-issuer', 'ca.pem', '-cert', place.server[0], '-reqout', 'request',
            folder=place.folder)
    openssl('ocsp', '-index', 'index.txt', '-CA', 'ca.pem', '-rsigner', 'ca.pem', '-rkey',
            'ca.key', '-reqin', 'request', '-respout', 'response', '-ndays', '1',
            folder=place.folder)
    config = {'tls_config': {
        'bind_addresses': [f'127.0.0.1:{place.port}'],
        'cert_file': place.server[0], 'key_file': place.server[1],
        'ocsp_file': os.path.join(place.folder, 'response'),
        'certificates': [{'cert_file': other[0],
                          'key_file': os.path.join(place.folder, 'locked.key'),
                          'key_password_file': place.write('password', 'sesame\n')}]}}
    wait_for_tls(ctx.own_broker('--config', place.write('config.json', json.dumps(config))))
    for version in ('-tls1_2', '-tls1_3'):
        out = place.s_client(version, '-servername', 'localhost', '-status')
        assert 'CN = localhost' in out, f'{version}: not the certificate of localhost'
        assert 'OCSP Response Status: successful' in out, f'{version}: no OCSP response'
        assert 'Verify return code: 0 (ok)' in out, f'{version}: not verified'
        out = place.s_client(version, '-servername', 'other.example', '-status')
        assert 'CN = other.example' in out, f'{version}: not the certificate of other.example'
        assert 'OCSP response: no response sent' in out, f'{version}: a response of another'
        assert 'CN = localhost' in place.s_client(version, '-servername', 'unknown.example')
        assert 'CN = localhost' in place.s_client(version, '-noservername')

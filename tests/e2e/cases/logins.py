# Who gets in: SCRAM by a client written here from the RFC, tokens that openssl has signed, issuers
# and services that go away, and guessing.
# SPDX-License-Identifier: MIT OR Apache-2.0
import base64
import hashlib
import hmac
import http.server
import json
import os
import secrets
import socket
import struct
import subprocess
import tempfile
import threading
import time

from harness import wire
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = "our program's own ways in"
AUTH = 15
OK, BAD_LOGIN, UNAVAILABLE, BAD_METHOD, LOCKED = 0, 0x86, 0x88, 0x8C, 0x9F
GUARDED = ('--allow-anonymous=false',)


def binary(identifier, data):
    """A property of binary data or text."""
    return bytes([identifier]) + struct.pack('!H', len(data)) + data


def method(name, data=None):
    """Authentication Method and Data."""
    return binary(0x15, name.encode()) + (binary(0x16, data) if data is not None else b'')


def auth(reason, name, data):
    """An AUTH packet."""
    props = method(name, data)
    return wire.packet(0xF0, bytes([reason]) + wire.varint(len(props)) + props)


def properties(body, skip):
    """The method and data in a packet's property block that begins at SKIP."""
    size, rest = wire.split_varint(body[skip:])
    found, rest = {}, rest[:size]
    sizes = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1,
             0x2A: 1}
    while rest:
        kind = rest[0]
        length = sizes.get(kind)
        at = 1
        if length is None:
            length, at = struct.unpack('!H', rest[1:3])[0], 3
        found[kind] = rest[at:at + length]
        rest = rest[at + length:]
    return found


class Scram:
    """A client of RFC 5802, without channel binding."""

    def __init__(self, name, user, password):
        self.name, self.user, self.password = name, user, password
        self.hash = {'SCRAM-SHA-256': 'sha256', 'SCRAM-SHA-512': 'sha512'}[name]
        self.nonce = secrets.token_hex(12)
        self.bare = f'n={user},r={self.nonce}'
        self.expected = None

    def first(self):
        """The first message."""
        return ('n,,' + self.bare).encode()

    def proof(self, challenge):
        """The second one, for what the server has sent."""
        words = dict(word.split('=', 1) for word in challenge.decode().split(','))
        assert words['r'].startswith(self.nonce) and len(words['r']) > len(self.nonce)
        salted = hashlib.pbkdf2_hmac(self.hash, self.password.encode(),
                                     base64.b64decode(words['s']), int(words['i']))
        mac = lambda key, text: hmac.new(key, text, self.hash).digest()
        client_key = mac(salted, b'Client Key')
        stored = hashlib.new(self.hash, client_key).digest()
        last = f'c=biws,r={words["r"]}'
        text = f'{self.bare},{challenge.decode()},{last}'.encode()
        self.expected = b'v=' + base64.b64encode(mac(mac(salted, b'Server Key'), text))
        proof = bytes(a ^ b for a, b in zip(client_key, mac(stored, text)))
        return f'{last},p={base64.b64encode(proof).decode()}'.encode()


def scram_login(client, scram, client_id):
    """The reason code of CONNACK; the server's own proof is checked."""
    client.send(wire.connect(client_id, props=method(scram.name, scram.first())))
    got = client.read()
    if got.kind == wire.CONNACK:
        return got.body[1]
    equal((got.kind, got.body[0]), (AUTH, 0x18), 'the challenge')
    challenge = properties(got.body, 1)
    equal(challenge[0x15], scram.name.encode(), 'method of the challenge')
    client.send(auth(0x18, scram.name, scram.proof(challenge[0x16])))
    got = client.expect(wire.CONNACK)
    if got.body[1] == 0:
        equal(properties(got.body, 2)[0x16], scram.expected, "the server's signature")
    return got.body[1]


def password_login(ctx, name, user, password, source=None):
    """The reason code of CONNACK for a user name and password, from an address of its own."""
    sock = socket.socket()
    sock.bind((source or '127.0.0.1', 0))
    sock.settimeout(15)
    sock.connect((ctx.host, ctx.port))
    body = (wire.text('MQTT') + b'\x05\xc2\x00\x3c\x00' + wire.text(ctx.id(name))
            + wire.text(user) + wire.text(password))
    with ctx.wire() as client:
        client.socket.close()
        client.adopt(sock)
        client.send(wire.packet(0x10, body))
        return client.expect(wire.CONNACK).body[1]


class Folder(tempfile.TemporaryDirectory):
    """One that a context removes."""

    def close(self):
        """Removes it."""
        self.cleanup()


def make_users(ctx, folder, *words, command='scram', password='secret'):
    """A file with one user, bob."""
    path = os.path.join(folder, command)
    done = ctx.ours(command, '--batch', password, *words, *([] if os.path.exists(path) else ['-c']),
                    'bob', path)
    equal(done.wait(), 0, f'mqttv5 {command}')
    return path


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def scram_by_another_client(ctx):
    """Both hashes; and the same again while connected."""
    folder = ctx.keep(Folder()).name
    users = make_users(ctx, folder, '-i', '10000')
    make_users(ctx, folder, '-i', '10000', '--hash', 'sha512')
    ctx.own_broker(*GUARDED, '--scram-file', users)
    for name in ('SCRAM-SHA-256', 'SCRAM-SHA-512'):
        with ctx.wire() as client:
            equal(scram_login(client, Scram(name, 'bob', 'secret'), ctx.id('a')), OK, name)
            again = Scram(name, 'bob', 'secret')
            client.send(auth(0x19, name, again.first()))
            client.send(wire.packet(0xC0))
            kinds = {}
            for _ in range(2):
                got = client.read()
                kinds[got.kind] = got
            equal(sorted(kinds), [wire.PINGRESP, AUTH], 'answers')
            challenge = properties(kinds[AUTH].body, 1)[0x16]
            client.send(auth(0x18, name, again.proof(challenge)))
            done = client.expect(AUTH)
            equal(done.body[0], 0, 'success')
            equal(properties(done.body, 1)[0x16], again.expected, 'signature')
        for user, password in (('bob', 'wrong'), ('eve', 'secret')):
            with ctx.wire() as client:
                equal(scram_login(client, Scram(name, user, password), ctx.id('a')), BAD_LOGIN,
                      f'{user} with {password}')
    with ctx.wire() as client:
        client.send(wire.connect(ctx.id('a'), props=method('PLAIN', b'\0bob\0secret')))
        equal(client.expect(wire.CONNACK).body[1], BAD_METHOD, 'PLAIN in the clear')


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def our_clients_prove_themselves(ctx):
    """mqttv5 pub with --auth-method, right and wrong."""
    folder = ctx.keep(Folder()).name
    users = make_users(ctx, folder, '-i', '10000')
    ctx.own_broker(*GUARDED, '--scram-file', users)
    for password, status in (('secret', 0), ('wrong', 1)):
        done = ctx.ours('pub', '-p', ctx.port, '-t', 'x', '-m', 'x', '-q', '1', '-u', 'bob',
                        '--auth-method', 'scram', env={'MQTT5_PASSWORD': password})
        equal(done.wait(), status, password)


# ------------------------------------------------------------------------------------- tokens

class Web:
    """An HTTP server whose answer can be changed, and that can be gone."""

    def __init__(self, port=0):
        outer = self
        self.reply, self.seen = (200, b''), []

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers every request alike."""

            def do_GET(self):
                """Any request."""
                size = int(self.headers.get('Content-Length') or 0)
                outer.seen.append((self.command, self.path, self.rfile.read(size)))
                status, body = outer.reply
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format, *args):
                """Nothing on standard error."""

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Gone: connections are refused."""
        self.server.shutdown()
        self.server.server_close()


def url64(data):
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b'=')


class Signer:
    """An RSA key of openssl's."""

    def __init__(self, folder, kid):
        self.kid, self.path = kid, os.path.join(folder, f'{kid}.pem')
        subprocess.run(['openssl', 'genrsa', '-out', self.path, '2048'], check=True, timeout=30,
                       capture_output=True)
        said = subprocess.run(['openssl', 'rsa', '-in', self.path, '-modulus', '-noout'],
                              check=True, timeout=30, capture_output=True).stdout.decode()
        modulus = bytes.fromhex(said.strip().split('=')[1])
        self.jwk = {'kty': 'RSA', 'kid': kid, 'alg': 'RS256', 'use': 'sig', 'e': 'AQAB',
                    'n': url64(modulus).decode()}

    def token(self, **claims):
        """A signed token."""
        claims = {'sub': 'carol', 'exp': int(time.time()) + 600, **claims}
        head = {'alg': 'RS256', 'kid': self.kid}
        text = b'.'.join(url64(json.dumps(part).encode()) for part in (head, claims))
        signed = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', self.path], input=text,
                                check=True, timeout=30, capture_output=True).stdout
        return text + b'.' + url64(signed)


def token_login(ctx, token):
    """The reason code of CONNACK."""
    with ctx.wire() as client:
        client.send(wire.connect(ctx.id('t'), props=method('JWT', token)))
        return client.expect(wire.CONNACK).body[1]


@test(limit_s=120, first=True, once=True, not_mosquitto=OURS_ONLY)
def tokens_while_their_issuer_is_away(ctx):
    """Keys come from the issuer, serve when it is gone, and are asked for again when it is back."""
    folder = ctx.keep(Folder()).name
    signer, later = Signer(folder, 'k1'), Signer(folder, 'k2')
    web = ctx.keep(Web())
    web.reply = (200, json.dumps({'keys': [signer.jwk]}).encode())
    ctx.own_broker(*GUARDED, '--jwt-jwks-uri', f'http://127.0.0.1:{web.port}/keys',
                   '--jwt-jwks-refresh', '1s', '--jwt-issuer', 'https://issuer.example',
                   '--jwt-audience', 'mqtt')
    rights = {'iss': 'https://issuer.example', 'aud': ['other', 'mqtt']}
    until(lambda: token_login(ctx, signer.token(**rights)) == OK,
          what='the keys')
    for wrong in ({'iss': 'https://evil.example', 'aud': 'mqtt'},
                  {'iss': 'https://issuer.example', 'aud': 'mqtt2'},
                  {**rights, 'exp': int(time.time()) - 100},
                  {**rights, 'nbf': int(time.time()) + 100}):
        equal(token_login(ctx, signer.token(**wrong)), BAD_LOGIN, str(wrong))
    asked = len(web.seen)
    until(lambda: len(web.seen) > asked, what='the keys to be read again')
    web.close()
    gone = time.monotonic()
    while time.monotonic() < gone + 3:  # several times the refresh
        equal(token_login(ctx, signer.token(**rights)), OK, 'while the issuer is away')
    back = ctx.keep(Web(web.port))
    back.reply = (200, json.dumps({'keys': [later.jwk]}).encode())
    until(lambda: back.seen, 90, 'the issuer to be asked again: a minute after it failed')
    fresh = later.token(**rights)
    until(lambda: token_login(ctx, fresh) == OK, what='the new key')
    equal(token_login(ctx, signer.token(**rights)), UNAVAILABLE, 'a key that was withdrawn')


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def a_service_that_goes_away(ctx):
    """200, 403 and nobody there; users of the password file do not notice."""
    folder = ctx.keep(Folder()).name
    users = make_users(ctx, folder, command='passwd')
    web = ctx.keep(Web())
    ctx.own_broker(*GUARDED, '--auth-password-file', users, '--auth-http-uri',
                   f'http://127.0.0.1:{web.port}/login', '--auth-http-timeout', '1s')
    equal(password_login(ctx, 'c', 'erin', 'good'), OK, '200')
    equal(web.seen[-1], ('POST', '/login', b'username=erin&password=good&clientid='
                         + ctx.id('c').encode()), 'what the service is asked')
    web.reply = (403, b'')
    equal(password_login(ctx, 'c', 'erin', 'good'), BAD_LOGIN, '403')
    asked = len(web.seen)
    equal(password_login(ctx, 'c', 'bob', 'secret'), OK, 'of the file')
    equal(password_login(ctx, 'c', 'bob', 'good'), BAD_LOGIN, 'of the file, wrong')
    equal(len(web.seen), asked, 'requests for a user of the file')
    web.close()
    for _ in range(5):
        equal(password_login(ctx, 'c', 'erin', 'good'), UNAVAILABLE, 'nobody there')
    equal(password_login(ctx, 'c', 'bob', 'secret'), OK, 'of the file')


# ------------------------------------------------------------------------------------- guessing

@test(limit_s=60, not_mosquitto=OURS_ONLY)
def guessing_locks_an_address_out(ctx):
    """Twenty wrong passwords; others are not concerned."""
    folder = ctx.keep(Folder()).name
    users = make_users(ctx, folder, '--memory', '8', '--passes', '1', command='passwd')
    ctx.own_broker(*GUARDED, '--auth-password-file', users)
    guesses = [password_login(ctx, 'c', 'bob', f'guess{i}', '127.0.9.1') for i in range(20)]
    equal(guesses, [BAD_LOGIN] * 20, 'guesses')
    equal(password_login(ctx, 'c', 'bob', 'secret', '127.0.9.1'), LOCKED, 'the guesser')
    equal(password_login(ctx, 'c', 'bob', 'secret', '127.0.9.2'), OK, 'somebody else')

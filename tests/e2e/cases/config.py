# Brokers started from files and variables, and what they do when those change.
# SPDX-License-Identifier: MIT OR Apache-2.0
import json
import os
import signal
import subprocess
import tempfile

from harness import wire
from harness.broker import die_with_parent, free_port
from harness.certificates import Authority
from harness.registry import test
from harness.wait import equal, until
from harness.wire import Wire

OURS_ONLY = 'configuration files of our own'
SERVED, BAD_LOGIN, NOT_AUTHORIZED = 0x00, 0x86, 0x87


class Server:
    """A broker with a folder for its configuration, whose log can be read."""

    def __init__(self, ctx, *arguments, files=None, env=None):
        self.folder = tempfile.mkdtemp(prefix='mqtt5-e2e-')
        for name, text in (files or {}).items():
            self.write(name, text)
        self.log_path = os.path.join(self.folder, 'log')
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                [ctx.kind.binary, 'broker', *arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=self.folder, preexec_fn=die_with_parent,
                env={**os.environ, 'MQTT5_WORKERS': str(ctx.workers), **(env or {})})
        ctx.keep(self)

    def path(self, name):
        """The file NAME in the folder."""
        return os.path.join(self.folder, name)

    def write(self, name, text):
        """Puts a file in place in one step, as editors do."""
        with open(self.path(name + '.new'), 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(self.path(name + '.new'), 0o600)
        os.replace(self.path(name + '.new'), self.path(name))

    def log(self):
        """All that was written so far."""
        with open(self.log_path, encoding='utf-8') as log:
            return log.read()

    def await_log(self, text, times=1):
        """Waits until TEXT is in the log so many times."""
        until(lambda: self.log().count(text) >= times or self.process.poll() is not None,
              what=f'"{text}" in the log')
        assert self.log().count(text) >= times, f'no "{text}":\n{self.log()}'
        return self

    def reload(self):
        """SIGHUP, until it is over."""
        before = self.log().count('files.')
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log().count('files.') > before, what='the end of a reload')

    def close(self):
        """Ends it, if it runs."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


def code(port, client_id, host='127.0.0.1'):
    """The reason code of CONNACK for an anonymous client."""
    with Wire(host, port) as client:
        client.send(wire.connect(client_id))
        return client.expect(wire.CONNACK).body[1]


def refuses(port):
    """Nobody listens there."""
    try:
        Wire('127.0.0.1', port).close()
        return False
    except OSError:
        return True


def checked(ctx, *arguments, files=None):
    """Exit code and what --check-config writes."""
    folder = tempfile.mkdtemp(prefix='mqtt5-e2e-')
    for name, (mode, text) in (files or {}).items():
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(os.path.join(folder, name), mode)
    done = subprocess.run([ctx.kind.binary, 'broker', '--check-config', *arguments], cwd=folder,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                          check=False)
    return done.returncode, done.stdout + done.stderr


YAML = """\
listeners:
  - {{name: first, bind: '127.0.0.1:{0}'}}
storage_config: {{backend: memory}}
max_clients: 5
"""


@test(not_mosquitto=OURS_ONLY)
def yaml_json_and_variables_start_a_broker(ctx):
    """The same broker by each of them; a flag counts before a variable, that before the file."""
    ports = [free_port() for _ in range(3)]
    from_yaml = Server(ctx, '--config', 'm.yaml', files={'m.yaml': YAML.format(ports[0])})
    text = json.dumps({'listeners': [{'bind': f'127.0.0.1:{ports[1]}'}],
                       'storage_config': {'backend': 'memory'}, 'log_config': {'json': True}})
    from_json = Server(ctx, '-c', 'm.json', files={'m.json': text})
    from_variables = Server(ctx, '--max-clients', '9', env={
        'MQTT5_BIND': f'127.0.0.1:{ports[2]}', 'MQTT5_STORAGE_BACKEND': 'memory',
        'MQTT5_MAX_CLIENTS': 'wrong, but not looked at'})
    from_yaml.await_log('listener.ready')
    from_json.await_log('"event":"listener.ready"')
    from_variables.await_log('listener.ready')
    for port in ports:
        equal(code(port, 'c'), SERVED, 'CONNACK')


@test(not_mosquitto=OURS_ONLY)
def listeners_come_and_go_while_it_runs(ctx):
    """A reload opens and closes listeners; who is connected stays, whatever happens."""
    first, second = free_port(), free_port()
    server = Server(ctx, '-c', 'm.yaml', '--no-watch', files={'m.yaml': YAML.format(first)})
    server.await_log('listener.ready')
    client = ctx.keep(Wire('127.0.0.1', first))
    client.open('stays')
    client.subscribe('t', 1)
    server.write('m.yaml', YAML.format(first) + 'maximum_qos: 1\n' + 'max_packet_size: 1MiB\n')
    server.reload()
    server.await_log('config.restart_needed key="maximum_qos"')
    server.await_log('config.restart_needed key="max_packet_size"')
    server.write('m.yaml', YAML.format(first).replace(
        'storage_config', f"  - {{name: second, bind: '127.0.0.1:{second}'}}\nstorage_config"))
    server.reload()
    server.await_log('config.changed key="listeners[second]" change=added')
    equal(code(second, 'new'), SERVED, 'CONNACK of the new listener')
    server.write('m.yaml', YAML.format(second).replace('first', 'second'))
    server.reload()
    server.await_log('config.changed key="listeners[first]" change=removed')
    until(lambda: refuses(first), what='the first listener to be closed')
    client.send(wire.publish('t', b'x', 1, 7))
    equal(sorted(client.read().kind for _ in range(2)), [wire.PUBLISH, wire.PUBACK], 'answers')
    assert server.process.poll() is None


@test(not_mosquitto=OURS_ONLY)
def a_wrong_file_changes_nothing(ctx):
    """Every mistake is logged with its place; the broker goes on as it was."""
    port = free_port()
    server = Server(ctx, '-c', 'm.yaml', '--no-watch', files={'m.yaml': YAML.format(port)})
    server.await_log('listener.ready')
    server.write('m.yaml', 'max_clients: 0x\nlistenrs: []\n')
    server.reload()
    server.await_log('files.wrong why="m.yaml:1:14: error: max_clients: wants a whole number')
    server.await_log('files.wrong why="m.yaml:2:1: error: listenrs: there is no such key; did you')
    equal(code(port, 'c'), SERVED, 'CONNACK')
    server.write('m.yaml', YAML.format(port).replace('5', '6'))
    server.reload()
    server.await_log('config.changed key="max_clients" change=set from="5" to="6"')


@test(not_mosquitto=OURS_ONLY)
def limits_change_while_it_runs(ctx):
    """max_clients is one of them: two, then one more."""
    port = free_port()
    text = YAML.format(port).replace('max_clients: 5', 'max_clients: 1')
    server = Server(ctx, '-c', 'm.yaml', '--no-watch', files={'m.yaml': text})
    server.await_log('listener.ready')
    ctx.keep(Wire('127.0.0.1', port)).open('one')
    equal(code(port, 'two'), 0x89, 'CONNACK beyond the limit')
    server.write('m.yaml', text.replace('max_clients: 1', 'max_clients: 2'))
    server.reload()
    equal(code(port, 'two'), SERVED, 'CONNACK below the new limit')


@test(not_mosquitto=OURS_ONLY)
def a_changed_file_is_noticed(ctx):
    """Without a signal: the configuration, and the files it names."""
    port = free_port()
    auth = ("auth_config: {allow_anonymous: true, acl_file: acl.txt}\n")
    server = Server(ctx, '-c', 'm.yaml', files={
        'm.yaml': YAML.format(port) + auth, 'acl.txt': 'user * topic a permission readwrite\n'})
    server.await_log('listener.ready')

    def granted(topic):
        with Wire('127.0.0.1', port) as client:
            client.open('c')
            client.send(wire.subscribe(1, topic, 1))
            return client.expect(wire.SUBACK).body[-1]
    equal((granted('a'), granted('b')), (1, NOT_AUTHORIZED), 'SUBACK')
    server.write('acl.txt', 'user * topic b permission readwrite\n')
    server.await_log('files.reloaded cause="a file has changed"')
    equal((granted('a'), granted('b')), (NOT_AUTHORIZED, 1), 'SUBACK')
    server.write('m.yaml', YAML.format(port).replace('5', '6') + auth)
    server.await_log('config.changed key="max_clients"')


@test(not_mosquitto=OURS_ONLY)
def certificates_change_while_it_runs(ctx):
    """A new certificate is used by the next handshake."""
    port = free_port()
    server = Server(ctx, '--config', 'm.yaml', '--tls-host', f'127.0.0.1:{port}', '--tls-cert',
                    'server.pem', '--tls-key', 'server.key', '--storage-backend', 'memory',
                    files={'m.yaml': '{}'})
    equal(server.process.wait(5), 1, 'exit code without a certificate')
    Authority(server.folder).issue('server', 'before')
    server = Server(ctx, '--tls-host', f'127.0.0.1:{port}', '--tls-cert',
                    server.path('server.pem'), '--tls-key', server.path('server.key'),
                    '--storage-backend', 'memory')
    server.await_log('listener.ready')

    def subject():
        done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{port}'],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=10, check=False)
        return [line for line in done.stdout.splitlines() if line.startswith('subject=')]
    equal(subject(), ['subject=CN = before'], 'certificate')
    folder = os.path.dirname(server.process.args[server.process.args.index('--tls-cert') + 1])
    Authority(folder).issue('server', 'after')
    server.await_log('files.reloaded')
    until(lambda: subject() == ['subject=CN = after'], what='the new certificate')


@test(not_mosquitto=OURS_ONLY)
def a_mosquitto_conf_starts_a_broker(ctx):
    """With its password and ACL files; what cannot be taken over is said line by line."""
    port, other = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix='mqtt5-e2e-')
    subprocess.run(['mosquitto_passwd', '-b', '-c', 'pw', 'ann', 'secret'], cwd=folder, check=True,
                   timeout=20)
    os.mkdir(os.path.join(folder, 'conf.d'))
    files = {'acl': 'user ann\ntopic readwrite a/#\n',
             'conf.d/b.conf': f'listener {other} 127.0.0.1\nprotocol websockets\n',
             'conf.d/a.conf': f'listener {port} 127.0.0.1\n',
             'm.conf': f'allow_anonymous false\npassword_file {folder}/pw\nacl_file {folder}/acl\n'
                       f'pid_file /run/x\ninclude_dir {folder}/conf.d\nmax_keepalive 60\n'}
    for name, text in files.items():
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as out:
            out.write(text)
    server = Server(ctx, '--mosquitto-conf', f'{folder}/m.conf')
    server.await_log('listener.ready', 2)
    assert f'{folder}/m.conf:4:1: warning: pid_file: ' in server.log(), server.log()
    equal(code(port, 'nobody'), NOT_AUTHORIZED, 'CONNACK without a name')
    ours = ctx.ours('pub', '-H', '127.0.0.1', '-p', str(port), '-u', 'ann', '-P', 'secret', '-q',
                    '1', '-t', 'a/b', '-m', 'x')
    equal(ours.wait(10), 0, 'exit code of a publisher with the right password')


@test(once=True, not_mosquitto=OURS_ONLY)
def what_is_insecure_is_said_and_nothing_starts(ctx):
    """--check-config: exit code 0, 1 or 2, and a line for each thing."""
    equal(checked(ctx)[0], 0, 'exit code for the defaults')
    status, text = checked(ctx, '--host', '0.0.0.0:1', '--allow-anonymous')
    equal(status, 1, 'exit code for an open listener')
    assert 'everybody who reaches 0.0.0.0:1 may read and write everything' in text, text
    status, text = checked(ctx, '--host', '0.0.0.0:1')
    equal(status, 2, 'exit code for what would not start')
    password = 'ann:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$uZ4bXkvXMXL4b2cDmvNPGQ\n'
    status, text = checked(ctx, '--host', '0.0.0.0:1', '--auth-password-file', 'pw',
                           files={'pw': (0o644, password)})
    equal(status, 1, 'exit code for passwords in the clear')
    for words in ('passwords and tokens reach 0.0.0.0:1 in the clear',
                  'pw holds secrets, and every user of this machine may read it'):
        assert words in text, text
    status, text = checked(ctx, '--auth-password-file', 'pw', files={'pw': (0o600, 'ann\n')})
    equal(status, 2, 'exit code for a wrong password file')
    status, text = checked(ctx, '--acl-file', 'acl', files={
        'acl': (0o600, 'user anonymous topic # permission readwrite\n')})
    equal(status, 1, 'exit code for an ACL that allows all')
    assert 'lets clients without a name read everything (#)' in text, text
    status, text = checked(ctx, '--ws-host', '127.0.0.1:1', '--json')
    found = json.loads(text)
    equal((status, found['errors'], [p['code'] for p in found['problems']]),
          (1, 0, ['any-origin']), 'exit code and problems as JSON')


@test(once=True, not_mosquitto=OURS_ONLY)
def case_16_tls_options_on_a_default_listener_open_nothing(ctx):
    """Certificates without an address: this machine only, in TLS only, and it is said."""
    folder = tempfile.mkdtemp(prefix='mqtt5-e2e-')
    pem, key = Authority(folder).issue('server', 'localhost')
    status, text = checked(ctx, '--tls-cert', pem, '--tls-key', key)
    equal(status, 1, 'exit code')
    assert 'tls_config: has no bind_addresses (--tls-host), so TLS is served on this' in text, text
    conf = os.path.join(folder, 'm.conf')
    with open(conf, 'w', encoding='utf-8') as out:
        out.write(f'certfile {pem}\nkeyfile {key}\nallow_anonymous true\n')
    status, text = checked(ctx, '--mosquitto-conf', conf)
    equal(status, 1, 'exit code')
    assert 'it serves this machine only, on 127.0.0.1:1883 and [::1]:1883' in text, text


@test(once=True, not_mosquitto=OURS_ONLY)
def generate_config_writes_what_can_be_used(ctx):
    """Both formats, to a file that is never overwritten."""
    folder = tempfile.mkdtemp(prefix='mqtt5-e2e-')
    for form in ('yaml', 'json'):
        path = os.path.join(folder, f'm.{form}')
        made = ctx.ours('broker', 'generate-config', '-f', form, '-o', path)
        equal(made.wait(10), 0, 'exit code')
        equal(checked(ctx, '-c', path), (0, 'nothing is wrong with this configuration\n'),
              'what --check-config says')
        again = ctx.ours('broker', 'generate-config', '-f', form, '-o', path)
        equal(again.wait(10), 1, 'exit code for a file that exists')

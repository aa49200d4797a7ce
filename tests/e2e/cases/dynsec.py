# Dynamic security, administered by mosquitto_ctrl: clients, groups and roles that change while the
# broker runs, and count at once.
# SPDX-License-Identifier: MIT OR Apache-2.0
import json
import os
import shutil
import signal
import subprocess
import tempfile

from harness.context import Skip
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = 'the plugin is not loaded there'
ADMIN = 'admin'
PASSWORD = 'one secret'


class Admin:
    """A broker with dynamic security, and mosquitto_ctrl to change it."""

    def __init__(self, ctx):
        self.ctx = ctx
        folder = ctx.keep(Folder())
        self.file = os.path.join(folder.path, 'dynamic-security.json')
        try:
            subprocess.run(['mosquitto_ctrl', 'dynsec', 'init', self.file, ADMIN, PASSWORD],
                           check=True, capture_output=True, timeout=20)
        except FileNotFoundError as error:
            raise Skip('mosquitto_ctrl is not there') from error
        self.start()

    def start(self):
        """The broker, on this file."""
        return self.ctx.own_broker('--dynamic-security-file', self.file)

    def say(self, *command, wrong=False):
        """One command; what mosquitto_ctrl prints. WRONG: the broker answers with an error."""
        done = subprocess.run(
            ['mosquitto_ctrl', '-h', self.ctx.host, '-p', str(self.ctx.port), '-u', ADMIN, '-P',
             PASSWORD, 'dynsec', *command], capture_output=True, timeout=20, check=False)
        printed = (done.stdout + done.stderr).decode()
        lines = [line for line in printed.splitlines()
                 if line and not line.startswith(('Warning: You are running', 'This means all'))]
        failed = any('rror' in line for line in lines)
        assert failed == wrong, f'{command}: {lines}'
        return lines

    def stored(self):
        """The file."""
        with open(self.file, encoding='utf-8') as text:
            return json.load(text)


class Folder:
    """A folder of this test alone."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix='mqtt5-dynsec-')

    def close(self):
        """Removes it."""
        shutil.rmtree(self.path, ignore_errors=True)


def refused(ctx, *arguments):
    """mosquitto_pub does not get in, or may not publish."""
    child = ctx.run(['mosquitto_pub', '-h', ctx.host, '-p', str(ctx.port), '-V', 'mqttv5', '-q',
                     '1', *arguments])
    child.wait()
    text = child.stdout.decode() + child.stderr
    return child.process.returncode != 0 or 'ot authorized' in text


@test(limit_s=60, once=True, not_mosquitto=OURS_ONLY)
def mosquitto_ctrl_administers(ctx):
    """The commands of mosquitto_ctrl, what clients may do then, and what is in the file."""
    admin = Admin(ctx)
    admin.say('createRole', 'sensor')
    admin.say('createRole', 'sensor', wrong=True)
    admin.say('addRoleACL', 'sensor', 'publishClientSend', 'home/%u/#', 'allow', '5')
    admin.say('addRoleACL', 'sensor', 'subscribePattern', 'home/#', 'allow')
    admin.say('createClient', 'alice', '-p', 'pass1')
    alice = ['-u', 'alice', '-P', 'pass1']
    assert refused(ctx, *alice, '-t', 'home/alice/x', '-m', '1'), 'before she has a role'
    admin.say('addClientRole', 'alice', 'sensor', '3')
    watcher = ctx.subscribed(*alice, '-i', ctx.id('w'), '-t', 'home/#')
    ctx.pub(*alice, '-q', '1', '-t', 'home/alice/x', '-m', '1')
    assert refused(ctx, *alice, '-t', 'home/bob/x', '-m', '2'), 'another name'
    equal([m.topic for m in watcher.receive(1)], ['home/alice/x'], 'messages')
    equal(admin.say('getClient', 'alice')[1].split(), ['Clientid:'], 'client identifier')
    equal(admin.say('listClients'), ['admin', 'alice'], 'clients')
    equal(sorted(admin.say('listRoles')), ['admin', 'sensor'], 'roles')
    # What she subscribed to stays, and gives her nothing any more.
    admin.say('addRoleACL', 'sensor', 'publishClientReceive', 'home/#', 'deny')
    ctx.pub(*alice, '-q', '1', '-t', 'home/alice/x', '-m', '3')
    admin.say('removeRoleACL', 'sensor', 'publishClientReceive', 'home/#')
    ctx.pub(*alice, '-q', '1', '-t', 'home/alice/x', '-m', '4')
    equal([m.payload for m in watcher.receive(2)], [b'1', b'4'], 'messages')
    clients = {c['username']: c for c in admin.stored()['clients']}
    assert 'pass1' not in json.dumps(admin.stored())
    equal(clients['alice']['roles'], [{'rolename': 'sensor', 'priority': 3}], 'stored roles')


@test(limit_s=60, not_mosquitto=OURS_ONLY)
def disabled_and_deleted_clients_go(ctx):
    """On every worker: they are disconnected, and do not come in again."""
    admin = Admin(ctx)
    admin.say('createRole', 'all')
    admin.say('addRoleACL', 'all', 'subscribePattern', '#', 'allow')
    admin.say('createClient', 'alice', '-p', 'p1')
    admin.say('addClientRole', 'alice', 'all')
    alice = ['-u', 'alice', '-P', 'p1']
    for command in ('disableClient', 'deleteClient'):
        watchers = [ctx.subscribed(*alice, '-i', ctx.id(f'{command}{i}'), '-t', f'{command}/{i}')
                    for i in range(4)]
        admin.say(command, 'alice')
        for watcher in watchers:
            until(lambda w=watcher: 'DISCONNECT' in w.stdout.decode() + w.stderr or
                  w.process.poll() is not None, what='the end of a client that must go')
        assert refused(ctx, *alice, '-t', 'x', '-m', 'x'), command
        if command == 'disableClient':
            admin.say('enableClient', 'alice')
    admin.say('deleteClient', 'alice', wrong=True)


@test(limit_s=60, once=True, not_mosquitto=OURS_ONLY)
def what_was_answered_is_there_after_a_kill(ctx):
    """Groups, defaults and passwords are in the file when the answer comes."""
    admin = Admin(ctx)
    admin.say('createGroup', 'crew')
    admin.say('createRole', 'writer')
    admin.say('addRoleACL', 'writer', 'publishClientSend', 'log/#', 'allow')
    admin.say('addGroupRole', 'crew', 'writer')
    admin.say('createClient', 'bob', '-p', 'p1')
    admin.say('addGroupClient', 'crew', 'bob', '7')
    admin.say('setClientPassword', 'bob', 'p2')
    admin.say('setAnonymousGroup', 'crew')
    admin.say('setDefaultACLAccess', 'publishClientReceive', 'deny')
    ctx.broker.process.send_signal(signal.SIGKILL)
    ctx.broker.process.wait()
    admin.start()
    ctx.pub('-u', 'bob', '-P', 'p2', '-q', '1', '-t', 'log/1', '-m', 'x')
    ctx.pub('-q', '1', '-t', 'log/2', '-m', 'nobody')
    assert refused(ctx, '-u', 'bob', '-P', 'p1', '-t', 'log/1', '-m', 'x'), 'the old password'
    assert refused(ctx, '-t', 'other', '-m', 'x'), 'what the group may not'
    equal(admin.say('getDefaultACLAccess')[1].split(), ['publishClientReceive', ':', 'deny'],
          'default access')
    equal(admin.say('getAnonymousGroup'), ['crew'], 'anonymous group')


@test(limit_s=30, once=True, not_mosquitto=OURS_ONLY)
def only_administrators_administer(ctx):
    """Who is not allowed to cannot send commands, see them or their answers, or leave a will."""
    admin = Admin(ctx)
    topic = '$CONTROL/dynamic-security/v1'
    admin.say('createRole', 'all')
    admin.say('addRoleACL', 'all', 'publishClientSend', '#', 'allow')
    admin.say('addRoleACL', 'all', 'subscribePattern', '#', 'allow')
    admin.say('createClient', 'eve', '-p', 'p1')
    admin.say('addClientRole', 'eve', 'all')
    eve = ['-u', 'eve', '-P', 'p1']
    command = json.dumps({'commands': [{'command': 'deleteClient', 'username': ADMIN}]})
    assert refused(ctx, *eve, '-t', topic, '-m', command)
    assert refused(ctx, *eve, '-t', 'x', '-m', 'x', '--will-topic', topic, '--will-payload',
                   command), 'a will'
    watcher = ctx.subscribed(*eve, '-i', ctx.id('w'), '-t', '#')
    admin.say('createClient', 'secret', '-p', 'p2')
    ctx.pub(*eve, '-q', '1', '-t', 'end', '-m', 'x')
    equal([m.topic for m in watcher.receive(1)], ['end'], 'what eve sees')
    equal(admin.say('listClients'), ['admin', 'eve', 'secret'], 'clients')

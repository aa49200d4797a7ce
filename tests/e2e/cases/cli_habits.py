# How `mqttv5 pub` and `sub` behave between runs and people: reconnecting, options files, prompts.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import pathlib
import pty
import select
import subprocess
import tempfile
import time

from cases.cli import cli_test, place
from harness import wire
from harness.fake_server import FakeServer, connack
from harness.wait import equal

AGAIN = ['--auto-reconnect', '--reconnect-delay', '50ms']


def suback(link, code=0):
    """Reads a SUBSCRIBE and grants it; its body behind the packet id."""
    got = link.read()
    equal(got.first_byte, 0x82, 'SUBSCRIBE')
    link.send(wire.packet(0x90, got.body[:2] + b'\x00' + bytes([code])))
    return got.body[2:]


@cli_test(once=True)
def sub_comes_back(ctx):
    """--auto-reconnect subscribes again where the session is lost, and goes on."""
    server = ctx.keep(FakeServer())
    child = ctx.ours('sub', '-H', '127.0.0.1', '-p', server.port, '-t', 'a/+', '-q', '1', '-C', '2',
                     *AGAIN)
    subscriptions = []
    for text in (b'one', b'two'):
        link, _ = server.accept()
        link.send(connack(5))
        subscriptions.append(suback(link, 1))
        link.send(wire.packet(0x30, wire.text('a/b') + b'\x00' + text))
        child.lines.wait_for(lambda line, text=text: line == text.decode(), what=str(text))
        if text == b'one':
            link.close()
        else:
            ctx.keep(link)
    equal((child.wait(), child.stdout), (0, b'one\ntwo\n'), 'status and stdout')
    equal(subscriptions[0], subscriptions[1], 'subscriptions')
    assert 'connection lost' in child.stderr, child.stderr


@cli_test(once=True)
def pub_comes_back(ctx):
    """--auto-reconnect sends again what was not acknowledged; exit 0 when it is at last."""
    server = ctx.keep(FakeServer())
    child = ctx.ours('pub', '-H', '127.0.0.1', '-p', server.port, '-t', 'a', '-l', '-q', '1',
                     *AGAIN, stdin=b'one\ntwo\n')
    link, _ = server.accept()
    link.send(connack(5))
    equal(link.expect(wire.PUBLISH).payload, b'one', 'payload')
    link.close()
    link, _ = server.accept()
    ctx.keep(link)
    link.send(connack(5))
    got = []
    while len(got) < 2:
        publish = link.expect(wire.PUBLISH)
        got.append(publish.payload)
        link.send(wire.packet(0x40, publish.packet_id.to_bytes(2, 'big')))
    link.expect(wire.DISCONNECT)
    link.close()
    equal((child.wait(), sorted(got)), (0, [b'one', b'two']), 'status and payloads')


@cli_test(once=True)
def without_it_a_loss_is_the_end(ctx):
    """No --auto-reconnect: exit 1."""
    server = ctx.keep(FakeServer())
    child = ctx.ours('sub', '-H', '127.0.0.1', '-p', server.port, '-t', 'a')
    link, _ = server.accept()
    link.send(connack(5))
    suback(link)
    link.close()
    equal(child.wait(), 1, 'exit status')
    assert 'connection lost' in child.stderr, child.stderr


@cli_test()
def options_file(ctx):
    """~/.config/mqttv5/pub.conf counts behind variables and flags."""
    watcher = ctx.watcher(ctx.topic('#'))
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home) / '.config' / 'mqttv5'
        folder.mkdir(parents=True)
        (folder / 'pub.conf').write_text(
            f'# where\nhost {ctx.host}\n--port={ctx.port}\ntopic {ctx.topic("file")}\n'
            'message from the file\nproperty publish user-property who the file\n')
        home_only = {'HOME': home, 'XDG_CONFIG_HOME': ''}
        ctx.ours('pub', env=home_only).succeed()
        ctx.ours('pub', env={**home_only, 'MQTT5_TOPIC': ctx.topic('env')}).succeed()
        ctx.ours('pub', '-t', ctx.topic('flag'),
                 env={**home_only, 'MQTT5_TOPIC': ctx.topic('env')}).succeed()
        wrong = ctx.ours('pub', '--options-file', '', '-H', ctx.host, '-p', ctx.port,
                         env=home_only)
        equal(wrong.wait(), 2, 'exit status without the file')
    got = watcher.receive(3)
    equal([m.topic.rpartition('/')[2] for m in got], ['file', 'env', 'flag'], 'topics')
    equal(got[0].property('UserProperty'), [('who', 'the file')], 'property')


class Terminal:
    """A program whose standard input and error are a terminal."""

    def __init__(self, argv):
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen([str(a) for a in argv], stdin=theirs, stderr=theirs,
                                        stdout=subprocess.PIPE)
        os.close(theirs)
        self.text = ''

    def expect(self, text, timeout_s=10):
        """Reads until TEXT has been shown."""
        deadline = time.monotonic() + timeout_s
        while text not in self.text:
            ready, _, _ = select.select([self._ours], [], [], deadline - time.monotonic())
            if not ready:
                raise AssertionError(f'no {text!r} in {self.text!r}')
            self.text += os.read(self._ours, 4096).decode()
        self.text = self.text.partition(text)[2]

    def type(self, line):
        """Types LINE."""
        os.write(self._ours, line.encode() + b'\n')

    def close(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@cli_test()
def prompts(ctx):
    """On a terminal what is missing is asked for, and again when it will not do."""
    watcher = ctx.watcher(ctx.topic('#'))
    terminal = Terminal([ctx.kind.binary, 'pub', *place(ctx)])
    ctx.keep(terminal)
    terminal.expect('Topic')
    terminal.type('a/#')
    terminal.expect('wildcard')
    terminal.expect('Topic')
    terminal.type(ctx.topic('typed'))
    terminal.expect('Message')
    terminal.type('words')
    terminal.expect('Quality of service')
    terminal.type('3')
    terminal.expect('exactly once')
    terminal.expect('[0]')
    terminal.type('1')
    equal(terminal.process.wait(10), 0, 'exit status')
    got = watcher.receive(1)[0]
    equal((got.topic, got.payload, got.qos), (ctx.topic('typed'), b'words', 1), 'message')


@cli_test(once=True)
def no_prompts(ctx):
    """--non-interactive makes what is missing an error, on a terminal too."""
    for command in ('pub', 'sub'):
        terminal = Terminal([ctx.kind.binary, command, '--non-interactive', '-H', '127.0.0.1', '-p',
                             '1'])
        ctx.keep(terminal)
        terminal.expect('--topic is missing')
        equal(terminal.process.wait(10), 2, 'exit status')

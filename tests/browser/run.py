#!/usr/bin/env python3
"""MQTT.js in Node.js over TCP, TLS, WebSocket and both, and in Chromium over WebSocket.

    tests/browser/run.py [--binary PATH] [--mosquitto] [--screenshots FOLDER] [FILTER...]

A FILTER is a part of "node tls" or "chromium wss". MQTT.js is what package-lock.json pins; npm
puts it below build/. The page is served on the loopback; Chromium gets a profile of its own.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import argparse
import contextlib
import filecmp
import http.server
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / 'e2e'))

from harness.broker import TLS, WS, WSS, Broker, BrokerKind, die_with_parent   # noqa: E402
from harness.certificates import spki_hash                                  # noqa: E402

CHECKS = 14              # lines that a whole conversation reports
CONVERSATION_S = 120
NPM_S = 180
TYPES = {'.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript'}
# Without these Chromium looks for its maker's hosts, which tests have no business with.
CHROMIUM_FLAGS = ['--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
                  '--disable-background-networking', '--disable-component-update',
                  '--disable-sync', '--window-size=900,700']


def install_modules(build):
    """MQTT.js as package-lock.json pins it; the folder that holds node_modules."""
    folder = build / 'browser'
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / 'installed.json'
    lock = HERE / 'package-lock.json'
    if done.exists() and filecmp.cmp(lock, done, shallow=False):
        return folder
    for name in ('package.json', 'package-lock.json'):
        shutil.copy(HERE / name, folder / name)
    subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], cwd=folder,
                   check=True, stdin=subprocess.DEVNULL, timeout=NPM_S,
                   stdout=subprocess.DEVNULL)
    shutil.copy(lock, done)
    return folder


class Judge:
    """Takes the lines of conversations and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def take(self, client, lines):
        """The lines of one conversation, which must be whole."""
        checks = [line for line in lines if line.startswith(('ok ', 'FAIL '))]
        for line in checks:
            verdict, _, text = line.partition(' ')
            print(f'{verdict:4} {client}: {text}', flush=True)
            self.passed += verdict == 'ok'
            self.failed += verdict != 'ok'
        if len(checks) != CHECKS or lines[-1:] != ['done']:
            self.fail(client, f'{len(checks)} checks of {CHECKS} were made')

    def fail(self, client, why):
        """Something that is no check went wrong."""
        print(f'FAIL {client}: {why}', flush=True)
        self.failed += 1

    def skip(self, client, why):
        """It cannot be tried here."""
        print(f'skip {client}: {why}', flush=True)
        self.skipped += 1


# ------------------------------------------------------------------------------------- Node.js

def talk_in_node(judge, client, modules, url, authority):
    """One conversation in a process of Node.js."""
    command = ['node', str(HERE / 'node_client.mjs'), str(modules), url]
    command += [authority] if authority else []
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=CONVERSATION_S, check=False, preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired as late:
        judge.fail(client, f'not done after {CONVERSATION_S} s: {(late.stdout or b"")[-500:]}')
        return
    judge.take(client, done.stdout.splitlines())
    if done.returncode != 0:
        judge.fail(client, f'exit status {done.returncode}: {done.stderr[-2000:]}')


# ------------------------------------------------------------------------------------ Chromium

class PageServer(http.server.ThreadingHTTPServer):
    """Serves the page and takes what it reports."""

    daemon_threads = True

    def __init__(self, modules):
        self.files = {name: HERE / name for name in ('page.html', 'conversation.mjs')}
        self.files['mqtt.min.js'] = modules / 'node_modules/mqtt/dist/mqtt.min.js'
        self.lines = queue.Queue()
        self.done = threading.Event()
        super().__init__(('127.0.0.1', 0), PageHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def page(self, url):
        """The address of the page that talks to the broker at URL."""
        return (f'http://127.0.0.1:{self.server_address[1]}/page.html?'
                + urllib.parse.urlencode({'url': url}))

    def conversation(self):
        """The lines of one conversation, to its end or the end of patience."""
        lines, deadline = [], time.monotonic() + CONVERSATION_S
        self.done.clear()
        while lines[-1:] != ['done']:
            try:
                lines.append(self.lines.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        self.done.set()
        return lines


class PageHandler(http.server.BaseHTTPRequestHandler):
    """GET of a file, POST of a result."""

    def do_GET(self):   # pylint: disable=invalid-name
        """One of the files; a picture that is there when all is said, and holds up `load`."""
        if self.path == '/done.png':
            self.server.done.wait(CONVERSATION_S)
        path = self.server.files.get(urllib.parse.urlparse(self.path).path.lstrip('/'))
        if path is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Type', TYPES[path.suffix])
        self.end_headers()
        self.wfile.write(path.read_bytes())

    def do_POST(self):   # pylint: disable=invalid-name
        """A line of the conversation."""
        size = int(self.headers.get('Content-Length', 0))
        self.server.lines.put(self.rfile.read(size).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format, *args):   # pylint: disable=redefined-builtin
        """Silent."""


@contextlib.contextmanager
def chromium(page, more):
    """A headless browser on that page, ended with all of its processes."""
    profile = tempfile.mkdtemp(prefix='mqtt5-chromium-')
    root = ['--no-sandbox'] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        ['chromium', *CHROMIUM_FLAGS, *root, f'--user-data-dir={profile}', *more, page],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=die_with_parent)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def talk_in_chromium(judge, client, server, broker, transport, screenshots):
    """One conversation in a page; with a folder for it, a picture of a second one."""
    more = []
    if transport == WSS:
        more.append('--ignore-certificate-errors-spki-list='
                    + spki_hash(broker.folder, broker.certificate[0]))
    page = server.page(broker.url(transport))
    with chromium(page, more):
        judge.take(client, server.conversation())
    if screenshots:
        picture = pathlib.Path(screenshots).resolve() / f'{transport}.png'
        with chromium(page, [*more, f'--screenshot={picture}']) as process:
            server.conversation()
            process.wait(30)


# ------------------------------------------------------------------------------------ the suite

def run(options, judge):
    """Every conversation against one broker."""
    def wanted(client):
        return not options.filters or any(f in client for f in options.filters)

    modules = install_modules(options.build)
    kind = BrokerKind(options.binary, mosquitto=options.mosquitto)
    with Broker(kind, 2, listeners=(TLS, WS, WSS)) as broker:
        for transport in ('tcp', TLS, WS, WSS):
            if wanted(f'node {transport}'):
                authority = broker.authority.file if transport in (TLS, WSS) else None
                talk_in_node(judge, f'node {transport}', modules, broker.url(transport), authority)
        server = PageServer(modules)
        for transport in (WS, WSS):
            client = f'chromium {transport}'
            if not wanted(client):
                continue
            if not shutil.which('chromium'):
                judge.skip(client, 'there is no chromium (Debian: chromium)')
                continue
            talk_in_chromium(judge, client, server, broker, transport, options.screenshots)
        server.shutdown()
        if not broker.is_running():
            judge.fail('broker', f'it died with {broker.process.returncode}: {broker.log()}')


def main():
    """Runs the conversations; the exit status says whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--binary', default=str(ROOT / 'build/release/mqttv5'))
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build',
                        help='where npm may put what it fetches')
    parser.add_argument('--mosquitto', action='store_const', const='/usr/sbin/mosquitto',
                        help="talk to Debian's Mosquitto, to test the tests")
    parser.add_argument('--screenshots', help='a folder for pictures of the page')
    parser.add_argument('filters', nargs='*')
    options = parser.parse_args()
    missing = [name for name in ('node', 'npm') if not shutil.which(name)]
    if missing:
        sys.exit(f'run.py: {" and ".join(missing)} missing (Debian: nodejs, npm)')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    judge = Judge()
    run(options, judge)
    print(f'{judge.passed} passed, {judge.failed} failed'
          + (f', {judge.skipped} skipped' if judge.skipped else ''))
    return 1 if judge.failed or not judge.passed else 0


if __name__ == '__main__':
    sys.exit(main())

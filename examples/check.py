#!/usr/bin/env python3
"""Runs the examples, and checks that docs/ shows nothing else.

    examples/check.py FOLDER      the folder that the examples were built into

Every fenced C block of docs/client.md must be found, word for word, in one of the examples.
SPDX-License-Identifier: MIT OR Apache-2.0
"""
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT_S = 60


def check_docs():
    sources = [path.read_text() for path in sorted(HERE.glob('*.c'))]
    text = (HERE.parent / 'docs' / 'client.md').read_text()
    blocks = re.findall(r'^```c\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    if not blocks:
        sys.exit('docs/client.md shows no code')
    for block in blocks:
        if not any(block in source for source in sources):
            sys.exit(f'docs/client.md: not in an example:\n{block}')


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False,
                          timeout=TIMEOUT_S)
    if done.returncode != 0:
        sys.exit(f'{program} ended with {done.returncode}: {done.stdout}{done.stderr}')
    return done.stdout


def check_tls(folder):
    """A client that knows who vouches for the broker, and one that does not."""
    with tempfile.TemporaryDirectory() as place:
        certificate, key = f'{place}/cert.pem', f'{place}/key.pem'
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                        'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
                        '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
                        '-keyout', key, '-out', certificate],
                       check=True, capture_output=True, timeout=TIMEOUT_S)
        with subprocess.Popen([folder / 'broker_with_tls', certificate, key, '0'],
                              stdout=subprocess.PIPE, text=True) as broker:
            try:
                for url in broker.stdout.readline().split():
                    if run(folder / 'secure_client', url, certificate) != \
                            'told the server that CA vouches for\n':
                        sys.exit('secure_client printed something else')
                    done = subprocess.run([folder / 'secure_client', url], capture_output=True,
                                          text=True, check=False, timeout=TIMEOUT_S)
                    if done.returncode != 1 or '(MQTT5_ERR_TLS)' not in done.stderr:
                        sys.exit(f'secure_client trusts a stranger: {done}')
            finally:
                broker.terminate()


def check_programs(folder):
    broker = subprocess.Popen([folder / 'simple_broker', '0'], stdout=subprocess.PIPE, text=True)
    try:
        port = broker.stdout.readline().split()[-1]
        url = f'mqtt://127.0.0.1:{port}'
        if run(folder / 'simple_client', url) != 'sensors/temp/data: 25.5 °C\n':
            sys.exit('simple_client printed something else')
        if run(folder / 'publish_many', url, '20000') != '20000 messages acknowledged\n':
            sys.exit('publish_many printed something else')
        if run(folder / 'resilient_publisher', url, '1000') != 'all readings arrived\n':
            sys.exit('resilient_publisher printed something else')
        if run(folder / 'request_answer', url) != '21.5 °C\n':
            sys.exit('request_answer printed something else')
        if run(folder / 'test_with_mock') != 'tested\n':
            sys.exit('test_with_mock printed something else')
        if run(folder / 'shared_subscription_demo', url) != ''.join(
                f'worker {number} has done 10 jobs\n' for number in (1, 2, 3)):
            sys.exit('shared_subscription_demo printed something else')
        if run(folder / 'message_expiry', url) != \
                'sun tomorrow (for less than an hour from now)\n':
            sys.exit('message_expiry printed something else')
        if sorted(run(folder / 'broker_with_monitoring').splitlines()) != \
                ['clients/connected: 1', 'subscriptions/count: 1']:
            sys.exit('broker_with_monitoring printed something else')
        if run(folder / 'test_with_broker') != 'tested\n':
            sys.exit('test_with_broker printed something else')
    finally:
        broker.terminate()
        code = broker.wait(TIMEOUT_S)
    if code != 0:
        sys.exit(f'simple_broker ended with {code}')


if __name__ == '__main__':
    check_docs()
    check_programs(pathlib.Path(sys.argv[1]))
    check_tls(pathlib.Path(sys.argv[1]))

# Keys and certificates for one test, made by openssl: an authority, a server, clients, strangers.
# SPDX-License-Identifier: MIT OR Apache-2.0
import os
import subprocess

NAMES = 'DNS:localhost,IP:127.0.0.1,IP:::1'
DAYS = '2'


def openssl(*arguments, folder):
    """Runs one command of openssl, which must succeed."""
    done = subprocess.run(['openssl', *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, f'openssl {arguments}: {done.stderr.decode()}'
    return done.stdout.decode()


class Authority:
    """A self-signed authority in a folder: NAME.pem, NAME.key."""

    def __init__(self, folder, name='ca'):
        self.folder, self.name = folder, name
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                '-days', DAYS, '-subj', f'/CN=authority {name}', '-keyout', f'{name}.key',
                '-out', f'{name}.pem', folder=folder)
        self.file = os.path.join(folder, f'{name}.pem')

    def issue(self, name, common_name, alternatives=NAMES):
        """NAME.pem and NAME.key, signed; returns their paths."""
        with open(os.path.join(self.folder, f'{name}.ext'), 'w', encoding='ascii') as out:
            out.write(f'subjectAltName={alternatives}\n' if alternatives
                      else 'keyUsage=digitalSignature\n')
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj',
                f'/CN={common_name}', '-keyout', f'{name}.key', '-out', f'{name}.csr',
                folder=self.folder)
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', f'{self.name}.pem', '-CAkey',
                f'{self.name}.key', '-CAcreateserial', '-days', DAYS, '-extfile', f'{name}.ext',
                '-out', f'{name}.pem', folder=self.folder)
        return tuple(os.path.join(self.folder, f'{name}.{end}') for end in ('pem', 'key'))


def spki_hash(folder, certificate):
    """The hash of a certificate's public key, as Chromium takes it on its command line."""
    script = ('openssl x509 -in "$1" -pubkey -noout | openssl pkey -pubin -outform der | '
              'openssl dgst -sha256 -binary | openssl base64')
    done = subprocess.run(['sh', '-c', script, 'sh', certificate], cwd=folder, check=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    return done.stdout.decode().strip()

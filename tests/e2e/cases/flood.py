# Peers that keep the broker busy with handshakes, or hold on to connections for ever by saying
# next to nothing: those who are connected must not notice.
#
# The machine is shared, and a broker that is busy waits for a processor like anybody else. So every
# round measures three times: at rest; while ordinary clients keep the broker as busy as they can;
# while the attack goes on. What the attack costs beyond the second is its own.
# SPDX-License-Identifier: MIT OR Apache-2.0
import contextlib
import os
import select
import signal
import socket
import ssl
import statistics
import time

from harness import proc, wire
from harness.broker import TLS, WS, die_with_parent
from harness.registry import test
from harness.wait import equal, until

OURS_ONLY = "our program's own behaviour"
ROUNDS = 3
PING_S = 1.2            # for each of the three measurements of a round
FACTOR = 3.0
FLOOR_S = 0.001         # below it, ratios are the machine's noise
PINGS = wire.packet(0xC0) * 4096
CLIENTS = 4             # over TCP, and as many over TLS


class Pinger:
    """Clients that are there already: a message to themselves, again and again."""

    def __init__(self, ctx, broker):
        self.links = []
        for i in range(CLIENTS):
            plain = ctx.keep(wire.Wire(broker.host, broker.port))
            context = ssl.create_default_context(cafile=broker.authority.file)
            bare = socket.create_connection((broker.host, broker.ports[TLS]), 15)
            bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = wire.Wire.__new__(wire.Wire)
            secure.adopt(context.wrap_socket(bare, server_hostname='localhost'))
            self.links += [plain, ctx.keep(secure)]
            for kind, link in (('tcp', plain), ('tls', secure)):
                link.open(f'{kind}{i}')
                link.subscribe(f'{kind}{i}')
        self.names = [f'{kind}{i}' for i in range(CLIENTS) for kind in ('tcp', 'tls')]

    def p99_s(self, seconds=PING_S):
        """How long the slowest hundredth of the messages takes, there and back."""
        times, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            for name, link in zip(self.names, self.links):
                started = time.perf_counter()
                link.send(wire.publish(name, b'ping'))
                link.expect(wire.PUBLISH)
                times.append(time.perf_counter() - started)
        times.sort()
        return times[len(times) * 99 // 100]


def client_hello():
    """The first flight of a client of TLS 1.3, to be sent again and again."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    hello = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    return outgoing.read()


def flood_handshakes(address):
    """Sends ClientHellos, and nothing more, as fast as they are answered, on 64 connections."""
    hello, poller, open_sockets = client_hello(), select.epoll(), {}
    while True:
        while len(open_sockets) < 64:
            sock = socket.socket()
            sock.connect(address)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            sock.sendall(hello)
            open_sockets[sock.fileno()] = sock
            poller.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        for number, _ in poller.poll(1.0):
            open_sockets.pop(number).close()        # its server has signed for nothing


def ask(address):
    """Eight clients that keep the broker busy with what is cheap: PINGREQ, 4,096 at a time."""
    poller, links = select.epoll(), {}
    for i in range(8):
        link = wire.Wire(*address)
        link.open(f'busy{i}')
        link.socket.sendall(PINGS)
        links[link.socket.fileno()] = [link.socket, 0]
        poller.register(link.socket.fileno(), select.EPOLLIN)
    while True:
        for number, _ in poller.poll(1.0):
            entry = links[number]
            entry[1] += len(entry[0].recv(65536))
            if entry[1] >= len(PINGS):
                entry[1] -= len(PINGS)
                entry[0].sendall(PINGS)


def trickle(addresses, starts):
    """Holds 300 connections open, each with a byte now and then of what it never finishes."""
    held = []
    while True:
        while len(held) < 300:
            sock = socket.create_connection(addresses[len(held) % len(addresses)])
            sock.setblocking(False)
            held.append([sock, starts[len(held) % len(starts)], 0])
        for entry in list(held):
            sock, text, at = entry
            try:
                sock.send(text[at % len(text):at % len(text) + 1])
                entry[2] += 1
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                held.remove(entry)
        time.sleep(0.02)        # a hundred bytes a second from each would be no trickle


@contextlib.contextmanager
def attack(function, *arguments):
    """A process that does nothing else, ended at the end."""
    child = os.fork()
    if child == 0:
        try:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            function(*arguments)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    equal((ended, status), (0, 0), 'the attacker ended by itself')


def compare(broker, pinger, under_attack, figure):
    """Over rounds, the medians of the p99 at rest and beside busy clients, and the least under
    attack: whatever else the machine does only adds to it, what the broker lets an attack do is in
    every round. FIGURE is called before and under attack: its difference tells that it arrived."""
    pid = broker.process.pid
    idle = proc.descriptors(pid)
    at_rest, beside, under, figures = [], [], [], []
    for _ in range(ROUNDS):
        until(lambda: proc.descriptors(pid) <= idle, what='the end of the attack before')
        at_rest.append(pinger.p99_s())
        with attack(ask, (broker.host, broker.port)):
            time.sleep(0.2)     # until it is at work: there is no event to wait for
            beside.append(pinger.p99_s())
        until(lambda: proc.descriptors(pid) <= idle, what='the end of the busy clients')
        before = figure()
        with under_attack():
            time.sleep(0.2)
            under.append(pinger.p99_s())
            figures.append(figure() - before)
    medians = [statistics.median(at_rest), statistics.median(beside), min(under)]
    print('p99 at rest {:.2f} ms, beside busy clients {:.2f} ms, '
          'under attack {:.2f} ms'.format(*(1000 * m for m in medians)), flush=True)
    return medians, statistics.median(figures)


def judge(medians):
    """Within three times of what it was: at rest, or with the broker as busy otherwise."""
    at_rest, beside, under = medians
    allowed = FACTOR * max(at_rest, beside, FLOOR_S)
    assert under <= allowed, (f'p99 under attack {1000 * under:.2f} ms, at rest '
                              f'{1000 * at_rest:.2f}, beside busy clients {1000 * beside:.2f}')


@test(limit_s=120, alone=True, not_mosquitto=OURS_ONLY)
def case_44_a_flood_of_handshakes_leaves_clients_alone(ctx):
    """As many ClientHellos as the broker answers: the others' p99 stays within three times."""
    broker = ctx.own_broker('--log-level', 'error', listeners=(TLS,))
    pinger = Pinger(ctx, broker)
    pinger.p99_s(0.5)
    medians, spent = compare(
        broker, pinger, lambda: attack(flood_handshakes, (broker.host, broker.ports[TLS])),
        lambda: proc.cpu_s(broker.process.pid))
    assert spent > 0.1, f'the flood cost the broker {spent:.2f} s of processor time: it was none'
    judge(medians)


@test(limit_s=120, alone=True, not_mosquitto=OURS_ONLY)
def case_44_slow_loris_leaves_clients_alone(ctx):
    """300 connections that never finish their CONNECT, ClientHello or request, a byte at a time."""
    broker = ctx.own_broker('--connect-timeout', '2s', '--log-level', 'error',
                            listeners=(TLS, WS))
    pinger = Pinger(ctx, broker)
    pinger.p99_s(0.5)
    head = b'GET /mqtt HTTP/1.1\r\nHost: localhost\r\nX-Padding: ' + b'x' * 4000
    starts = (wire.connect('slow' * 2000), client_hello(), head)
    addresses = [(broker.host, broker.ports[name]) for name in ('tcp', TLS, WS)]
    medians, held = compare(broker, pinger, lambda: attack(trickle, addresses, starts),
                            lambda: proc.descriptors(broker.process.pid))
    assert held > 100, f'the broker held {held} connections of the attacker: it was none'
    judge(medians)

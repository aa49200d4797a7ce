# `mqttv5 bench`: what it finds right, and what it must find wrong.
# SPDX-License-Identifier: MIT OR Apache-2.0
import json
import pathlib
import tempfile
import threading

from cases.cli import cli_test, place
from harness import wire
from harness.context import Skip
from harness.fake_server import FakeServer, connack
from harness.programs import has_command
from harness.wait import equal


def bench(ctx, *arguments):
    """mqttv5 bench, short, as JSON."""
    if not has_command(ctx.kind.binary, 'bench'):
        raise Skip('no mqttv5 bench')
    child = ctx.ours('bench', *place(ctx), '--duration', '300ms', '--warmup', '100ms', '-t',
                     ctx.topic('b'), '--json', *arguments)
    return json.loads(child.succeed())


@cli_test(limit_s=60.0)
def throughput(ctx):
    """At each QoS everything arrives, once and in order."""
    for qos in (0, 1, 2):
        got = bench(ctx, '-q', qos, '--publishers', '3', '--subscribers', '2', '--inflight', '20')
        assert got['published'] > 0 and got['received'] > 0, got
        equal((got['mode'], got['delivered_ratio'], got['lost'], got['duplicates'],
               got['reordered'], got['foreign'], got['error']),
              ('throughput', 1, 0, 0, 0, 0, None), f'result at QoS {qos}')
        equal(got['received_in_all'], got['sent_in_all'], 'deliveries')
        assert got['latency']['min_us'] <= got['latency']['p50_us'] <= got['latency']['max_us']


@cli_test(limit_s=60.0)
def shapes(ctx):
    """Fan-out, fan-in, wildcards and shared subscriptions count their deliveries right."""
    for flags, factor in ((['--topics', '1', '--subscribers', '5'], 5),
                          (['--publishers', '5', '--subscribers', '1'], 1),
                          (['--publishers', '3', '--subscribers', '2', '-f',
                            ctx.topic('b') + '/#'], 2),
                          (['--publishers', '2', '--subscribers', '3', '-f',
                            '$share/g/' + ctx.topic('b') + '/+'], 1),
                          (['--topics', '8', '--subscribers', '3'], 1),
                          (['--subscribers', '0'], 0)):
        got = bench(ctx, '-q', '1', '--inflight', '5', *flags)
        equal((got['expected_in_all'], got['received_in_all']),
              (factor * got['sent_in_all'],) * 2, f'deliveries of {flags}')


@cli_test(limit_s=60.0)
def open_loop(ctx):
    """A rate is kept, and the picture is one."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'plot.svg'
        got = bench(ctx, '--mode', 'latency', '--rate', '200', '--duration', '1s', '--plot', path)
        text = path.read_text(encoding='utf-8')
    equal((got['sent_in_all'], got['lost'], got['not_sent_in_time']), (220, 0, 0), 'messages')
    assert got['latency']['p50_us'] >= got['latency_from_send']['p50_us'] - 1, got
    assert text.startswith('<svg ') and text.endswith('</svg>\n'), text[-80:]


@cli_test(limit_s=60.0)
def hol_blocking(ctx):
    """The figures of head-of-line blocking are there."""
    got = bench(ctx, '--mode', 'hol-blocking', '--rate', '400', '--topics', '3')
    equal(len(got['topics_us']), 3, 'topics')
    for key in ('raw_correlation', 'windowed_correlation', 'detrended_correlation',
                'spike_isolation_ratio', 'inter_arrival_cluster_ratio'):
        assert -1.000001 <= got[key] <= 1.000001, f'{key}: {got[key]}'
    assert set(got['inter_topic_spread_us']) == {'mean', 'p95', 'max'}


@cli_test(limit_s=60.0)
def connections(ctx):
    """Connections are made, and none fails."""
    got = bench(ctx, '--mode', 'connections', '--concurrency', '4')
    assert got['successful'] > 0, got
    equal((got['failed'], got['total']), (0, got['successful']), 'connections')
    child = ctx.ours('bench', '-H', '127.0.0.1', '-p', '1', '--mode', 'connections', '--duration',
                     '100ms')
    equal(child.wait(), 1, 'exit status where nobody listens')
    assert 'refused' in child.stderr, child.stderr


@cli_test(once=True)
def nobody_listens(ctx):
    """Exit 1, with the reason, and nothing on stdout."""
    child = ctx.ours('bench', '-H', '127.0.0.1', '-p', '1')
    equal((child.wait(), child.stdout), (1, b''), 'status and stdout')
    assert 'refused' in child.stderr, child.stderr


def forward(publisher, subscriber, damage):
    """A server of one publisher and one subscriber; damage(number, packet): what is delivered."""
    number = 0
    while True:
        got = publisher.read()
        if got is None or got.kind == wire.DISCONNECT:
            return
        if got.kind != wire.PUBLISH:
            continue
        body = bytes([*got.body])
        topic_end = 2 + int.from_bytes(body[:2], 'big')
        publisher.send(wire.packet(0x40, body[topic_end:topic_end + 2]))
        for packet in damage(number, wire.packet(0x30, body[:topic_end] + body[topic_end + 2:])):
            subscriber.send(packet)
        number += 1


def run_damaged(ctx, damage):
    """mqttv5 bench at QoS 1 against a server that does damage: child and its JSON."""
    server = ctx.keep(FakeServer())
    child = ctx.ours('bench', '-H', '127.0.0.1', '-p', server.port, '--rate', '100', '--duration',
                     '1s', '--warmup', '0', '-q', '1', '--json')
    subscriber, _ = server.accept()
    ctx.keep(subscriber)
    publisher, _ = server.accept()
    ctx.keep(publisher)
    for link in (subscriber, publisher):
        link.send(connack(5))
    request = subscriber.read()
    subscriber.send(wire.packet(0x90, request.body[:2] + b'\x00\x01'))
    work = threading.Thread(target=forward, args=(publisher, subscriber, damage), daemon=True)
    work.start()
    status = child.wait()
    publisher.close()
    subscriber.close()
    return child, status, json.loads(child.stdout)


@cli_test(once=True)
def losses_are_found(ctx):
    """A message of QoS 1 that was acknowledged and never delivered: exit 1."""
    child, status, got = run_damaged(ctx, lambda number, packet: [] if number == 10 else [packet])
    equal((status, got['lost'], got['duplicates'], got['sent_in_all']), (1, 1, 0, 100), 'result')
    assert '1 messages of QoS 1 were lost' in child.stderr, child.stderr


@cli_test(once=True)
def copies_and_order_are_found(ctx):
    """Messages that come twice, or behind a later one, are counted, and no failure at QoS 1."""
    held = []

    def damage(number, packet):
        if number == 5:
            held.append(packet)
            return []
        return [packet, packet] if number == 8 else [packet, held[0]] if number == 6 else [packet]
    _, status, got = run_damaged(ctx, damage)
    equal((status, got['lost'], got['duplicates'], got['reordered']), (0, 0, 1, 1), 'result')


@cli_test(once=True)
def stalls_are_not_left_out(ctx):
    """A server that stands still for 300 ms shows in as many latencies as were due meanwhile."""
    held = []

    def damage(number, packet):
        if number < 50:
            return [packet]
        held.append(packet)
        return [] if number < 80 else [held.pop(0) for _ in range(len(held))]
    _, status, got = run_damaged(ctx, damage)
    equal((status, got['lost']), (0, 0), 'result')
    # 30 of 100 messages waited, the first of them 300 ms, the last not at all.
    assert got['latency']['p90_us'] > 150000, got['latency']
    assert got['latency']['max_us'] > 290000, got['latency']
    equal(got['latency']['messages'], 100, 'messages that were measured')

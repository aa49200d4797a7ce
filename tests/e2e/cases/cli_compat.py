# What scripts expect of mosquitto_sub and mosquitto_pub, beside those programs themselves.
# SPDX-License-Identifier: MIT OR Apache-2.0
import re

from cases.cli import cli_test, place, pub, sub
from harness.wait import equal

PROPERTIES = {'ContentType': 'text/plain', 'ResponseTopic': 're/ply', 'CorrelationData': b'corr',
              'UserProperty': [('a', '1'), ('b', '2'), ('a', '3')], 'PayloadFormatIndicator': 1}
# Every letter; with flags, widths and precisions where the manual page has them.
FORMATS = [
    '%%', '%5%', '@@', '%A|%5A|%05A|%-5A|', '%C|%14C|%-14C|%.2C|%014C|%14.3C|', '%D|%9D|',
    '%E|%5E|%-5E|', '%F|%3F|%-3F|%03F|', '%l|%5l|%05l|%-5l|', '%m|%5m|%05m|', '%P|%30P|', '%p',
    '%q|%3q|%r|%3r|', '%R|%9R|%-9R|%.2R|', '%S|%4S|%04S|', '%t|%90t|%-90t|%.3t|%12.3t|', '%x',
    '%X', '%j', '@Y @a @j @%', 'a\\\\b\\ac\\ed\\nE\\rf\\tg\\vh\\0i', 'plain', '%J',
]
TIMES = {'%I': r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}\n', '%U': r'\d{10}\.\d{9}\n',
         '@N': r'\d{9}\n', '@Y-@m-@dT@H:@M:@S@z': r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}\n'}


def theirs(ctx, *arguments):
    """mosquitto_sub, to its end: exit status and stdout."""
    child = ctx.run(['mosquitto_sub', '-h', ctx.host, '-p', ctx.port, '-V', 'mqttv5', *arguments])
    return child.wait(), child.stdout


def ours(ctx, *arguments):
    """mqttv5 sub with the same arguments."""
    child = ctx.ours('sub', *place(ctx), *arguments)
    return child.wait(), child.stdout


def timeless(text):
    """Without what differs from one run to the next."""
    return re.sub(rb'"tst":"[^"]*"', b'"tst":""', text)


def compare_formats(ctx, topic, formats, qos=2):
    """Both programs print the retained message of TOPIC alike."""
    for form in formats:
        flags = ['-t', topic, '-q', qos, '-C', '1', '-F', form]
        equal([timeless(part) if isinstance(part, bytes) else part for part in ours(ctx, *flags)],
              [timeless(part) if isinstance(part, bytes) else part for part in theirs(ctx, *flags)],
              f'output of {form}')


@cli_test(limit_s=90.0, first=True)
def sub_formats(ctx):
    """Every letter of -F prints the bytes that mosquitto_sub prints."""
    source = ctx.connected('pub')
    source.publish(ctx.topic('all'), '{"a":[1,2],"b":"x"}', 2, True, MessageExpiryInterval=4000000,
                   **PROPERTIES)
    source.publish(ctx.topic('bare'), 'say "hi"\\ \t\n\u00fc', 0, True)
    compare_formats(ctx, ctx.topic('all'), [f for f in FORMATS if '%E' not in f])
    compare_formats(ctx, ctx.topic('bare'), [f for f in FORMATS if f != '%J'], 0)
    status, expiry = ours(ctx, '-t', ctx.topic('all'), '-C', '1', '-F', '%E|%10E|%-8E|')
    left = rb'(39\d{5}|4000000)'
    wanted = left + rb'\|   ' + left + rb'\|' + left + rb' \|\n'
    assert status == 0 and re.fullmatch(wanted, expiry), expiry


@cli_test(limit_s=60.0)
def sub_format_times(ctx):
    """The letters of time have the form of mosquitto_sub's."""
    ctx.connected('pub').publish(ctx.topic('x'), 'x', 0, True)
    for form, pattern in TIMES.items():
        flags = ['-t', ctx.topic('x'), '-C', '1', '-F', form]
        for status, output in (ours(ctx, *flags), theirs(ctx, *flags)):
            assert status == 0 and re.fullmatch(pattern.encode(), output), f'{form}: {output!r}'


@cli_test()
def sub_format_no_json(ctx):
    """%J of what is no JSON: a word on stderr, and the rest of the line, as with mosquitto_sub."""
    ctx.connected('pub').publish(ctx.topic('x'), '{"a":', 0, True)
    flags = ['-t', ctx.topic('x'), '-C', '1', '-F', '<%J>']
    equal(ours(ctx, *flags), theirs(ctx, *flags), 'status and stdout')
    child = ctx.ours('sub', *place(ctx), *flags)
    child.wait()
    assert 'no JSON' in child.stderr, child.stderr


@cli_test(limit_s=60.0)
def sub_choices(ctx):
    """-C, -W, -T, -R, -N, -E and their exit codes, as mosquitto_sub has them."""
    source = ctx.connected('pub')
    for name in ('a', 'b/1', 'b/2', 'c'):
        source.publish(ctx.topic(name), name, 1, True)
    everything = ['-t', ctx.topic('#'), '-q', '1', '-F', '%t %p']
    # The order of retained messages is the server's business.
    for flags in ([*everything, '-C', '4'], [*everything, '-T', ctx.topic('b/#'), '-C', '2'],
                  [*everything, '-R', '-W', '1'], [*everything, '-W', '1'],
                  [*everything, '-C', '9', '-W', '1'],
                  ['-t', ctx.topic('a'), '-t', ctx.topic('c'), '-N', '-C', '2', '-F', '%p\n'],
                  ['-t', ctx.topic('nobody'), '-E'], ['-t', ctx.topic('a'), '-C', '1', '-N']):
        (status, output), (their_status, their_output) = ours(ctx, *flags), theirs(ctx, *flags)
        equal((status, sorted(output.split(b'\n'))),
              (their_status, sorted(their_output.split(b'\n'))), f'status and stdout of {flags}')


@cli_test()
def sub_remove_retained(ctx):
    """--remove-retained --retained-only empties a tree but for what -T names."""
    source = ctx.connected('pub')
    for name in ('a', 'keep', 'z'):
        source.publish(ctx.topic(name), name, 1, True)
    child = ctx.ours('sub', *place(ctx), '-t', ctx.topic('#'), '--remove-retained',
                     '--retained-only', '-T', ctx.topic('keep'), '-q', '1')
    child.succeed()
    equal(ours(ctx, '-t', ctx.topic('#'), '-W', '1'), (27, b'keep\n'), 'what is left')


@cli_test()
def pub_sources_as_theirs(ctx):
    """-n, -s, -l, -f, -m with --repeat send what mosquitto_pub sends."""
    watcher = ctx.watcher(ctx.topic('#'))
    cases = [(['-n'], None), (['-s'], b'two\nlines\n'), (['-l'], b'one\n\nthree\nlast'),
             (['-m', 'x', '--repeat', '3'], None), (['-f', '/etc/hostname'], None)]
    for flags, stdin in cases:
        more = ['--interval', '0'] if '--repeat' in flags else []
        pub(ctx, '-t', ctx.topic('ours'), '-q', '1', *flags, *more, stdin=stdin)
        ctx.pub('-t', ctx.topic('theirs'), '-q', '1', *flags, stdin=stdin)
    count = 1 + 1 + 4 + 3 + 1
    got = watcher.receive(2 * count)
    equal([m.payload for m in got if m.topic.endswith('ours')],
          [m.payload for m in got if m.topic.endswith('theirs')], 'payloads')


@cli_test()
def properties_as_theirs(ctx):
    """-D with the same words makes the same properties."""
    watcher = ctx.watcher(ctx.topic('x'))
    words = ['-D', 'publish', 'content-type', 'a/b', '-D', 'publish', 'user-property', 'k', 'v w',
             '-D', 'publish', 'correlation-data', 'data', '-D', 'publish', 'response-topic', 'r/t',
             '-D', 'publish', 'payload-format-indicator', '1', '-D', 'connect', 'receive-maximum',
             '7']
    pub(ctx, '-t', ctx.topic('x'), '-m', 'x', *words)
    ctx.pub('-t', ctx.topic('x'), '-m', 'x', *words)
    names = ('ContentType', 'UserProperty', 'CorrelationData', 'ResponseTopic',
             'PayloadFormatIndicator')
    ours_got, theirs_got = watcher.receive(2)
    equal([ours_got.property(name) for name in names],
          [theirs_got.property(name) for name in names], 'properties')


@cli_test()
def sub_unsubscribe(ctx):
    """--unsubscribe takes a filter of a kept session away."""
    common = ['-c', ctx.id('c'), '--no-clean-start', '-x', 'never', '-q', '1']
    ctx.ours('sub', *place(ctx), *common, '-t', ctx.topic('a'), '-t', ctx.topic('b'),
             '-E').succeed()
    ctx.ours('sub', *place(ctx), *common, '--unsubscribe', ctx.topic('a'), '-E').succeed()
    source = ctx.connected('pub')
    source.publish(ctx.topic('a'), 'lost', 1)
    source.publish(ctx.topic('b'), 'kept', 1)
    equal(ours(ctx, *common, '-t', ctx.topic('b'), '-C', '1'), (0, b'kept\n'), 'what is kept')


@cli_test()
def pub_reads_as_it_comes(ctx):
    """-l publishes a line when it is there, not at the end of the input."""
    child = sub(ctx, '-t', ctx.topic('x'), '-C', '1')
    source = ctx.run(['sh', '-c', '{ echo first; sleep 20; } | "$0" "$@"', ctx.kind.binary, 'pub',
                      *place(ctx), '-t', ctx.topic('x'), '-l'])
    equal(child.succeed(10), b'first\n', 'stdout of sub')
    source.close()


@cli_test(limit_s=60.0)
def pub_large_input(ctx):
    """Twenty thousand lines through QoS 1 and 2, none lost, in order."""
    lines = b''.join(b'%d\n' % i for i in range(20000))
    for qos in (1, 2):
        child = sub(ctx, '-t', ctx.topic('x'), '-q', qos, '-C', '20000')
        pub(ctx, '-t', ctx.topic('x'), '-q', qos, '-l', stdin=lines)
        assert child.succeed(30) == lines, f'output differs at QoS {qos}'

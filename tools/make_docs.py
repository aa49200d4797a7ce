"""Makes what docs/ says about flags, figures, log lines and statements from the source.

check_docs.py runs it. A page keeps its own prose; what stands between the lines
`<!-- made: NAME -->` and `<!-- end -->` is made here.
"""
# SPDX-License-Identifier: MIT OR Apache-2.0
import json
import re
import subprocess

import check_requirements
import mutate_sample
import source

# What the broker does at each limit: flag -> (answer, counters below $SYS/broker/).
ANSWERS = {
    'max-qos': ('PUBLISH above it: DISCONNECT 0x9B; a will: CONNACK 0x9B; SUBSCRIBE is granted '
                'less', ['errors/protocol']),
    'keep-alive': ('told in CONNACK; silence of 1.5 times it: DISCONNECT 0x8D, the will is '
                   'published', ['limits/keep_alive']),
    'keep-alive-max': ('a longer one, or none, is lowered, as CONNACK says', ['limits/keep_alive']),
    'session-expiry': ('a longer one is lowered, as CONNACK says', ['clients/expired']),
    'topic-alias-maximum': ('an alias above it: DISCONNECT 0x94', ['errors/protocol']),
    'topic-alias-outgoing-max': ('topics beyond are sent in full', []),
    'sys-interval': ('', []),
    'max-clients': ('CONNACK 0x89; more than 256 above it, closed at once',
                    ['limits/connections']),
    'sessions-max': ('CONNACK 0x97; sessions that exist go on', ['limits/sessions']),
    'connect-timeout': ('closed without an answer', ['limits/connect_timeout']),
    'connect-packet-max': ('closed', ['limits/packet_size']),
    'maximum-packet-size': ('DISCONNECT 0x95', ['limits/packet_size']),
    'receive-maximum': ('DISCONNECT 0x93', ['limits/receive_maximum']),
    'inflight-max': ('further messages wait in the queue', ['messages/queued']),
    'client-id-size-max': ('CONNACK 0x85', ['limits/client_ids']),
    'subscriptions-max': ('SUBACK 0x97', ['limits/subscriptions']),
    'subscriptions-per-session-max': ('SUBACK 0x97', ['limits/subscriptions']),
    'topic-levels-max': ('PUBACK or PUBREC 0x90, SUBACK and UNSUBACK 0x8F; where no code can be '
                         'sent back, DISCONNECT', ['limits/topic_levels']),
    'user-properties-max': ('DISCONNECT 0x97; in a CONNECT, CONNACK 0x97',
                            ['limits/user_properties']),
    'queued-messages-max': ('`--queue-policy` says which message is dropped',
                            ['limits/queued', 'publish/messages/dropped']),
    'queued-bytes-max': ('the same', ['limits/queued', 'publish/messages/dropped']),
    'output-bytes-max': ('QoS 0 is dropped, QoS 1 and 2 wait in the queue',
                         ['limits/output', 'publish/messages/dropped']),
    'retained-messages-max': ('PUBACK or PUBREC 0x97, not delivered either; QoS 0 is dropped',
                              ['limits/retained']),
    'retained-bytes-max': ('the same', ['limits/retained']),
    'retained-message-size-max': ('the same', ['limits/retained']),
    'memory-max': ('CONNACK 0x89, SUBACK, PUBACK and PUBREC 0x97; a connection that cannot be '
                   'answered is closed', ['limits/memory']),
    'store-bytes-max': ('connections with unanswered messages are not read from until less '
                        'waits; above twice of it CONNACK 0x89',
                        ['limits/store', 'store/pending/bytes']),
    'no-retain': ('PUBLISH: DISCONNECT 0x9A; a will: CONNACK 0x9A', ['errors/protocol']),
    'no-wildcards': ('SUBACK 0xA2', []),
    'no-shared': ('SUBACK 0x9E', []),
    'no-subscription-identifiers': ('SUBACK 0xA1', []),
    'connections-per-user-max': ('CONNACK 0x97', ['limits/user_connections']),
    'connections-per-address-max': ('CONNACK 0x97', ['limits/address_connections']),
    'subscriptions-per-user-max': ('SUBACK 0x97', ['limits/subscriptions']),
    **{f'{who}-{what}-in': ('`--rate-action` says what happens', ['limits/message_rate'])
       for who in ('client', 'user', 'address') for what in ('messages', 'bytes')},
    **{f'{who}-{what}-out': ('QoS 0 is dropped, QoS 1 and 2 wait', ['limits/outbound_rate'])
       for who in ('client', 'user', 'address') for what in ('messages', 'bytes')},
    'rate-burst': ('', []),
    'rate-action': ('', []),
}
# Figures that no flag explains: what they count.
FIGURES = {
    'limits/connections': 'refused or closed for `--max-clients`',
    'limits/sessions': 'refused for `--sessions-max`',
    'limits/client_ids': 'refused for `--client-id-size-max`',
    'limits/subscriptions': 'subscriptions refused for one of the two limits',
    'limits/topic_levels': 'topics and filters refused for `--topic-levels-max`',
    'limits/user_properties': 'packets refused for `--user-properties-max`',
    'limits/packet_size': 'packets over a size limit, theirs or ours',
    'limits/receive_maximum': 'connections closed for `--receive-maximum`',
    'limits/queued': 'messages dropped because a session\'s queue was full',
    'limits/output': 'QoS 0 messages dropped because too much was unsent',
    'limits/retained': 'retained messages refused',
    'limits/memory': 'refusals for want of memory',
    'limits/message_rate': 'times that a connection was made to wait, or a message was refused, '
                           'because it came too soon',
    'limits/outbound_rate': 'messages of QoS 0 dropped, and times that others had to wait, '
                            'because they would have been sent too soon',
    'limits/user_connections': 'connections refused: the user has as many as may be',
    'limits/address_connections': 'connections refused: their address has as many as may be',
    'limits/control': 'messages to `$CONTROL` refused: too many were waiting',
    'limits/store': 'messages, subscriptions and connections refused: they could not be stored',
    'limits/connect_timeout': 'connections without a CONNECT in time',
    'limits/keep_alive': 'connections closed for silence',
    'clients/connected': 'clients with a connection', 'clients/active': 'the same',
    'clients/total': 'sessions, connected or not',
    'clients/disconnected': 'sessions without a connection', 'clients/inactive': 'the same',
    'clients/maximum': 'most clients connected at a time', 'clients/expired': 'sessions expired',
    'connections/count': 'open connections, also those without CONNECT yet',
    'connections/opened': 'connections since the start',
    'connections/refused': 'connections turned away by a listener: banned, over a limit, no or a '
                           'wrong handshake',
    'handshakes/done': 'handshakes of TLS and WebSocket that were done',
    'handshakes/failed': 'those that failed, or were given up',
    'bytes/received': 'every byte read', 'bytes/sent': 'every byte written',
    'messages/received': 'packets of all types', 'messages/sent': 'packets of all types',
    'messages/inflight': 'QoS 1 and 2 sent and not complete',
    'messages/stored': 'waiting, in flight and retained',
    'messages/queued': 'waiting in queues of sessions',
    'messages/expired': 'expired before they were sent',
    'messages/publish/received': 'PUBLISH packets', 'messages/publish/sent': 'PUBLISH packets',
    'publish/messages/received': 'the same by another name',
    'publish/messages/sent': 'the same by another name',
    'publish/messages/dropped': 'not delivered: refused, too large, or a queue was full',
    'publish/bytes/received': 'bytes of payloads', 'publish/bytes/sent': 'bytes of payloads',
    'retained messages/count': 'retained messages', 'retained/count': 'the same',
    'retained/bytes': 'bytes that they take',
    'store/messages/count': 'as messages/stored', 'store/messages/bytes': 'bytes that they take',
    'subscriptions/count': 'subscriptions of all sessions',
    'shared_subscriptions/count': 'those of them that are shared',
    'store/failing': '1 while the store cannot be written, else 0',
    'store/waiting': 'answers, and deliveries of QoS 2, that wait for the store',
    'store/pending/bytes': 'memory of changes that wait to be stored',
    'store/commits': 'groups that were synced', 'store/changes': 'changes in them',
    'store/failures': 'attempts to store that failed',
    'store/commit_us': 'microseconds that the last group took',
    'store/bytes/used': 'bytes of the map that are in use',
    'store/bytes/file': 'bytes of the map and the log on disk',
    'heap/current': 'bytes allocated by the engine', 'heap/maximum': 'the most there were',
    'errors/malformed': 'packets that could not be read',
    'errors/protocol': 'packets that broke a rule',
    'denied/connect': 'CONNECTs refused', 'denied/publish': 'PUBLISHes and wills refused',
    'denied/subscribe': 'subscriptions refused',
    'denied/deliver': 'deliveries withheld from a subscriber without the right',
}
EVENTS = {
    'broker.starting': 'the process and its number of workers',
    'broker.stopping': 'a drain has begun', 'broker.stopped': 'it is over',
    'drain.timeout': 'connections were closed before all was written',
    'listener.ready': 'an address is listened on',
    'keys.read': 'an issuer of tokens gives its keys (again)',
    'keys.failing': 'an issuer of tokens does not: those that it gave serve for a time',
    'listener.skipped': 'one of a name\'s addresses could not be bound',
    'listener.closed': 'a listener was taken away while the broker runs; its connections stay',
    'listener.paused': 'accepting failed and is tried again later',
    'descriptors.few': 'fewer file descriptors than `--max-clients` needs',
    'descriptors.exhausted': 'there are none left: the system\'s limit',
    'connection.refused': 'a connection the engine did not take',
    'connection.dropped': 'closed before its CONNECT was complete',
    'client.connected': 'CONNECT accepted', 'client.refused': 'CONNECT refused, and why',
    'client.disconnected': 'DISCONNECT, from either side',
    'client.lost': 'the connection broke', 'client.subscribed': 'a filter, and how it was granted',
    'client.unsubscribed': 'a filter', 'session.taken_over': 'by a connection with the same id',
    'session.expired': 'nobody came back in time', 'queue.full': 'the first message dropped',
    'limit.reached': 'which limit, and for whom', 'signal.received': 'SIGTERM or SIGINT',
    'files.reloaded': 'a reload, and why: the configuration and the files it names were read again',
    'files.wrong': 'a reload: one of them is wrong, and where; all stays as it was',
    'config.changed': 'a reload: a key that counts from now on, and what it was',
    'config.restart_needed': 'a reload: a key that counts after a restart only',
    'store.ready': 'what was read back from the store, and how long it took',
    'store.damaged': 'the store could not be read whole; what was set aside under which name',
    'store.failing': 'storing fails, and why; said once',
    'store.recovered': 'storing works again',
    'store.left': 'at the end: what could not be stored; nothing of it was acknowledged',
    'log.suppressed': 'how many lines of an event were left out',
}
TYPES = {'string': 'text', 'bool': 'true or false', 'integer': 'number', 'seconds': 'seconds',
         'milliseconds': 'a time', 'interval': 'milliseconds', 'size': 'bytes', 'property': 'words'}


class Missing(Exception):
    """Something new that the tables above do not explain."""


def explain(table, name, what):
    """The words for a name; a new name needs some."""
    if name not in table:
        raise Missing(f'{what} {name} is not explained in tools/make_docs.py')
    return table[name]


def read_reference(binary):
    """Commands and options, as the program prints them."""
    done = subprocess.run([str(binary), 'help', '--json'], stdout=subprocess.PIPE, check=True,
                          timeout=30)
    return json.loads(done.stdout)


# --------------------------------------------------------------------------------- configuration

def cell(text):
    """Text inside a table's cell."""
    return str(text).replace('|', '\\|')


def value_range(option):
    """What may be given."""
    if option['type'] == 'choice':
        return ', '.join(f'`{choice}`' for choice in option['choices'])
    text = TYPES[option['type']] + (', repeatable' if option['repeatable'] else '')
    if option['min'] == option['max'] == 0:
        return text
    if option['max'] == 2**64 - 1:
        return f'{text}, {option["min"]} or more'
    return f'{text}, {option["min"]} to {option["max"]}'


def default(option):
    """The default, as one would type it."""
    return f'`{option["default"]}`' if option['default'] is not None else \
        ('off' if option['type'] == 'bool' else '')


def flag(option):
    """`-t`, `--topic TOPIC`"""
    short = f'`-{option["alias"]}`, ' if option['alias'] else ''
    value = f' {option["value"]}' if option['value'] and option['type'] != 'choice' else ''
    others = ', '.join(f'`{name}`' for name in other_names(option))
    return f'{short}`--{option["name"]}{value}`' + (f' (also {others})' if others else '')


def other_names(option):
    """-C, --synonym"""
    return ([f'-{option["also"]}'] if option['also'] else []) + \
        ([f'--{option["synonym"]}'] if option['synonym'] else [])


def at_limit(option):
    """What happens, and which figure counts it."""
    if option['name'] not in ANSWERS:
        return ''
    text, counters = ANSWERS[option['name']]
    counted = ', '.join(f'`{counter}`' for counter in counters)
    return text + (f' ({counted})' if counted else '')


def make_flags(reference):
    """The flags of `mqttv5 broker` that are no keys of its configuration."""
    keys = {key['flag'] for section in reference['configuration'] for key in section['keys']}
    broker = next(c for c in reference['commands'] if c['name'] == 'broker')
    lines = ['| flag | default | values | what it does |', '| --- | --- | --- | --- |']
    for option in broker['options']:
        if option['name'] not in keys:
            lines.append('| ' + ' | '.join(cell(column) for column in (
                flag(option), default(option), value_range(option), option['help'])) + ' |')
    return '\n'.join(lines)


def key_values(key):
    """What a key may be."""
    text = key['type']
    if key['range'] and key['type'] == 'word':
        return ', '.join(f'`{word}`' for word in key['range'].split(', '))
    return f'{text}, {key["range"]}' if key['range'] else text


def key_default(key):
    """Its default, or where its own table is."""
    if key['section'] is not None:
        return f'[below](#{section_anchor(key["section"])})'
    return f'`{key["default"]}`' if key['default'] is not None else ''


def key_flag(key):
    """Its flag; its variable only where that has another name."""
    if key['flag'] is None:
        return ''
    usual = 'MQTT5_' + key['flag'].replace('-', '_').upper()
    return f'`--{key["flag"]}`' + (f' (`{key["variable"]}`)' if key['variable'] != usual else '')


def section_title(path):
    """The heading of a section's table."""
    return f'Section `{path}`'


def section_anchor(path):
    """What a link to that heading is written as."""
    title = section_title(path).lower().replace(' ', '-')
    return re.sub(r'[^a-z0-9_-]', '', title)


def key_help(key):
    """What it sets, its other names, what happens at the limit, and when a change counts."""
    text = key['help']
    if key['also']:
        text += '. Also ' + ', '.join(f'`{name}`' for name in key['also'].split())
    if key['flag'] in ANSWERS and at_limit({'name': key['flag']}):
        text += '. At the limit: ' + at_limit({'name': key['flag']})
    return text + ('. *Restart*' if key['restart'] else '')


KEY_HEAD = ['| key | values | default | flag | what it sets |', '| --- | --- | --- | --- | --- |']


def make_keys(reference):
    """The tables of keys, one a section."""
    lines = []
    for section in reference['configuration']:
        if section['path']:
            lines += ['', f'### {section_title(section["path"])}', '', *KEY_HEAD]
        group = None
        for key in section['keys']:
            group = key['group'] or group
            if key['group']:
                lines += ['', f'### {key["group"]}', '', *KEY_HEAD]
            if group and group.startswith(('Limits', 'Rates')) and key['flag']:
                explain(ANSWERS, key['flag'], 'limit')
            if key['type'] != 'absent':
                lines.append('| ' + ' | '.join(cell(column) for column in (
                    f'`{key["name"]}`', key_values(key), key_default(key), key_flag(key),
                    key_help(key))) + ' |')
    return '\n'.join(lines).strip()


def make_absent(reference):
    """Keys of others."""
    lines = ['| key | what to do instead |', '| --- | --- |']
    for section in reference['configuration']:
        for key in section['keys']:
            name = f'{section["path"]}.{key["name"]}'.lstrip('.')
            if key['type'] == 'absent' and not section['path'].startswith('listeners'):
                lines.append(f'| `{name}` | {cell(key["help"])} |')
    return '\n'.join(lines)


def make_variables(reference):
    """Variables that are not simply MQTT5_ and the flag's name."""
    lines = []
    for command in reference['commands']:
        for option in command['options']:
            usual = 'MQTT5_' + option['name'].replace('-', '_').upper()
            if option['env'] not in ('', usual):
                lines.append(f'- `mqttv5 {command["name"]} --{option["name"]}`: `{option["env"]}`')
    return '\n'.join(lines)


def make_figures(root):
    """The $SYS topics."""
    text = (root / 'src/broker/sys.c').read_text(encoding='utf-8')
    figures, loads = text.split('#define LOADS(X)')[0], text.split('#define LOADS(X)')[1]
    loads = loads.split('#define X')[0]
    lines = ['| topic below `$SYS/broker/` | what it says |', '| --- | --- |']
    for topic, words in (('version', 'the broker and its version'),
                         ('implementation', '`mqtt5`'), ('protocol_version', '`5.0`'),
                         ('uptime', 'seconds since the start, as `12 seconds`')):
        if f'"{topic}"' not in text:
            raise Missing(f'$SYS/broker/{topic} is gone from sys.c')
        lines.append(f'| `{topic}` | {words} |')
    names = re.findall(r'X\("([^"]+)"', figures)
    for topic in names:
        lines.append(f'| `{topic}` | {explain(FIGURES, topic, "figure")} |')
    for topic in re.findall(r'X\("([^"]+)"', loads):
        lines.append(f'| `load/{topic}/1min`, `/5min`, `/15min` | average per minute |')
    counters = {counter for _, counted in ANSWERS.values() for counter in counted}
    for counter in counters - set(names):
        raise Missing(f'a limit is counted by {counter}, which sys.c does not have')
    return '\n'.join(lines)


def make_events(root):
    """The log's events."""
    text = (root / 'src/host/log.h').read_text(encoding='utf-8')
    lines = ['| event | level | what has happened |', '| --- | --- | --- |']
    for level, name in re.findall(r'X\([A-Z_]+, ([A-Z]+), "([a-z_.]+)"\)', text):
        lines.append(f'| `{name}` | {level.lower()} | {explain(EVENTS, name, "event")} |')
    return '\n'.join(lines)


# ----------------------------------------------------------------------------------- conformance

def collect(root):
    """Statement -> where it is cited: [source files], [(file, title)], [other tests]."""
    places = {}
    for name in source.files(root):
        if name.parts[0] not in ('src', 'include', 'tests') or \
                name.suffix not in ('.c', '.h', '.py', '.txt'):
            continue
        text = (root / name).read_text(encoding='utf-8', errors='replace')
        if name.parts[:2] == ('tests', 'golden') and name.suffix == '.txt':
            for title, rules in mutate_sample.conversations(text):
                for rule in rules:
                    places.setdefault(rule, ([], [], []))[1].append((name.stem, title))
            continue
        for rule in sorted(set(check_requirements.CITATION.findall(text))):
            kind = 2 if name.parts[0] == 'tests' else 0
            places.setdefault(rule, ([], [], []))[kind].append(str(name))
    return places


def short_list(items, most):
    """The first of them, and how many more there are."""
    shown = '; '.join(items[:most])
    return shown + (f'; and {len(items) - most} more' if len(items) > most else '')


def read_statements(root):
    """The list of statements."""
    complain = source.Complaints()
    return list(check_requirements.read_statements(root, complain).values())


def built(root, statement):
    """Whether the transport that it binds exists."""
    return not statement.transport or (root / 'src/transport' / statement.transport).is_dir()


def make_counts(root):
    """The sums."""
    statements, places = read_statements(root), collect(root)
    now = [s for s in statements if built(root, s)]
    server = [s for s in now if s.bound in check_requirements.SERVER]
    nothing = ([], [], [])

    def count(group, kinds):
        return sum(any(places.get(s.name, nothing)[kind] for kind in kinds) for s in group)
    lines = ['| | statements | cited in the source | in a golden conversation | '
             'in any test |', '| --- | --- | --- | --- | --- |']
    for title, group in (('bind a server (or both sides)', server),
                         ('bind a client only', [s for s in now if s not in server]),
                         ('bind a transport that is not there yet',
                          [s for s in statements if s not in now])):
        lines.append(f'| {title} | {len(group)} | {count(group, [0])} | {count(group, [1])} | '
                     f'{count(group, [1, 2])} |')
    lines.append(f'| all | {len(statements)} | {count(statements, [0])} | '
                 f'{count(statements, [1])} | {count(statements, [1, 2])} |')
    return '\n'.join(lines)


def make_statements(root):
    """One row for each statement."""
    places = collect(root)
    lines = ['| statement | binds | obeyed in | shown by |', '| --- | --- | --- | --- |']
    for statement in read_statements(root):
        code, golden, tests = places.get(statement.name, ([], [], []))
        bound = statement.bound + (f' ({statement.transport})' if statement.transport else '')
        obeyed = short_list([f'`{name}`' for name in code], 3)
        by_file = {}
        for name, title in golden:
            by_file.setdefault(name, []).append(re.sub(r'\$\d', '...', title))
        shown = [f'{name}: *{titles[0]}*' + (f' (+{len(titles) - 1})' if titles[1:] else '')
                 for name, titles in by_file.items()]
        shown += [f'`{name.removeprefix("tests/")}`' for name in tests]
        if not built(root, statement):
            obeyed = 'transport to come'
        lines.append('| ' + ' | '.join(cell(column) for column in (
            statement.name, bound, obeyed, short_list(shown, 3))) + ' |')
    return '\n'.join(lines)


def make_breaks(root):
    """The rules that were broken, and what noticed."""
    complain = source.Complaints()
    breaks = mutate_sample.read_sample(root, complain)
    results = json.loads((root / mutate_sample.RESULTS).read_text(encoding='utf-8'))
    noticed = sum(results[one.title]['failed'] > 0 for one in breaks if one.title in results)
    lines = [f'{len(breaks)} breaks, {noticed} noticed.', '',
             '| what was broken | statements | where | conversations that failed |',
             '| --- | --- | --- | --- |']
    for one in breaks:
        if one.title not in results:
            raise Missing(f'the break "{one.title}" was never played: tools/mutate_sample.py')
        failed = results[one.title]['failed']
        text = results[one.title]['example'] if failed else f'none: {one.why}'
        text += f'; and {failed - 1} more' if failed > 1 else ''
        if not failed and not one.why:
            raise Missing(f'nothing noticed "{one.title}": say `why:` in {mutate_sample.SAMPLE}')
        lines.append('| ' + ' | '.join(cell(column) for column in (
            one.title, ' '.join(one.rules),
            ', '.join(f'`{path}`' for path, _, _ in one.edits), text)) + ' |')
    return '\n'.join(lines)


# ---------------------------------------------------------------------------------- manual pages

def roff(text):
    """Text for the manual's formatter."""
    text = text.replace('\\', '\\e').replace('-', '\\-')
    return re.sub(r"^(['.])", r'\\&\1', text, flags=re.MULTILINE)


def roff_option(option):
    """One .TP paragraph."""
    name = (f'\\fB\\-{option["alias"]}\\fR, ' if option['alias'] else '') + \
        f'\\fB{roff("--" + option["name"])}\\fR'
    if option['value']:
        name += f' \\fI{roff(option["value"])}\\fR'
    text = option['help'][0].upper() + option['help'][1:] + '.'
    if option['choices'] and option['choices'] != (option['value'] or '').split('|'):
        text += ' One of ' + ', '.join(option['choices']) + '.'
    if option['repeatable']:
        text += ' May be repeated.'
    if other_names(option):
        text += f' Also {", ".join(other_names(option))}.'
    if option['default'] is not None:
        text += f' Default: {option["default"]}.'
    if option['env']:
        text += f' Variable: {option["env"]}.'
    return f'.TP\n{name}\n{roff(text)}\n'


def man_head(title, section_name, version, summary, synopsis):
    """Everything before the options."""
    return (f'.\\" Made from the option tables by tools/check_docs.py --fix.\n'
            f'.TH {title} 1 "" "mqtt5 {version}" "User Commands"\n'
            f'.SH NAME\n{roff(section_name)} \\- {roff(summary)}\n'
            f'.SH SYNOPSIS\n{synopsis}\n')


def see_also(names):
    """The last section."""
    return '.SH SEE ALSO\n' + ',\n'.join(f'.BR {roff(name)} (1)' for name in names) \
        .replace(',\n.BR', ' ,\n.BR') + '\n'


def make_manual(reference, command):
    """mqttv5-COMMAND(1)"""
    name = f'mqttv5-{command["name"]}'
    text = man_head(name.upper(), name, reference['version'], command['summary'],
                    f'.B mqttv5 {command["name"]}\n{roff(command["usage"])}')
    if command['notes']:
        text += '.SH DESCRIPTION\n.nf\n' + roff(command['notes']) + '.fi\n'
    if command['options']:
        has_file = any(o['name'] == 'options-file' for o in command['options'])
        text += '.SH OPTIONS\nA flag counts before its variable, and that before the ' + \
            ('options file and the ' if has_file else '') + 'default.\n'
    for option in command['options']:
        if option['group']:
            text += f'.SS {roff(option["group"])}\n'
        text += roff_option(option)
    text += '.SH EXIT STATUS\n0: it worked. 1: it did not. 2: the command line makes no sense.\n'
    text += roff(command['exits'] or '') + ('\n' if command['exits'] else '')
    others = [c['name'] for c in reference['commands'] if c is not command]
    return text + see_also(['mqttv5'] + [f'mqttv5-{other}' for other in others])


def make_overview(reference):
    """mqttv5(1)"""
    text = man_head('MQTTV5', 'mqttv5', reference['version'], 'MQTT 5.0 and 3.1.1 broker and '
                    'clients', '.B mqttv5\n.I command\n[options]')
    text += '.SH COMMANDS\n'
    for command in reference['commands']:
        text += f'.TP\n\\fB{command["name"]}\\fR\n{roff(command["summary"])}\n'
    text += '.TP\n\\fBhelp\\fR [\\fIcommand\\fR]\nexplain a command\n'
    text += '.TP\n\\fB\\-\\-version\\fR\nname this build\n'
    return text + see_also([f'mqttv5-{command["name"]}' for command in reference['commands']])


def make_completion(binary, shell):
    """What the program prints for a shell."""
    done = subprocess.run([str(binary), 'completion', shell], stdout=subprocess.PIPE, check=True,
                          text=True, timeout=30)
    return done.stdout


# ------------------------------------------------------------------------------------- all of it

def fill(text, name, made):
    """Puts a made part into its place."""
    pattern = re.compile(rf'(<!-- made: {name} -->\n).*?(<!-- end -->)', re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise Missing(f'no place, or two, for "{name}"')
    return pattern.sub(lambda match: f'{match.group(1)}\n{made}\n\n{match.group(2)}', text)


def make_all(root, binary):
    """Path -> what the file has to hold."""
    reference = read_reference(binary)
    pages = {
        'docs/configuration.md': {
            'flags': make_flags(reference), 'keys': make_keys(reference),
            'absent': make_absent(reference), 'variables': make_variables(reference),
            'figures': make_figures(root), 'events': make_events(root)},
        'docs/conformance.md': {
            'counts': make_counts(root), 'breaks': make_breaks(root),
            'statements': make_statements(root)},
    }
    files = {}
    for path, parts in pages.items():
        text = (root / path).read_text(encoding='utf-8')
        for name, made in parts.items():
            text = fill(text, name, made)
        files[path] = text
    files['docs/man/mqttv5.1'] = make_overview(reference)
    for command in reference['commands']:
        files[f'docs/man/mqttv5-{command["name"]}.1'] = make_manual(reference, command)
    files['completions/mqttv5.bash'] = make_completion(binary, 'bash')
    files['completions/_mqttv5'] = make_completion(binary, 'zsh')
    return files

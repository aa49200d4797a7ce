# Every message and subscription from the clients' side, and what must have become of them.
# SPDX-License-Identifier: MIT OR Apache-2.0
import dataclasses
import time

SHARE = '$share/'
# A message acknowledged this shortly before SUBSCRIBE or UNSUBSCRIBE may be on its way between two
# workers of the broker: whether it comes is the broker's choice (section 3.10.4).
GRACE_S = 2.0
FAILURES_MAX = 200


def matches(topic_filter, topic):
    """Whether a filter without $share/ takes a topic that does not begin with $."""
    wanted, levels = topic_filter.split('/'), topic.split('/')
    for i, level in enumerate(wanted):
        if level == '#':
            return True
        if i >= len(levels) or level not in ('+', levels[i]):
            return False
    return len(wanted) == len(levels)


@dataclasses.dataclass(eq=False)
class Message:
    """One application message of a publisher."""
    publisher: str
    number: int
    topic: str
    qos: int
    retain: bool
    payload: bytes
    sent: float = None    # first written to a socket
    acked: float = None   # PUBACK or PUBREC that accepts it
    refused: int = 0      # the reason code that does not

    @property
    def ident(self):
        """What its correlation data holds."""
        return f'{self.publisher}:{self.number}'.encode()

    def __str__(self):
        state = 'acknowledged' if self.acked else f'refused {self.refused:#x}' if self.refused \
            else 'not acknowledged'
        return f'{self.ident.decode()} on {self.topic} (QoS {self.qos}, {state})'


@dataclasses.dataclass(eq=False)
class Interval:
    """One subscription, from the first SUBSCRIBE to the last UNSUBSCRIBE."""
    topic_filter: str
    qos: int
    options: int = 0
    asked: float = None     # SUBSCRIBE written
    granted: float = None   # SUBACK
    ending: float = None    # UNSUBSCRIBE (or a clean start) written
    ended: float = None     # UNSUBACK (or the CONNACK of that clean start)
    wiped: bool = False     # by a clean start: what was queued has gone with it

    @property
    def group(self):
        """The share name, or None."""
        return self.topic_filter.split('/')[1] if self.topic_filter.startswith(SHARE) else None

    @property
    def plain_filter(self):
        """Without $share/name/."""
        return self.topic_filter.split('/', 2)[2] if self.group else self.topic_filter

    def may_take(self, arrival):
        """Whether what came can have come because of this subscription."""
        message = arrival.message
        return (matches(self.plain_filter, message.topic)
                and (self.ended is None or message.sent < self.ended)
                and not (self.wiped and arrival.when > self.ended)
                and (message.acked is None or message.acked > self.asked - GRACE_S))

    def must_take(self, message):
        """The message was sent after SUBACK, acknowledged well before the end."""
        return (self.granted is not None and message.acked is not None
                and self.granted < message.sent
                and (self.ending is None or message.acked < self.ending - GRACE_S))


@dataclasses.dataclass(eq=False)
class Arrival:
    """One delivery to the application of a subscriber."""
    message: Message
    when: float
    dup: bool
    qos: int


class Ledger:
    """All of it, and the faults seen on the way."""

    def __init__(self):
        self.messages = {}     # ident -> Message
        self.setting = {}      # topic -> [Message]: those that set or clear it
        self.intervals = {}    # session name -> [Interval]
        self.arrivals = {}     # session name -> [Arrival]
        self.failures = []
        self.expect_refusals = False

    def fail(self, text):
        """A promise was broken."""
        if len(self.failures) < FAILURES_MAX:
            self.failures.append(text)

    def new_message(self, publisher, number, topic, qos, retain, payload):
        """A message that will be sent."""
        message = Message(publisher, number, topic, qos, retain, payload)
        self.messages[message.ident] = message
        if retain:
            self.setting.setdefault(topic, []).append(message)
        return message

    def arrived(self, session, ident, topic, payload, dup, qos):
        """A PUBLISH came to a session and was taken; says so when it makes no sense."""
        message = self.messages.get(ident)
        if message is None or message.sent is None:
            self.fail(f'{session}: a message that nobody sent: {ident!r} on {topic}')
            return
        if topic != message.topic or payload != message.payload:
            self.fail(f'{session}: {message} came with another topic or payload')
        self.arrivals.setdefault(session, []).append(
            Arrival(message, time.monotonic(), dup, qos))

    # ---- the account ----

    def missing(self):
        """What has to come still: (session or group, message)."""
        wanted = []
        for session, intervals in self.intervals.items():
            got = self._counts(session)
            wanted += [(session, m) for i in intervals if not i.group
                       for m in self._due(i) if m not in got]
        for name, members in self._groups().items():
            got = set().union(*(self._counts(session) for session, _ in members))
            due = {m for _, interval in members for m in self._due(interval)}
            wanted += [(f'group {name}', m) for m in due - got]
        return wanted

    def judge(self):
        """Everything that can be said at the end; adds to the failures."""
        for who, message in self.missing():
            self.fail(f'{who}: LOST {message}')
        for session in self.intervals:
            self._judge_order(session)
            self._judge_strangers(session)
            self._judge_once(session, self._counts(session), lambda i: not i.group)
        for name, members in self._groups().items():
            counts = {}
            for session, _ in members:
                for message, number in self._counts(session).items():
                    counts[message] = counts.get(message, 0) + number
            self._judge_once(members[0][0], counts, lambda i, name=name: i.group == name)

    def _due(self, interval):
        return [m for m in self.messages.values()
                if interval.must_take(m) and matches(interval.plain_filter, m.topic)]

    def _counts(self, session):
        counts = {}
        for arrival in self.arrivals.get(session, []):
            counts[arrival.message] = counts.get(arrival.message, 0) + 1
        return counts

    def _groups(self):
        groups = {}
        for session, intervals in self.intervals.items():
            for interval in intervals:
                if interval.group:
                    groups.setdefault(interval.group, []).append((session, interval))
        return groups

    def _judge_once(self, session, counts, which):
        """QoS 2 all the way: exactly once. [MQTT-4.3.3-10]"""
        filters = [i for i in self.intervals[session] if i.qos == 2 and which(i)]
        for message, number in counts.items():
            if number > 1 and message.qos == 2 and any(
                    matches(i.plain_filter, message.topic) for i in filters):
                self.fail(f'{session}: {number} TIMES {message}')

    def _judge_order(self, session):
        """First arrivals of one publisher, topic and QoS are in the order of sending
        [MQTT-4.6.0-5]. What was first sent before there was a subscription may come when it is
        sent again, behind what came meanwhile."""
        grouped = tuple(i.plain_filter for i in self.intervals[session] if i.group)
        granted = [(i.plain_filter, i.granted) for i in self.intervals[session] if i.granted]
        last, seen = {}, set()
        for arrival in self.arrivals.get(session, []):
            message = arrival.message
            if message in seen or any(matches(f, message.topic) for f in grouped) or not any(
                    when < message.sent and matches(f, message.topic) for f, when in granted):
                continue
            seen.add(message)
            key = (message.publisher, message.topic, message.qos)
            if last.get(key, -1) > message.number:
                self.fail(f'{session}: ORDER {message} came after number {last[key]}')
            last[key] = max(last.get(key, -1), message.number)

    def _judge_strangers(self, session):
        """Nothing that no subscription can have let in: what was ended has ended for good."""
        for arrival in self.arrivals.get(session, []):
            if not any(i.may_take(arrival) for i in self.intervals[session]):
                self.fail(f'{session}: CAME BACK {arrival.message}: no subscription lets it in')

    # ---- retained messages ----

    def retained_now(self):
        """topic -> how many of its settings, from the oldest on, end with an acknowledged one."""
        return {topic: max((i for i, m in enumerate(messages) if m.acked is not None), default=-1)
                for topic, messages in self.setting.items()}

    def _may_be_found(self, topic, floor):
        """Idents, and None for "nothing", that a new subscriber may find at TOPIC."""
        last = floor.get(topic, -1)
        messages = self.setting[topic]
        allowed = {m.ident if m.payload else None for m in messages[max(last, 0):] if m.sent}
        return allowed | {None} if last < 0 else allowed

    def replaced_lately(self, floor, found):
        """Topics at which nothing was found, though something had to be, which has a successor on
        its way."""
        return {topic for topic, messages in self.setting.items()
                if topic not in found and None not in self._may_be_found(topic, floor)
                and any(m.sent for m in messages[floor[topic] + 1:])}

    def judge_retained(self, floor, found):
        """FOUND (topic -> ident; None: cleared) must be, for each topic, what its publisher set
        last at FLOOR (see retained_now(), taken before the question was asked) or later."""
        for topic, messages in self.setting.items():
            held = found.get(topic)
            if held not in self._may_be_found(topic, floor):
                last = floor.get(topic, -1)
                self.fail(f'RETAINED {topic}: found {self.messages.get(held, held)}, the last '
                          f'acknowledged is {messages[last] if last >= 0 else None}')
        for topic in set(found) - set(self.setting):
            self.fail(f'RETAINED {topic}: nobody set it')

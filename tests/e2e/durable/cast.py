# Who takes part in a run: publishers, subscribers of every habit, a group, and what they do.
# SPDX-License-Identifier: MIT OR Apache-2.0
import asyncio
import time

from durable.session import Session, parse_publish
from harness import wire

TICK_S = 0.005
TOPICS = 3                 # of each publisher and kind
RETAINED_TOPICS = 4
NO_RETAINED = 0x20         # Retain Handling 2: do not send retained messages at SUBSCRIBE
MARKER = 'retained/marker'
DRAIN_LIMIT_S = 30.0
QUIET_S = 0.4


class Cast:
    """All sessions of a run. RATE is in messages a second of all publishers."""

    def __init__(self, ledger, port, rng, publishers=4, rate=300.0):
        self.ledger, self.port, self.rng, self.rate = ledger, port, rng, rate
        self.publishers = [self._session(f'pub{i}') for i in range(publishers)]
        self.steady = self._session('steady')        # everything, QoS 2, hardly ever away
        self.narrow = self._session('narrow', 5)     # some topics at QoS 1, Receive Maximum 5
        self.away = self._session('away', 20)        # everything, mostly away
        self.changing = self._session('changing')    # subscribes and unsubscribes
        self.fresh = self._session('fresh')          # begins anew now and then
        self.members = [self._session(f'member{i}', 10) for i in range(3)]
        self.subscribers = [self.steady, self.narrow, self.away, self.changing, self.fresh,
                            *self.members]
        self.sessions = self.publishers + self.subscribers
        self.tasks = []
        self.producing = True
        self._owed = 0.0
        self._changing = None
        self._fresh = None

    def _session(self, name, receive_maximum=64):
        return Session(name, self.port, self.ledger, self.rng, receive_maximum)

    # ---- beginning and end ----

    async def begin(self):
        """Connects everybody and has everything subscribed."""
        loop = asyncio.get_running_loop()
        self.tasks = [loop.create_task(s.run()) for s in self.sessions]
        await self.until(lambda: all(s.online for s in self.sessions), 20.0, 'connections')
        self.steady.subscribe('t/#', 2)
        self.steady.subscribe('r/#', 2, NO_RETAINED)
        self.away.subscribe('t/#', 2)
        self.away.subscribe('r/+/0', 1, NO_RETAINED)
        for i in range(len(self.publishers)):
            self.narrow.subscribe(f't/pub{i}/0', 1)
        for member in self.members:
            member.subscribe('$share/two/g2/#', 2)
            member.subscribe('$share/one/g1/#', 1)
        await self.until(lambda: not any(s.requests for s in self.sessions), 20.0, 'SUBACKs')
        self.tasks.append(loop.create_task(self._act()))

    async def end(self, limit_s=DRAIN_LIMIT_S):
        """Stops publishing and lets everything arrive."""
        self.producing = False
        for session in self.sessions:
            session.away_until = 0.0
        def settled():
            return (all(s.online and not s.outgoing and not s.requests for s in self.sessions)
                    and not any(s.holding for s in self.subscribers))
        try:
            await self.until(settled, limit_s, 'the ends of all exchanges')
            await self.until(lambda: not self.ledger.missing(), limit_s,
                             'every message', 0.25)
        except TimeoutError as late:
            self.ledger.fail(str(late))
        await asyncio.sleep(QUIET_S)   # what comes twice comes here

    async def leave(self):
        """Ends all connections."""
        for session in self.sessions:
            session.stop()
        for task in self.tasks[len(self.sessions):]:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def until(self, condition, limit_s, what, step_s=TICK_S):
        """Waits for CONDITION()."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f'after {limit_s:.0f} s still without {what}: '
                                   f'{self.state()}')
            for task in self.tasks:
                if task.done() and not task.cancelled() and task.exception():
                    raise task.exception()
            await asyncio.sleep(step_s)

    def state(self):
        """Who has not finished what, for a message."""
        return '; '.join(
            f'{s.name}: {"on" if s.online else "off"}line, {len(s.outgoing)} out, '
            f'{len(s.holding)} held, {len(s.requests)} asked'
            for s in self.sessions if s.outgoing or s.holding or s.requests or not s.online)

    # ---- what they do ----

    async def _act(self):
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            before, elapsed = time.monotonic(), time.monotonic() - before
            self.flush()
            if self.producing:
                self.produce(self.rate * min(elapsed, 0.1))
                self._come_and_go(elapsed)

    def flush(self):
        """Acknowledgements that were put off leave."""
        for session in self.sessions:
            if self.rng.random() < 0.3:
                session.flush()

    def produce(self, messages):
        """So many messages on average."""
        self._owed += messages
        while self._owed >= 1.0:
            self._owed -= 1.0
            self._produce(self.rng.choice(self.publishers))

    def _produce(self, publisher):
        rng = self.rng
        qos = rng.choice((1, 2))
        size = rng.choice((0, 10, 64, 64, 64, 300, 5000))
        kind = rng.random()
        body = f'{publisher.name} {publisher.next_number} '.encode().ljust(size, b'.')
        if kind < 0.55:
            publisher.publish(f't/{publisher.name}/{rng.randrange(TOPICS)}', qos, body)
        elif kind < 0.75:
            publisher.publish(f'g{rng.choice((1, 2))}/{publisher.name}', qos, body)
        elif kind < 0.9:
            publisher.publish(f'r/{publisher.name}/{rng.randrange(RETAINED_TOPICS)}', qos,
                              b'' if rng.random() < 0.3 else body, retain=True)
        elif kind < 0.95:
            publisher.publish(f'c/{publisher.name}', qos, body)
        else:
            publisher.publish(f'f/{publisher.name}', qos, body)

    def _come_and_go(self, elapsed):
        rng = self.rng

        def chance(per_second):
            return rng.random() < per_second * elapsed
        if chance(0.8):
            self.away.leave(rng.uniform(0.5, 3.0), rng.random() < 0.5)
        if chance(1.0):
            rng.choice(self.members + [self.narrow]).leave(rng.uniform(0.0, 0.6),
                                                           rng.random() < 0.5)
        if chance(0.7):
            rng.choice(self.publishers).leave(rng.uniform(0.0, 0.3), rng.random() < 0.5)
        if chance(0.25):
            self.fresh.clean_next = True
            self.fresh.leave(rng.uniform(0.0, 0.5), rng.random() < 0.5)
        self._change_subscriptions(chance(0.25))   # often enough longer than the ledger's grace

    def _change_subscriptions(self, change):
        if change and not self.changing.requests:
            if self._changing and self._changing.ending is None:
                self.changing.unsubscribe(self._changing)
            else:
                self._changing = self.changing.subscribe('c/#', 2)
        if self.fresh.online and not self.fresh.requests and not self.fresh.clean_next and (
                self._fresh is None or self._fresh.ending is not None):
            self._fresh = self.fresh.subscribe('f/#', 2)


async def read_retained(port, ledger, topic_filter='r/#', limit_s=10.0):
    """(what had been promised before, what a new subscriber finds): see Ledger.judge_retained(). A
    retained marker, asked for afterwards, says that all has come.

    A message that is replaced before the broker has sent it is passed over, since its successor
    comes live, without RETAIN and perhaps after the marker. So what comes last counts, and a
    successor that is on its way is waited for."""
    floor, found = ledger.retained_now(), {}
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    try:
        async with asyncio.timeout(limit_s):
            writer.write(wire.connect('', keep_alive=0) + wire.subscribe(1, topic_filter, 1)
                         + wire.subscribe(2, MARKER, 1))
            awaited = {MARKER}
            while awaited:
                first, body = await read_packet(reader)
                if first >> 4 != wire.PUBLISH:
                    continue
                topic, packet_id, ident, payload = parse_publish(first, body)
                if first & 6:
                    writer.write(wire.ack(wire.PUBACK, packet_id))
                found[topic] = ident if payload else None
                awaited.discard(topic)
                if topic == MARKER:
                    awaited = ledger.replaced_lately(floor, found)
    except TimeoutError:
        if MARKER not in found:
            raise
    finally:
        writer.close()
    return floor, found


async def read_packet(reader):
    """(first byte, body)."""
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return first, await reader.readexactly(length)


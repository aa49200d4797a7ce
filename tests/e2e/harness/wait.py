# Waiting for events under a deadline, never for a while.
# SPDX-License-Identifier: MIT OR Apache-2.0
import threading
import time

DEFAULT_S = 15.0


class Log:
    """An append-only list that other threads can wait on."""

    def __init__(self, what):
        self.what = what
        self._items = []
        self._changed = threading.Condition()

    def add(self, item):
        """Appends ITEM and wakes everybody who waits."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def items(self):
        """A copy of everything so far."""
        with self._changed:
            return list(self._items)

    def __len__(self):
        with self._changed:
            return len(self._items)

    def wait_count(self, count, timeout_s=DEFAULT_S):
        """The items, as soon as there are at least COUNT."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._items) >= count, timeout_s):
                raise AssertionError(f'{self.what}: waited {timeout_s} s for {count}, '
                                     f'have {len(self._items)}: {brief(self._items)}')
            return list(self._items)

    def wait_for(self, predicate, timeout_s=DEFAULT_S, what='a certain item'):
        """The first item for which PREDICATE holds."""
        def find():
            return next(((True, i) for i in self._items if predicate(i)), None)
        with self._changed:
            if not self._changed.wait_for(lambda: find() is not None, timeout_s):
                raise AssertionError(f'{self.what}: waited {timeout_s} s for {what}, '
                                     f'have {brief(self._items)}')
            return find()[1]


def brief(items):
    """The ends of a long list, as text."""
    shown = [str(i)[:120] for i in items]
    if len(shown) > 8:
        shown = shown[:4] + ['...'] + shown[-4:]
    return '[' + ', '.join(shown) + ']'


def until(predicate, timeout_s=DEFAULT_S, what='the condition'):
    """Polls PREDICATE where nothing can be awaited (another process's state)."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f'waited {timeout_s} s for {what}')
        time.sleep(0.01)


def equal(got, expected, what):
    """Fails with both values named when they differ."""
    if got != expected:
        if isinstance(got, list) and isinstance(expected, list) and len(expected) > 20:
            raise AssertionError(f'{what}: {first_difference(got, expected)}')
        raise AssertionError(f'{what}: expected {brief_value(expected)}, got {brief_value(got)}')


def first_difference(got, expected):
    """Where two long lists part, in words."""
    same = next((i for i, pair in enumerate(zip(got, expected)) if pair[0] != pair[1]),
                min(len(got), len(expected)))
    return (f'{len(expected)} expected, {len(got)} got; from index {same} on expected '
            f'{brief_value(expected[same:same + 8])}, got {brief_value(got[same:same + 8])}')


def brief_value(value):
    """A value as text, its middle cut when it is long."""
    text = repr(value)
    return text if len(text) <= 600 else f'{text[:300]} ... {text[-280:]} ({len(text)} chars)'

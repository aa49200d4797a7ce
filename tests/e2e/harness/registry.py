# The list of end-to-end tests and what each of them asks of the runner.
# SPDX-License-Identifier: MIT OR Apache-2.0
import dataclasses
import importlib
import pathlib
import pkgutil
from typing import Callable, Optional


@dataclasses.dataclass
class Test:
    """One test: a function of a Context, with its bound in seconds."""
    name: str
    function: Callable
    limit_s: float
    first: bool          # started before the others, because it lasts
    once: bool           # the number of workers cannot matter to it
    alone: bool          # busy for long: no other such test beside it
    not_mosquitto: Optional[str]   # why it cannot be shown against Mosquitto 2.0


TESTS = []


def test(limit_s=30.0, first=False, once=False, alone=False, not_mosquitto=None, name=None):
    """Registers the decorated function as MODULE.FUNCTION."""
    def register(function):
        module = function.__module__.rpartition('.')[2]
        TESTS.append(Test(f'{module}.{name or function.__name__}', function, limit_s, first, once,
                          alone, not_mosquitto))
        return function
    return register


def load_cases():
    """Imports every module of cases/, so that each registers its tests."""
    folder = pathlib.Path(__file__).resolve().parent.parent / 'cases'
    for module in sorted(m.name for m in pkgutil.iter_modules([str(folder)])):
        importlib.import_module(f'cases.{module}')
    names = [t.name for t in TESTS]
    assert len(names) == len(set(names)), 'two tests have one name'
    return TESTS

"""Scenarios: code that a user would write, run once without `ndl.jit` and once with it, and compared bit by bit.

A scenario is a function of `jit` and `see`. Without, `jit` returns its argument; with, it is `ndl.jit`. What the
scenario passes to `see` is compared twice: as it is at that moment, and as it is when the scenario has ended, because a
later call must not change the results of an earlier one.
"""

import functools
import inspect
import random
import re

import numpy as np

import needle as ndl
from needle.errors import JitError


def numbers(*shape, seed=0, requires_grad=False, **options):
    """A Tensor of normal random numbers."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return ndl.Tensor(values, requires_grad=requires_grad, **options)


def calls(f, see, change, before=5, after=5):
    """Sees the results of calls before and after a change."""
    for i in range(before):
        see(f(numbers(3, seed=i)))
    change()
    for i in range(after):
        see(f(numbers(3, seed=i)))


def set_to(container, key, value):
    """A change: container[key] = value, or the attribute of an object."""
    if isinstance(container, (dict, list)):
        return functools.partial(container.__setitem__, key, value)
    return functools.partial(setattr, container, key, value)


def bits(value):
    """All of a value that two runs must have in common."""
    if isinstance(value, (ndl.Tensor, ndl.NDArray)):
        facts = (value.requires_grad,) if isinstance(value, ndl.Tensor) else ()
        return type(value).__name__, str(value.dtype), value.shape, *facts, value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return type(value).__name__, [(key, bits(entry)) for key, entry in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [bits(entry) for entry in value]
    return type(value).__name__, repr(value)


class Run:
    """One run of a scenario: what it saw, whether a program was replayed, and the JitError that ended it, if any."""

    def __init__(self, scenario, with_jit):
        self.error, held, self.seen = None, [], []
        functions = []

        def jit(function, **options):
            functions.append(ndl.jit(function, **options))
            return functions[-1]

        def see(*values):
            held.append(values)
            self.seen.append(bits(values))

        ndl.manual_seed(0)
        random.seed(0)
        try:
            scenario(jit if with_jit else lambda function, **options: function, see)
        except JitError as error:
            self.error = str(error)
        self.at_the_end = [bits(values) for values in held]
        self.has_replayed = any(function.stats["replays"] for function in functions)


def same_bits(scenario=None, *, replays=True):
    """Makes a scenario a test: with jit it sees the same bits, and a program was replayed unless `replays` is False."""

    def decorate(scenario):
        def test():
            expected, got = Run(scenario, with_jit=False), Run(scenario, with_jit=True)
            assert expected.error is None and expected.seen
            assert got.error is None, got.error
            assert got.seen == expected.seen
            assert got.at_the_end == expected.at_the_end
            if replays:
                assert got.has_replayed, "nothing was replayed"

        return _as_test(test, scenario)

    return decorate(scenario) if scenario is not None else decorate


def refused(message, line_of=None):
    """Makes a scenario a test: it ends in a JitError, until which it sees the same bits.

    The error matches `message`, names a line of the scenario, or of the function `line_of`, and says what is expected.
    """

    def decorate(scenario):
        def test():
            expected, got = Run(scenario, with_jit=False), Run(scenario, with_jit=True)
            assert got.error is not None, "no error" if got.seen == expected.seen else "no error, and other bits"
            assert got.seen == expected.seen[: len(got.seen)]
            assert re.search(message, got.error), got.error
            lines, first = inspect.getsourcelines(line_of or scenario)
            name = inspect.getsourcefile(scenario).rpartition("/")[2]
            named = [int(line) for line in re.findall(rf"{re.escape(name)}:(\d+)", got.error)]
            assert any(first <= line < first + len(lines) for line in named), f"names no line: {got.error}"
            assert "expected" in got.error, got.error

        return _as_test(test, scenario)

    return decorate


def _as_test(test, scenario):
    # No functools.wraps: pytest would take the parameters of the scenario for fixtures.
    test.__name__, test.__doc__, test.__module__ = scenario.__name__, scenario.__doc__, scenario.__module__
    test.__code__ = test.__code__.replace(co_name=scenario.__name__)
    return test

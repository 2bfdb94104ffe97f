"""How far an iterator is: a function that advances one does something else in each call."""

from __future__ import annotations

import gc
import itertools
import operator
import types
from collections.abc import Iterator
from typing import Any

from needle.compiler.state import PLAIN


def is_built_in_iterator(value: object) -> bool:
    """Whether a value is a generator, an iterator of a list, a dict and so on, or one of itertools."""
    return isinstance(value, Iterator) and type(value).__module__ in ("builtins", "itertools")


def position(iterator: Any) -> object:
    """What is different once a built-in iterator has gone on; always different where Python does not tell."""
    inner = [position(part) for part in _parts(iterator) if is_built_in_iterator(part)]
    if isinstance(iterator, types.GeneratorType):
        frame = iterator.gi_frame
        if frame is None:  # it has ended
            return None
        variables = {name: x if isinstance(x, PLAIN) else id(x) for name, x in frame.f_locals.items()}
        return (frame.f_lasti, variables, inner) if variables else object()
    if isinstance(iterator, itertools.count):
        return repr(iterator)
    left = operator.length_hint(iterator, -1)
    if isinstance(iterator, itertools.cycle) or left < 0 and not inner:
        return object()
    return left, inner


def _parts(iterator: object) -> list[object]:
    """What an iterator has references to, as `zip` to a tuple of iterators."""
    parts: list[object] = []
    for part in gc.get_referents(iterator):
        parts += part if type(part) is tuple else [part]
    return parts

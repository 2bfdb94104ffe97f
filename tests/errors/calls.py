"""What the calls of the tables have in common."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np

import needle as ndl
from needle.backend_ndarray import array
from tests.errors.junk import junk, tensor


@dataclasses.dataclass(frozen=True)
class Made:
    """An argument that every call has made anew, on the device that it is given."""

    make: Callable[[ndl.Device], Any]


def t(*shape: int, dtype: str = "float32") -> Made:
    """A Tensor."""
    return Made(lambda device: tensor(*shape, dtype=dtype, device=device))


def a(*shape: int, dtype: str = "float32") -> Made:
    """An NDArray."""
    return Made(lambda device: array(np.random.randn(*shape), dtype=dtype, device=device))


the_device = Made(lambda device: device)


@dataclasses.dataclass(frozen=True)
class Call:
    """A function and arguments that it takes. The first `fixed` are left alone, as `self` is."""

    function: Callable | Made
    arguments: tuple
    keywords: dict[str, Any]
    names: tuple[str, ...]  # of which a message has at least one
    fixed: int = 0

    def run(self, device: ndl.Device) -> None:
        """With the arguments that it takes."""
        arguments, keywords = made(self.arguments, device), made(self.keywords, device)
        made(self.function, device)(*arguments, **keywords)

    def spoiled(self, rnd: random.Random, device: ndl.Device) -> tuple[Callable, list, dict]:
        """The function and its arguments, one or two of which are something else, or one is missing or surplus."""
        arguments, keywords = list(made(self.arguments, device)), made(self.keywords, device)
        for _ in range(rnd.choice((1, 1, 1, 2))):
            place = rnd.choice([*range(self.fixed, len(arguments) + (rnd.random() < 0.05)), *keywords] or [None])
            if place is None or place == len(arguments):
                arguments.append(junk(rnd))
            elif isinstance(place, str):
                keywords[place] = junk(rnd)
            else:
                arguments[place] = junk(rnd)
        return made(self.function, device), arguments, keywords


def call(name: str, function: Callable | Made, *arguments, also: str = "", fixed: int = 0, **keywords) -> Call:
    """A Call whose errors have one of the names, the last part of `name` or another one in `also`."""
    return Call(function, arguments, keywords, (name.rpartition(".")[2], *also.split()), fixed)


def made(value, device: ndl.Device):
    """`value` with everything in it that is Made made."""
    if isinstance(value, Made):
        return value.make(device)
    if isinstance(value, (tuple, list)):
        return type(value)(made(entry, device) for entry in value)
    if isinstance(value, dict):
        return {name: made(entry, device) for name, entry in value.items()}
    return value

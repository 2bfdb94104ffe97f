"""The lines of a program, and the variables that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.programs.operation import Operation, written
from tests.programs.values import DTYPES, Foreign

NAMES = {dtype: dtype.name for dtype in DTYPES}


@dataclass
class Leaf:
    """A line that makes an array from a NumPy array."""

    face: str
    contents: np.ndarray

    def __str__(self) -> str:
        return f"{self.face}({written(self.contents)}, dtype={NAMES[self.contents.dtype]!r})"


@dataclass
class Statement:
    """A line with an operation; `part` is the number of one of several results."""

    operation: Operation
    arguments: tuple
    part: int | None = None

    def of(self, result: Any) -> Any:
        return result if self.part is None else result[self.part]

    def __str__(self) -> str:
        return self.operation.written(self.arguments) + ("" if self.part is None else f"[{self.part}]")


class Variable:
    """An array in both worlds."""

    __slots__ = ("name", "line", "needle", "array", "sources")

    def __init__(self, name: str, line: Leaf | Statement, needle, mirror: np.ndarray, sources: frozenset[int]) -> None:
        self.name, self.line, self.needle, self.array, self.sources = name, line, needle, mirror, sources

    shape = property(lambda self: self.array.shape)
    ndim = property(lambda self: self.array.ndim)
    dtype = property(lambda self: self.array.dtype)
    size = property(lambda self: self.array.size)

    def __repr__(self) -> str:
        return self.name


def in_needle(argument: Any) -> Any:
    return replaced(argument, lambda variable: variable.needle, lambda foreign: foreign.data)


def replaced(argument: Any, variable: Callable, foreign: Callable = lambda foreign: foreign) -> Any:
    """Variables and foreign arrays replaced, in tuples and lists as well."""
    if isinstance(argument, Variable):
        return variable(argument)
    if isinstance(argument, Foreign):
        return foreign(argument)
    if isinstance(argument, (tuple, list)):
        return type(argument)(replaced(item, variable, foreign) for item in argument)
    return argument


def sources_of(argument: Any) -> frozenset[int]:
    if isinstance(argument, Variable):
        return argument.sources
    if isinstance(argument, (tuple, list)):
        return frozenset().union(*map(sources_of, argument))
    return frozenset()

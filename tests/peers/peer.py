"""Peer: a call of Needle's, the same call in PyTorch, and on what the two are compared."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.peers.comparison import FLOATING, Precision, compare
from tests.peers.draws import DRAWS, Generator, Shape

Operand = Shape | Callable[[Generator], np.ndarray]  # drawn, or made: labels, indices, conditions


@dataclass(frozen=True)
class Peer:
    """`op` names a function of needle.ops or a layer, `settings` what it is called with, for people.

    cases: the operands of each comparison. signed_zeros: whether results that are 0 have the same sign.
    """

    op: str
    ours: Callable
    theirs: Callable
    cases: tuple[tuple[Operand, ...], ...]
    settings: str = ""
    draws: tuple[str, ...] = tuple(DRAWS)
    dtypes: tuple[str, ...] = FLOATING
    precision: Precision = Precision()
    signed_zeros: bool = False

    def __str__(self) -> str:
        return f"{self.op} {self.settings}".strip()

    def check(self, dtype: str, draw: str) -> None:
        """Compares all cases, operands contiguous and transposed."""
        generator = np.random.default_rng(zlib.crc32(f"{self}{dtype}{draw}".encode()))
        for case in self.cases:
            operands = [
                operand(generator) if callable(operand) else np.asarray(DRAWS[draw](generator, operand, dtype))
                for operand in case
            ]
            for transposed in (False, True) if any(operand.ndim > 1 for operand in operands) else (False,):
                try:
                    compare(self.ours, self.theirs, operands, dtype, self.precision, self.signed_zeros, transposed)
                except AssertionError as error:
                    shapes = ", ".join(str(operand.shape) for operand in operands)
                    raise AssertionError(f"{self}, {shapes}{' transposed' * transposed}: {error}") from None


def labels(shape: Shape, classes: int) -> Callable[[Generator], np.ndarray]:
    """int64 numbers below `classes`."""
    return lambda generator: generator.integers(0, classes, shape)


def condition(shape: Shape) -> Callable[[Generator], np.ndarray]:
    """Bools."""
    return lambda generator: generator.random(shape) < 0.5


def finite(shape: Shape) -> Callable[[Generator], np.ndarray]:
    """Normal numbers, whatever is drawn for the other operands."""
    return lambda generator: generator.normal(size=shape)


def one_nan(shape: Shape) -> Callable[[Generator], np.ndarray]:
    """Normal numbers but for one."""

    def made(generator: Generator) -> np.ndarray:
        array = generator.normal(size=shape)
        array.flat[generator.integers(array.size)] = np.nan
        return array

    return made

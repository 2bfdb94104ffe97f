"""Checks of arguments that are not arrays; errors say what was found and what was expected."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Collection
from pathlib import Path

from needle.backend_ndarray.number import as_number
from needle.errors import ShapeError, short


def whole(op: str, name: str, value: object, least: int | None = 0, error: type[Exception] = ShapeError) -> int:
    """`value` as an int. Raises `error` unless it is a whole number from `least` (if not None) to below 2^63."""
    if type(value) is not int:
        try:
            value = operator.index(value)  # type: ignore[arg-type]  # it may refuse
        except TypeError:
            raise error(f"{op}: {name} of {short(value)}: {_expected(least)}") from None
    if not (-(1 << 63) if least is None else least) <= value < 1 << 63:
        raise error(f"{op}: {name} of {short(value)}: {_expected(least)}{', below 2^63' * (value >= 1 << 63)}")
    return value


def _expected(least: int | None) -> str:
    return "expected a whole number" if least is None else f"expected a whole number of {least} or more"


def as_seed(op: str, value: object) -> int:
    """`value` as an int. Raises ValueError unless NumPy accepts it as a seed."""
    seed = whole(op, "seed", value, error=ValueError)
    if seed >= 1 << 32:
        raise ValueError(f"{op}: seed of {short(seed)}: expected 0 to 2^32 - 1")
    return seed


def real(op: str, name: str, value: object, least: float = -math.inf, below: float = math.inf,
         most: float | None = None, error: type[Exception] | None = None) -> float:  # fmt: skip
    """`value` as a float. It must be at least `least`, and at most `most` or, if that is None, below `below`.

    Raises `error` or, if that is None, TypeError for a value that is not a number, ValueError for NaN or out of range.
    """
    number = as_float(value)
    if number is not None and least <= number and (number < below if most is None else number <= most):
        return number
    kind = error or (TypeError if number is None else ValueError)
    raise kind(f"{op}: {name} of {short(value)}: expected {_range(least, below, most)}")


def as_float(value: object) -> float | None:
    """A number as a float, infinite if it is too large for one; None if `value` is not a number."""
    number = as_number(value)
    if number is None:
        return None
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _range(least: float, below: float, most: float | None) -> str:
    if most is not None:
        return f"a number of {least:g} to {most:g}"
    limit = "" if below == math.inf else f", below {below:g}"
    return f"a finite number{limit}" if least == -math.inf else f"a number of {least:g} or more{limit}"


def probability(op: str, value: object) -> float:
    """`value` as a float. Raises TypeError or ValueError unless 0 <= value < 1."""
    p = as_float(value)
    if p is None or not 0 <= p < 1:
        kind = TypeError if p is None else ValueError
        raise kind(f"{op}: a probability of {short(value)}: expected 0 <= p < 1")
    return p


def flag(op: str, name: str, value: object) -> bool:
    """The truth value of `value`. Raises TypeError if it has none, as for an array of several elements."""
    try:
        return bool(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} of {short(value)}: expected True or False") from None


def path(op: str, name: str, value: object) -> Path:
    """`value` as a Path. Raises TypeError if it is not a path, and ValueError if it contains a zero byte."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{op}: {name} of {short(value)}: expected a path")
    if "\0" in os.fsdecode(value):
        raise ValueError(f"{op}: {name} of {short(value)}: expected no zero bytes")
    return Path(value)


def choice(op: str, name: str, value: object, choices: Collection[str | None]) -> None:
    """Raises ValueError unless `value` is one of `choices`: strings, and perhaps None."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        *others, last = (repr(choice) for choice in choices)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{op}: {name} {short(value)}: expected {expected}")

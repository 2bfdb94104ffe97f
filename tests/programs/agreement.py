"""When a result is the one that was expected.

Moves, integers, comparisons and what IEEE 754 rounds correctly (+ - * / and the square root) are expected to the bit.
Of all else an interval is expected, from the exact result (computed in a wider type) and a bound of its error; the ends
are rounded as the result is: to the type that is computed in, then to the one that is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.programs.rules import HALF, computed_in, kind


@dataclass
class Exactly:
    """Any NaN for a NaN. Where both zeros are right the sign of zero is not looked at."""

    values: np.ndarray
    signed_zeros: bool = True


@dataclass
class Within:
    """low <= result <= high, NaN where `low` is; anything where `anything` is true."""

    low: np.ndarray
    high: np.ndarray
    anything: np.ndarray | bool = False
    signed_zeros: bool = True

    @property
    def values(self) -> np.ndarray:
        return self.low


def rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """From a wide type to the one that is computed in, then to the one that is stored."""
    return np.asarray(values).astype(computed_in(dtype)).astype(dtype)


def within(exact: np.ndarray, error: np.ndarray, dtype: np.dtype, signed_zeros: bool = True) -> Within:
    """The interval of results of `dtype`. An error that is not finite, of a finite result, allows anything.

    With signed zeros the error is a relative one, and does not change the sign.
    """
    exact = np.asarray(exact)
    anything = np.isfinite(exact) & ~np.isfinite(error)
    none = ~np.isfinite(exact) | ~np.isfinite(error) | (error == 0)
    low, high = (np.where(none, exact, exact + sign * error) for sign in (-1, 1))  # -0.0 + 0 would be 0.0
    if signed_zeros:
        low, high = np.where(exact > 0, np.maximum(low, 0.0), low), np.where(exact < 0, np.minimum(high, -0.0), high)
    return Within(rounded(low, dtype), rounded(high, dtype), anything, signed_zeros)


def unit(exact: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The unit in the last place of results near `exact`, in the type that `dtype` is computed in."""
    computed = np.abs(np.asarray(exact)).astype(computed_in(dtype))
    return np.where(np.isinf(computed), np.finfo(computed.dtype).max, np.spacing(computed)).astype(exact.dtype)


def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float32) if a.dtype in HALF else a


def difference(met: np.ndarray, expected: Exactly | Within) -> str | None:
    """In which way a result is another than expected; None where it is not."""
    values = expected.values
    if met.dtype != values.dtype:
        return f"dtype {met.dtype.name}, expected {values.dtype.name}"
    if met.shape != values.shape:
        return f"shape {met.shape}, expected {values.shape}"
    if isinstance(expected, Exactly):
        if met.tobytes() == values.tobytes():
            return None
        met, values = _wide(met), _wide(values)
        right = met == values
        if kind(met.dtype) == 2:
            if expected.signed_zeros:
                right &= np.signbit(met) == np.signbit(values)
            right |= np.isnan(met) & np.isnan(values)
        return None if right.all() else f"{met.tolist()}, expected {values.tolist()}"
    met, low, high = _wide(met), _wide(expected.low), _wide(expected.high)
    right = (low <= met) & (met <= high)
    if expected.signed_zeros:
        right &= (low < high) | (np.signbit(met) == np.signbit(low))
    right |= np.isnan(met) & np.isnan(low) | expected.anything
    if right.all():
        return None
    return f"{met.tolist()}, expected {low.tolist()} to {high.tolist()}"

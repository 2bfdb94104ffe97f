"""Sums, extremes and what is made of them, and products of matrices.

Bounds of the errors, with u = half the epsilon of the type that is computed in: a sum of n terms, in any order, is off
by at most (n - 1) u times the sum of their magnitudes, a sum of n products by n u times that of theirs (Higham 2002,
3.1 and 4.2); exp(x - m) by |x - m| u + 2 u times itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.programs import values
from tests.programs.agreement import Exactly, Within, within
from tests.programs.operation import NDARRAY, TENSOR, Operation
from tests.programs.rules import FLOAT32, INT64, Refused, computed_in, kind, own_pair, promoted, wider
from tests.programs.values import BOOL


def normalized(axes, ndim: int) -> tuple[int, ...]:
    """The axes counted from the front; None means all of them."""
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, (int, tuple)):
        raise Refused(f"axes {axes}")
    axes = axes if isinstance(axes, tuple) else (axes,)
    if any(not isinstance(axis, int) or not -ndim <= axis < ndim for axis in axes):
        raise Refused(f"axes {axes}")
    result = tuple(axis % ndim for axis in axes)
    if len(set(result)) != len(result):
        raise Refused("an axis twice")
    return result


def roundoff(dtype: np.dtype) -> float:
    return float(np.finfo(computed_in(dtype)).eps) / 2


def _count(a: np.ndarray, axes: tuple[int, ...]) -> int:
    return int(np.prod([a.shape[axis] for axis in axes], dtype=int))


def sum_within(terms: np.ndarray, axes, dtype: np.dtype, roundings: float, divisor: float = 1) -> Within:
    """The sum of exact `terms` over axes, by a number; partial sums that overflow allow anything."""
    magnitudes = np.where(np.isfinite(terms), np.abs(terms), 0).sum(axes)
    error = np.where(magnitudes > np.finfo(computed_in(dtype)).max, np.inf, roundings * roundoff(dtype) * magnitudes)
    total = terms.sum(axes)
    anything = ~np.isfinite(error)
    result = within(total / divisor, error / divisor, dtype, signed_zeros=False)
    result.anything = result.anything | anything
    return result


# Reductions


def with_axes(program) -> tuple:
    a = program.array()
    return a, values.axes(program.choices, a.ndim)


def with_axes_and_keepdims(program) -> tuple:
    return (*with_axes(program), program.choices.chance(50))


def _kept(result, keepdims: bool, a: np.ndarray, axes: tuple[int, ...]):
    """The same result with the reduced axes."""
    if not keepdims:
        return result
    shape = tuple(1 if axis in axes else extent for axis, extent in enumerate(a.shape))
    if isinstance(result, Exactly):
        return Exactly(result.values.reshape(shape), result.signed_zeros)
    anything = np.broadcast_to(result.anything, result.low.shape).reshape(shape)
    return Within(result.low.reshape(shape), result.high.reshape(shape), anything, result.signed_zeros)


def sum_(a, axes, keepdims=False):
    """int64 of integers and bools, 0 of nothing"""
    axes = normalized(axes, a.ndim)
    if kind(a.dtype) < 2:
        return _kept(Exactly(np.asarray(a.sum(axes, dtype=INT64))), keepdims, a, axes)
    result = sum_within(a.astype(wider(a.dtype)), axes, a.dtype, max(0, _count(a, axes) - 1))
    return _kept(result, keepdims, a, axes)


def mean(a, axes):
    """float32 of integers and bools: of n numbers the last rounding is that of the division."""
    axes = normalized(axes, a.ndim)
    count = _count(a, axes)
    dtype = a.dtype if kind(a.dtype) == 2 else FLOAT32
    result = sum_within(a.astype(wider(dtype)), axes, dtype, count + 2, count)
    if not count:
        result.low = result.high = np.full_like(result.low, np.nan)
    return result


def _extreme(op: str, formula: Callable) -> Callable:
    def expected(a, axes, keepdims=False):
        axes = normalized(axes, a.ndim)
        if a.dtype == BOOL:
            raise Refused(f"{op} of bools")
        if any(a.shape[axis] == 0 for axis in axes):
            raise Refused(f"{op} of nothing")
        exact = np.asarray(formula(a.astype(computed_in(a.dtype)), axes)).astype(a.dtype)
        return _kept(Exactly(exact, signed_zeros=False), keepdims, a, axes)

    return expected


def with_axis(program) -> tuple:
    a = program.array()
    return a, None if program.choices.chance(30) else values.axis(program.choices, a.ndim)


def argmax(a, axis):
    """int64; without an axis the array is taken as flat"""
    axes = normalized(axis, a.ndim)
    if a.dtype == BOOL:
        raise Refused("argmax of bools")
    if any(a.shape[i] == 0 for i in axes):
        raise Refused("argmax of nothing")
    return Exactly(np.asarray(np.argmax(a.astype(computed_in(a.dtype)), axis), INT64))


def _largest(a, axes=None):
    return a == np.max(a, normalized(axes, a.ndim), keepdims=True)


def _smallest(a, axes=None):
    return a == np.min(a, normalized(axes, a.ndim), keepdims=True)


def _over(formula: Callable) -> Callable:
    """With `axes` as Needle has them."""
    return lambda a, axes: formula(a, normalized(axes, a.ndim))


REDUCTIONS = [
    Operation("{0}.sum({1})", sum_, with_axes, "sum|axis|axes", formula=_over(np.sum), weight=4),
    Operation("ops.sum({0}, {1})", sum_, with_axes, "sum|axis|axes", (TENSOR,), formula=_over(np.sum)),
    Operation("{0}.sum({1}, keepdims={2})", sum_, with_axes_and_keepdims, "sum|axis|axes", (NDARRAY,)),
    Operation("{0}.mean({1})", mean, with_axes, "mean|axis|axes", (TENSOR,), formula=_over(np.mean), weight=4),
    Operation("{0}.max({1})", _extreme("max", np.max), with_axes, "max", formula=_over(np.max), pattern=_largest),
    Operation("ops.min({0}, {1})", _extreme("min", np.min), with_axes, "min", (TENSOR,), formula=_over(np.min),
              pattern=_smallest),
    Operation("{0}.max({1}, keepdims={2})", _extreme("max", np.max), with_axes_and_keepdims, "max", (NDARRAY,)),
    Operation("{0}.min({1}, keepdims={2})", _extreme("min", np.min), with_axes_and_keepdims, "min", (NDARRAY,)),
    Operation("{0}.argmax({1})", argmax, with_axis, "argmax"),
]  # fmt: skip

# Softmax and its relatives


def floating_with_axis(program) -> tuple:
    a = program.array(lambda dtype: kind(dtype) == 2) if program.choices.chance(92) else program.array()
    return a, values.axis(program.choices, a.ndim)


def floating_with_axes(program) -> tuple:
    a = program.array(lambda dtype: kind(dtype) == 2) if program.choices.chance(92) else program.array()
    return a, values.axes(program.choices, a.ndim)


def _require(op: str, a: np.ndarray, axes: tuple[int, ...]) -> None:
    if kind(a.dtype) < 2:
        raise Refused(f"{op} of {a.dtype}")
    if any(a.shape[axis] == 0 for axis in axes):
        raise Refused(f"{op} of nothing")


def _shifted(x: np.ndarray, axes: tuple[int, ...]):
    """(m, x - m, sum(e^(x - m)), how many roundings u that sum may be off by, as a part of itself)"""
    largest = x.max(axes, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    shifted = x - largest
    e = np.exp(shifted)
    total = e.sum(axes, keepdims=True)
    magnified = np.where(e > 0, e * np.where(np.isfinite(shifted), np.abs(shifted), 0), 0).sum(axes, keepdims=True)
    roundings = magnified / np.where(total > 0, total, 1) + _count(x, axes) + 2
    return largest, shifted, total, roundings


def softmax_formula(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def logsumexp_formula(x, axes):
    axes = normalized(axes, x.ndim)
    largest, _, total, _ = _shifted(x, axes)
    return (np.log(total) + largest).squeeze(axes)


def log_softmax_formula(x, axis):
    axes = normalized(axis, x.ndim)
    _, shifted, total, _ = _shifted(x, axes)
    return np.where(np.isfinite(x.max(axes, keepdims=True)), shifted - np.log(total), np.nan)


def softmax(a, axis):
    axes = normalized(axis, a.ndim)
    _require("softmax", a, axes)
    x = a.astype(wider(a.dtype))
    exact = softmax_formula(x, axes)
    _, shifted, _, roundings = _shifted(x, axes)
    size = np.where(np.isfinite(shifted), np.abs(shifted), 0)
    tiny = float(np.finfo(computed_in(a.dtype)).tiny)
    return within(exact, roundoff(a.dtype) * (size + roundings + 4) * exact + tiny, a.dtype, signed_zeros=False)


def logsumexp(a, axes):
    axes = normalized(axes, a.ndim)
    _require("logsumexp", a, axes)
    x = a.astype(wider(a.dtype))
    largest, _, total, roundings = _shifted(x, axes)
    exact = logsumexp_formula(x, axes)
    error = roundings + 4 * np.abs(np.log(total)) + 2 * np.where(np.isfinite(largest), np.abs(largest), 0)
    error = np.where(np.isfinite(error), error, 0).squeeze(axes)
    return within(exact, roundoff(a.dtype) * error, a.dtype, signed_zeros=False)


def log_softmax(a, axis):
    axes = normalized(axis, a.ndim)
    _require("log_softmax", a, axes)
    x = a.astype(wider(a.dtype))
    largest, shifted, total, roundings = _shifted(x, axes)
    exact = log_softmax_formula(x, axis)
    error = roundings + 4 * np.abs(np.log(total)) + 2 * np.abs(largest) + np.abs(shifted) + 2 * np.abs(exact)
    return within(exact, roundoff(a.dtype) * np.where(np.isfinite(error), error, 0), a.dtype, signed_zeros=False)


SOFTMAXES = [
    Operation("ops.softmax({0}, {1})", softmax, floating_with_axis, "softmax", (TENSOR,), formula=softmax_formula),
    Operation("ops.log_softmax({0}, {1})", log_softmax, floating_with_axis, "softmax", (TENSOR,),
              formula=log_softmax_formula),
    Operation("ops.logsumexp({0}, {1})", logsumexp, floating_with_axes, "logsumexp|axes", (TENSOR,),
              formula=logsumexp_formula),
]  # fmt: skip

# Products


def factors(program) -> tuple:
    """Two operands of which the inner extents are mostly equal, with axes in front that mostly broadcast."""
    choices = program.choices
    a = program.array() if choices.chance(8) else program.array(where=lambda x: x.ndim > 0)
    inner = a.shape[-1] if a.ndim and not choices.chance(4) else 2
    form = choices.integer(0, 9)
    if form < 2:
        shape = (inner,)
    elif form < 6:
        shape = (inner, choices.integer(1, 3))
    else:
        shape = (*values.broadcastable(choices, a.shape[:-2])[-2:], inner, choices.integer(1, 3))
    if choices.chance(3):
        return a, program.foreign(shape)
    return a, program.leaf(shape, dtype=a.dtype if choices.chance(60) else None)


def matmul(a, b):
    """Any dtype: integers wrap around, bools are `or` of `and`."""
    a, b = own_pair(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise Refused("matmul of a number")
    dtype = promoted(a.dtype, b.dtype)
    a, b = a.astype(dtype), b.astype(dtype)
    if kind(dtype) < 2:
        return Exactly(np.asarray(np.matmul(a, b)))
    a, b = a.astype(wider(dtype)), b.astype(wider(dtype))
    exact = np.asarray(np.matmul(a, b))
    magnitudes = np.matmul(*(np.where(np.isfinite(x), np.abs(x), 0) for x in (a, b)))
    if np.isfinite(a).all() and np.isfinite(b).all():
        overflows = magnitudes > np.finfo(computed_in(dtype)).max
    else:  # a partial sum may be infinite before the infinity or NaN is met: only NaN for NaN is certain
        overflows = (magnitudes > np.finfo(computed_in(dtype)).max) & ~np.isnan(exact)
    tiny = a.shape[-1] * float(np.finfo(computed_in(dtype)).smallest_subnormal)  # of products that underflow
    result = within(exact, a.shape[-1] * roundoff(dtype) * magnitudes + tiny, dtype, signed_zeros=False)
    result.anything = result.anything | overflows
    return result


PRODUCTS = [
    Operation("{0} @ {1}", matmul, factors, "matmul|@", formula=np.matmul, weight=4),
    Operation("ops.matmul({0}, {1})", matmul, factors, "matmul", (TENSOR,), formula=np.matmul),
    Operation("{0}.matmul({1})", matmul, factors, "matmul", (TENSOR,), formula=np.matmul, weight=1),
]

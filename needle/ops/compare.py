"""Comparisons, and operations that choose each element from one operand or another."""

from __future__ import annotations

from collections.abc import Callable

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import elementwise as array_api
from needle.ops.broadcast import unbroadcast
from needle.ops.operands import as_tensors, operands
from needle.typing import ArrayLike, Number

_Function = Callable[[ArrayLike, ArrayLike], NDArray]


class _Extremum(Op):
    """maximum or minimum. Equal operands share the gradient evenly; if either is NaN, both get all of it."""

    def precedes(self, a: Tensor, b: Tensor) -> Tensor:
        """Where the result is a rather than b."""
        raise NotImplementedError

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        shared = where(equal(a, b), out_grad * 0.5, out_grad)
        return (
            unbroadcast(where(self.precedes(b, a), 0, shared), a) if a.requires_grad else None,
            unbroadcast(where(self.precedes(a, b), 0, shared), b) if b.requires_grad else None,
        )


class Maximum(_Extremum):
    compute = staticmethod(array_api.maximum)

    def precedes(self, a: Tensor, b: Tensor) -> Tensor:
        return less(b, a)


class Minimum(_Extremum):
    compute = staticmethod(array_api.minimum)

    def precedes(self, a: Tensor, b: Tensor) -> Tensor:
        return less(a, b)


class Where(Op):
    """condition ? a : b"""

    compute = staticmethod(array_api.where)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        condition, a, b = node.inputs
        return (
            None,
            unbroadcast(where(condition, out_grad, 0), a) if a.requires_grad else None,
            unbroadcast(where(condition, 0, out_grad), b) if b.requires_grad else None,
        )


class Compare(Op):
    """equal, not_equal, less or less_equal of two Tensors, or of a Tensor and a number; bool, without gradient"""

    differentiable = False

    def __init__(self, function: _Function, number: Number | None = None, number_is_left: bool = False) -> None:
        self.function = function
        self.number = number
        self.number_is_left = number_is_left

    def compute(self, a: NDArray, *b: NDArray) -> NDArray:
        if self.number is None:
            return self.function(a, *b)
        return self.function(self.number, a) if self.number_is_left else self.function(a, self.number)


_maximum = Maximum()
_minimum = Minimum()
_where = Where()


def _compare(function: _Function, a: ArrayLike, b: ArrayLike) -> Tensor:
    a, b = operands(function.__name__, a, b)
    if not isinstance(b, Tensor):
        return Compare(function, b)(a)  # type: ignore[arg-type]  # one of the two is a Tensor
    return Compare(function)(a, b) if isinstance(a, Tensor) else Compare(function, a, number_is_left=True)(b)


def maximum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The larger element of a and b; NaN if either is NaN."""
    return _maximum(*as_tensors("maximum", a, b))


def minimum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The smaller element of a and b; NaN if either is NaN."""
    return _minimum(*as_tensors("minimum", a, b))


def where(condition: Tensor, a: ArrayLike, b: ArrayLike) -> Tensor:
    """a where the condition (bool) is true, else b. Two numbers give bool, int64 or float32, by their types."""
    return _where(*as_tensors("where", condition, a, b))


def equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a == b, as bool; no gradient"""
    return _compare(array_api.equal, a, b)


def not_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a != b, as bool; no gradient"""
    return _compare(array_api.not_equal, a, b)


def less(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a < b, as bool; no gradient"""
    return _compare(array_api.less, a, b)


def less_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a <= b, as bool; no gradient"""
    return _compare(array_api.less_equal, a, b)


def greater(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a > b, as bool; no gradient"""
    return _compare(array_api.less, b, a)


def greater_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a >= b, as bool; no gradient"""
    return _compare(array_api.less_equal, b, a)

"""Comparisons, and operations that choose each element from one operand or another."""

from __future__ import annotations

from typing import TypeVar

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import elementwise as array_api
from needle.backend_ndarray.spec import Shaped, Spec
from needle.ops.broadcast import unbroadcast
from needle.ops.operands import as_tensors, operands
from needle.typing import ArrayLike, Number

_Operand = TypeVar("_Operand")


class _Extremum(Op):
    """maximum or minimum. Equal operands share the gradient evenly; if either is NaN, both get all of it."""

    kernel: str

    def infer(self, a: Shaped, b: Shaped) -> Spec:
        return array_api.infer_binary(self.kernel, a, b)

    def compute(self, a: NDArray, b: NDArray) -> NDArray:
        out: NDArray = getattr(array_api, self.kernel)(a, b)
        return out

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        shared = where(equal(a, b), out_grad * 0.5, out_grad)
        a_is_chosen, b_is_chosen = (less(b, a), less(a, b)) if self.kernel == "maximum" else (less(a, b), less(b, a))
        return (
            unbroadcast(where(b_is_chosen, 0, shared), a) if a.requires_grad else None,
            unbroadcast(where(a_is_chosen, 0, shared), b) if b.requires_grad else None,
        )


class Maximum(_Extremum):
    kernel = "maximum"


class Minimum(_Extremum):
    kernel = "minimum"


class Where(Op):
    """condition ? a : b"""

    def infer(self, condition: Shaped, a: Shaped, b: Shaped) -> Spec:
        return array_api.infer_where(condition, a, b)

    def compute(self, condition: NDArray, a: NDArray, b: NDArray) -> NDArray:
        return array_api.where(condition, a, b)

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

    def __init__(self, kernel: str, number: Number | None = None, number_is_left: bool = False) -> None:
        self.kernel = kernel
        self.number = number
        self.number_is_left = number_is_left

    def _both(self, operands: tuple[_Operand, ...]) -> tuple[_Operand | Number, ...]:
        if self.number is None:
            return operands
        return (self.number, *operands) if self.number_is_left else (*operands, self.number)

    def infer(self, *operands: Shaped) -> Spec:
        return array_api.infer_binary(self.kernel, *self._both(operands))

    def compute(self, *operands: NDArray) -> NDArray:
        out: NDArray = getattr(array_api, self.kernel)(*self._both(operands))
        return out


def _compare(kernel: str, a: ArrayLike, b: ArrayLike) -> Tensor:
    a, b = operands(kernel, a, b)
    if not isinstance(b, Tensor):
        return Compare(kernel, b)(a)  # type: ignore[arg-type]  # one of the two is a Tensor
    return Compare(kernel)(a, b) if isinstance(a, Tensor) else Compare(kernel, a, number_is_left=True)(b)


def maximum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The larger element of a and b; NaN if either is NaN."""
    return Maximum()(*as_tensors("maximum", a, b))


def minimum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The smaller element of a and b; NaN if either is NaN."""
    return Minimum()(*as_tensors("minimum", a, b))


def where(condition: Tensor, a: ArrayLike, b: ArrayLike) -> Tensor:
    """a where the condition (bool) is true, else b. Two numbers give bool, int64 or float32, by their types."""
    return Where()(*as_tensors("where", condition, a, b))


def equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a == b, as bool; no gradient"""
    return _compare("equal", a, b)


def not_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a != b, as bool; no gradient"""
    return _compare("not_equal", a, b)


def less(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a < b, as bool; no gradient"""
    return _compare("less", a, b)


def less_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a <= b, as bool; no gradient"""
    return _compare("less_equal", a, b)


def greater(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a > b, as bool; no gradient"""
    return _compare("less", b, a)


def greater_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a >= b, as bool; no gradient"""
    return _compare("less_equal", b, a)

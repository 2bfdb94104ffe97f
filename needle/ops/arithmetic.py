"""Arithmetic on two operands; one may be a number. Operands broadcast; gradients are summed back to their shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import elementwise as array_api
from needle.backend_ndarray.number import as_number
from needle.ops.broadcast import unbroadcast
from needle.ops.cast import cast, widened
from needle.ops.compare import equal, less_equal, where
from needle.ops.operands import operands
from needle.ops.unary import log, relu, relu_backward
from needle.typing import ArrayLike


class EWiseAdd(Op):
    """a + b"""

    compute = staticmethod(array_api.add)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        return (
            unbroadcast(out_grad, a) if a.requires_grad else None,
            unbroadcast(out_grad, b) if b.requires_grad else None,
        )


class AddReLU(Op):
    """max(a + b, 0); the derivative at 0 is 0, at NaN 1"""

    compute = staticmethod(array_api.add_relu)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        grad = relu_backward(out_grad, node)
        return (
            unbroadcast(grad, a) if a.requires_grad else None,
            unbroadcast(grad, b) if b.requires_grad else None,
        )


class EWiseSub(Op):
    """a - b"""

    compute = staticmethod(array_api.subtract)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        return (
            unbroadcast(out_grad, a) if a.requires_grad else None,
            unbroadcast(-out_grad, b) if b.requires_grad else None,
        )


class EWiseMul(Op):
    """a * b"""

    compute = staticmethod(array_api.multiply)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        return (
            unbroadcast(out_grad * b, a) if a.requires_grad else None,
            unbroadcast(out_grad * a, b) if b.requires_grad else None,
        )


class EWiseDiv(Op):
    """a / b; d/da = 1 / b, d/db = -a / b^2"""

    compute = staticmethod(array_api.divide)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        return (
            unbroadcast(out_grad / b, a) if a.requires_grad else None,
            unbroadcast(-widened(out_grad) * ((a / widened(b)) / b), b) if b.requires_grad else None,
        )


class EWisePow(Op):
    """a^b; d/da = b a^(b-1), but 0 where b = 0; d/db = a^b log(a), but 0 where a = 0 and b >= 0"""

    compute = staticmethod(array_api.power)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, b = node.inputs
        out_grad = widened(out_grad)
        x, y = cast(a, out_grad.dtype), cast(b, out_grad.dtype)  # with integers, b - 1 could wrap around
        grad_a = grad_b = None
        if a.requires_grad:
            grad_a = unbroadcast(where(equal(y, 0), 0, out_grad * (y * x ** (y - 1))), a)
        if b.requires_grad:
            is_flat = equal(x, 0) * less_equal(0, y)
            grad_b = unbroadcast(where(is_flat, 0, out_grad * (widened(node) * log(x))), b)
        return grad_a, grad_b


class _WithNumber(Op):
    """A binary function of a Tensor and, as its second operand, the Python number `scalar`."""

    function: Callable[[ArrayLike, ArrayLike], NDArray]  # of arrays

    def __init__(self, scalar: float) -> None:
        number = as_number(scalar)
        if number is None:
            raise TypeError(f"{self.function.__name__}: an operand of type {type(scalar).__name__}: expected a number")
        self.scalar = number

    def compute(self, a: NDArray) -> NDArray:
        return self.function(a, self.scalar)


class AddScalar(_WithNumber):
    """a + scalar"""

    function = staticmethod(array_api.add)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad


class SubScalar(_WithNumber):
    """a - scalar"""

    function = staticmethod(array_api.subtract)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad


class MulScalar(_WithNumber):
    """a * scalar"""

    function = staticmethod(array_api.multiply)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad * self.scalar


class DivScalar(_WithNumber):
    """a / scalar"""

    function = staticmethod(array_api.divide)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad / self.scalar


class PowerScalar(_WithNumber):
    """a^scalar; d/da = scalar a^(scalar-1), but 0 if scalar = 0"""

    function = staticmethod(array_api.power)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        if self.scalar == 0:
            return out_grad * 0
        return out_grad * (self.scalar * power(widened(node.inputs[0]), self.scalar - 1))


class _Reflected(_WithNumber):
    """A binary function with the operands reflected, as in Python's __rsub__: the number first, then the Tensor."""

    def compute(self, a: NDArray) -> NDArray:
        return self.function(self.scalar, a)


class RSubScalar(_Reflected):
    """scalar - a"""

    function = staticmethod(array_api.subtract)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return -out_grad


class RDivScalar(_Reflected):
    """scalar / a; d/da = -scalar / a^2"""

    function = staticmethod(array_api.divide)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return -(widened(out_grad) * (widened(node) / node.inputs[0]))


class RPowerScalar(_Reflected):
    """scalar^a; d/da = scalar^a log(scalar), but 0 where scalar = 0 and a >= 0"""

    function = staticmethod(array_api.power)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        base = float(self.scalar)
        if base:
            return out_grad * (widened(node) * (math.log(base) if base > 0 else math.nan))
        return where(less_equal(0, node.inputs[0]), 0, out_grad * (widened(node) * -math.inf))


_add = EWiseAdd()
_add_relu = AddReLU()
_subtract = EWiseSub()
_multiply = EWiseMul()
_divide = EWiseDiv()
_power = EWisePow()


def _binary(
    op: str,
    a: ArrayLike,
    b: ArrayLike,
    of_tensors: Op,
    with_number: type[_WithNumber],
    reflected: type[_WithNumber],
) -> Tensor:
    """Calls the Op that fits the operands."""
    if type(a) is not Tensor or type(b) is not Tensor:
        a, b = operands(op, a, b)
    if not isinstance(b, Tensor):
        return with_number(b)(a)  # type: ignore[arg-type]  # one of the two is a Tensor
    return of_tensors(a, b) if isinstance(a, Tensor) else reflected(a)(b)


def add(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a + b"""
    return _binary("add", a, b, _add, AddScalar, AddScalar)


def add_relu(a: ArrayLike, b: ArrayLike) -> Tensor:
    """max(a + b, 0) in one pass: a ReLU after a residual connection or a bias. Takes the operands of `add`."""
    a, b = operands("add_relu", a, b)
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return relu(add(a, b))
    return _add_relu(a, b)


def subtract(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a - b"""
    return _binary("subtract", a, b, _subtract, SubScalar, RSubScalar)


def multiply(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a * b"""
    return _binary("multiply", a, b, _multiply, MulScalar, MulScalar)


def divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a / b; the quotient of integers is float32"""
    return _binary("divide", a, b, _divide, DivScalar, RDivScalar)


def power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a^b. Raises DTypeError for an integer to a negative power, see needle/backend_ndarray/elementwise.py."""
    return _binary("power", a, b, _power, PowerScalar, RPowerScalar)

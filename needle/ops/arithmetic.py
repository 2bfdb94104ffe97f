"""Arithmetic on two operands, one of which may be a number. Operands broadcast; gradients are summed back to their shape."""

from __future__ import annotations

import math

from needle.autograd import Op, Tensor
from needle.backend_ndarray import elementwise as array_api
from needle.ops.broadcast import as_tensor, is_number, unbroadcast
from needle.ops.elementwise import Negate, ReLUBackward, log
from needle.ops.select import equal, where


class EWiseAdd(Op):
    """a + b"""

    def infer(self, a, b):
        return array_api.infer_binary("add", a, b)

    def compute(self, a, b):
        return array_api.add(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return (
            unbroadcast(out_grad, a) if a.requires_grad else None,
            unbroadcast(out_grad, b) if b.requires_grad else None,
        )


class AddReLU(Op):
    """max(a + b, 0); the derivative at 0 is 0"""

    def infer(self, a, b):
        return array_api.infer_binary("add_relu", a, b)

    def compute(self, a, b):
        return array_api.add_relu(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        grad = ReLUBackward()(out_grad, node)
        return (
            unbroadcast(grad, a) if a.requires_grad else None,
            unbroadcast(grad, b) if b.requires_grad else None,
        )


class EWiseSub(Op):
    """a - b"""

    def infer(self, a, b):
        return array_api.infer_binary("subtract", a, b)

    def compute(self, a, b):
        return array_api.subtract(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return (
            unbroadcast(out_grad, a) if a.requires_grad else None,
            unbroadcast(-out_grad, b) if b.requires_grad else None,
        )


class EWiseMul(Op):
    """a * b"""

    def infer(self, a, b):
        return array_api.infer_binary("multiply", a, b)

    def compute(self, a, b):
        return array_api.multiply(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return (
            unbroadcast(out_grad * b, a) if a.requires_grad else None,
            unbroadcast(out_grad * a, b) if b.requires_grad else None,
        )


class EWiseDiv(Op):
    """a / b"""

    def infer(self, a, b):
        return array_api.infer_binary("divide", a, b)

    def compute(self, a, b):
        return array_api.divide(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        by_b = out_grad / b
        return unbroadcast(by_b, a), unbroadcast(-by_b * (a / b), b) if b.requires_grad else None


class EWisePow(Op):
    """a^b; d/da = b a^(b-1), d/db = a^b log(a), taken as 0 where a is 0"""

    def infer(self, a, b):
        return array_api.infer_binary("power", a, b)

    def compute(self, a, b):
        return array_api.power(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        grad_b = None
        if b.requires_grad:
            grad_b = unbroadcast(out_grad * node * log(where(equal(a, 0), 1, a)), b)
        return unbroadcast(out_grad * b * a ** (b - 1), a) if a.requires_grad else None, grad_b


class AddScalar(Op):
    """a + scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("add", a, self.scalar)

    def compute(self, a):
        return array_api.add(a, self.scalar)

    def gradient(self, out_grad, node):
        return out_grad


class MulScalar(Op):
    """a * scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("multiply", a, self.scalar)

    def compute(self, a):
        return array_api.multiply(a, self.scalar)

    def gradient(self, out_grad, node):
        return out_grad * self.scalar


class DivScalar(Op):
    """a / scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("divide", a, self.scalar)

    def compute(self, a):
        return array_api.divide(a, self.scalar)

    def gradient(self, out_grad, node):
        return out_grad / self.scalar


class PowerScalar(Op):
    """a^scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("power", a, self.scalar)

    def compute(self, a):
        return array_api.power(a, self.scalar)

    def gradient(self, out_grad, node):
        if self.scalar == 0:
            return out_grad * 0
        return out_grad * (self.scalar * power_scalar(node.inputs[0], self.scalar - 1))


class ScalarPower(Op):
    """scalar^a; d/da = scalar^a log(scalar)"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("power", self.scalar, a)

    def compute(self, a):
        return array_api.power(self.scalar, a)

    def gradient(self, out_grad, node):
        return out_grad * node * math.log(self.scalar)


def add(a, b) -> Tensor:
    """a + b"""
    if is_number(b):
        return AddScalar(b)(a)
    return AddScalar(a)(b) if is_number(a) else EWiseAdd()(as_tensor(a, b), as_tensor(b, a))


def add_relu(a, b) -> Tensor:
    """max(a + b, 0) in one pass: a ReLU after a residual connection or a bias. Operands are those of `add`."""
    return AddReLU()(as_tensor(a, b), as_tensor(b, a))


def add_scalar(a: Tensor, scalar: float) -> Tensor:
    """a + scalar"""
    return AddScalar(scalar)(a)


def subtract(a, b) -> Tensor:
    """a - b"""
    if is_number(b):
        return AddScalar(-b)(a)
    return AddScalar(a)(Negate()(b)) if is_number(a) else EWiseSub()(as_tensor(a, b), as_tensor(b, a))


def multiply(a, b) -> Tensor:
    """a * b"""
    if is_number(b):
        return MulScalar(b)(a)
    return MulScalar(a)(b) if is_number(a) else EWiseMul()(as_tensor(a, b), as_tensor(b, a))


def mul_scalar(a: Tensor, scalar: float) -> Tensor:
    """a * scalar"""
    return MulScalar(scalar)(a)


def divide(a, b) -> Tensor:
    """a / b; float32 for integers"""
    if is_number(b):
        return DivScalar(b)(a)
    return MulScalar(a)(PowerScalar(-1.0)(b)) if is_number(a) else EWiseDiv()(as_tensor(a, b), as_tensor(b, a))


def divide_scalar(a: Tensor, scalar: float) -> Tensor:
    """a / scalar"""
    return DivScalar(scalar)(a)


def power(a, b) -> Tensor:
    """a^b"""
    if is_number(b):
        return PowerScalar(b)(a)
    return ScalarPower(a)(b) if is_number(a) else EWisePow()(as_tensor(a, b), as_tensor(b, a))


def power_scalar(a: Tensor, scalar: float) -> Tensor:
    """a^scalar"""
    return PowerScalar(scalar)(a)


def ewise_pow(a: Tensor, b: Tensor) -> Tensor:
    """a^b"""
    return EWisePow()(a, b)

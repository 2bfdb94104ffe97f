"""Comparisons, and operations that take each element from one operand or another."""

from __future__ import annotations

from needle.autograd import Op, Tensor
from needle.backend_ndarray import elementwise as array_api
from needle.ops.broadcast import as_tensor, unbroadcast


class _Extremum(Op):
    """maximum or minimum; where both are equal the gradient is shared evenly."""

    kernel: str

    def infer(self, a, b):
        return array_api.infer_binary(self.kernel, a, b)

    def compute(self, a, b):
        return getattr(array_api, self.kernel)(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        half = out_grad * 0.5
        tie = equal(a, b)
        chosen_a, chosen_b = equal(node, a), equal(node, b)
        return (
            unbroadcast(where(tie, half, where(chosen_a, out_grad, 0)), a),
            unbroadcast(where(tie, half, where(chosen_b, out_grad, 0)), b),
        )


class Maximum(_Extremum):
    kernel = "maximum"


class Minimum(_Extremum):
    kernel = "minimum"


class Where(Op):
    """condition ? a : b"""

    def infer(self, condition, a, b):
        return array_api.infer_where(condition, a, b)

    def compute(self, condition, a, b):
        return array_api.where(condition, a, b)

    def gradient(self, out_grad, node):
        condition, a, b = node.inputs
        return (
            None,
            unbroadcast(where(condition, out_grad, 0), a) if a.requires_grad else None,
            unbroadcast(where(condition, 0, out_grad), b) if b.requires_grad else None,
        )


class Compare(Op):
    """equal, not_equal, less or less_equal; a bool Tensor without gradient"""

    differentiable = False

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def infer(self, a, b):
        return array_api.infer_binary(self.kernel, a, b)

    def compute(self, a, b):
        return getattr(array_api, self.kernel)(a, b)


def maximum(a: Tensor, b: Tensor | float) -> Tensor:
    """The larger one, element by element; NaN if either is."""
    return Maximum()(a, as_tensor(b, a))


def minimum(a: Tensor, b: Tensor | float) -> Tensor:
    """The smaller one, element by element; NaN if either is."""
    return Minimum()(a, as_tensor(b, a))


def where(condition: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """a where the condition (bool) is true, else b."""
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else Tensor(0.0, device=condition.device)
    return Where()(condition, as_tensor(a, like), as_tensor(b, like))


def equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a == b, as bool; no gradient"""
    return Compare("equal")(a, as_tensor(b, a))


def not_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a != b, as bool; no gradient"""
    return Compare("not_equal")(a, as_tensor(b, a))


def less(a: Tensor, b: Tensor | float) -> Tensor:
    """a < b, as bool; no gradient"""
    return Compare("less")(a, as_tensor(b, a))


def less_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a <= b, as bool; no gradient"""
    return Compare("less_equal")(a, as_tensor(b, a))


def greater(a: Tensor, b: Tensor | float) -> Tensor:
    """a > b, as bool; no gradient"""
    return Compare("less")(as_tensor(b, a), a)


def greater_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a >= b, as bool; no gradient"""
    return Compare("less_equal")(as_tensor(b, a), a)

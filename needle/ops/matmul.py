"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import matmul as array_api
from needle.backend_ndarray.elementwise import relu_backward
from needle.backend_ndarray.spec import Spec, check_nonlinearity
from needle.ops.arithmetic import multiply
from needle.ops.broadcast import unbroadcast
from needle.ops.fused import FusedOp
from needle.ops.operands import as_tensors
from needle.ops.shape import reshape, transpose
from needle.ops.unary import relu
from needle.typing import ArrayLike


class MatMul(Op):
    """c = a @ b; grad_a = grad_c @ b^T, grad_b = a^T @ grad_c, summed over axes that were broadcast"""

    compute = staticmethod(array_api.matmul)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = node.inputs
        if a.ndim == 1 or b.ndim == 1:
            return self._vector_gradient(out_grad, a, b)
        if b.ndim == 2:  # one matrix for all rows of a, so one product sums over them
            return (
                matmul(out_grad, transpose(b)) if a.requires_grad else None,
                matmul(transpose(_as_rows(a)), _as_rows(out_grad)) if b.requires_grad else None,
            )
        return (
            unbroadcast(matmul(out_grad, transpose(b)), a) if a.requires_grad else None,
            unbroadcast(matmul(transpose(a), out_grad), b) if b.requires_grad else None,
        )

    def _vector_gradient(self, out_grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The gradient if an operand is 1-d, computed with its missing axis restored."""
        row, column = (1, *a.shape), (*b.shape, 1)
        grad_a: Callable[[], Tensor]
        grad_b: Callable[[], Tensor]
        if a.ndim == 1 and b.ndim == 1:
            grad_a, grad_b = lambda: multiply(b, out_grad), lambda: multiply(a, out_grad)
        elif a.ndim == 1:  # (k,) @ (..., k, n) gives (..., n)
            grad = reshape(out_grad, (*out_grad.shape[:-1], 1, out_grad.shape[-1]))
            grad_a = lambda: reshape(unbroadcast(matmul(grad, transpose(b)), Spec(row, a.dtype)), a.shape)
            grad_b = lambda: matmul(transpose(reshape(a, row)), grad)
        else:
            grad = reshape(out_grad, (*out_grad.shape, 1))
            grad_a = lambda: matmul(grad, transpose(reshape(b, column)))
            grad_b = lambda: reshape(unbroadcast(matmul(transpose(a), grad), Spec(column, b.dtype)), b.shape)
        return grad_a() if a.requires_grad else None, grad_b() if b.requires_grad else None


def _as_rows(a: Tensor) -> Tensor:
    """(..., n) as a matrix of n columns."""
    if a.ndim == 2:
        return a
    return reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))


class Linear(FusedOp):
    """out = x @ weight + bias, or, with "relu", max(x @ weight + bias, 0), in one kernel"""

    def __init__(self, nonlinearity: str | None = None) -> None:
        check_nonlinearity("linear", nonlinearity)
        self.nonlinearity = nonlinearity

    def compute(self, x: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
        return array_api.linear(x, weight, bias, self.nonlinearity)

    def decompose(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = matmul(x, weight) + bias
        return relu(out) if self.nonlinearity == "relu" else out

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        x, weight = (value.cached_data for value in node.inputs[:2])
        grad = out_grad.cached_data
        if self.nonlinearity == "relu":
            grad = relu_backward(grad, node.cached_data)
        return array_api.linear_backward(grad, x, weight, node.inputs[0].requires_grad)


_matmul = MatMul()


def matmul(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a @ b: (..., m, k) @ (..., k, n) gives (..., m, n); the leading axes broadcast; 1-d operands as in NumPy."""
    return _matmul(*as_tensors("matmul", a, b))


def linear(x: Tensor, weight: Tensor, bias: Tensor, nonlinearity: str | None = None) -> Tensor:
    """x @ weight + bias: x (..., k), weight (k, n), bias (n,). Operands of several dtypes are promoted.

    With the nonlinearity "relu", the result is max(x @ weight + bias, 0).
    """
    return Linear(nonlinearity)(x, weight, bias)

"""Matrix products."""

from __future__ import annotations

import math

from needle.backend_ndarray import elementwise, ndarray
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import promote_types
from needle.backend_ndarray.shape import broadcast_shapes
from needle.backend_ndarray.spec import Spec, check_nonlinearity, require_floating
from needle.errors import ShapeError


def infer_matmul(a, b) -> Spec:
    """(..., m, k) @ (..., k, n) gives (..., m, n); the leading axes broadcast.

    A 1-d `a` is treated as a row and a 1-d `b` as a column, and that axis is removed from the result.
    """
    if not a.shape or not b.shape:
        raise ShapeError(f"matmul: shapes {a.shape} and {b.shape}: expected one dimension or more")
    a_shape = a.shape if len(a.shape) > 1 else (1, *a.shape)
    b_shape = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if a_shape[-1] != b_shape[-2]:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape} do not match: "
            f"expected the same inner extent, met {a_shape[-1]} and {b_shape[-2]}"
        )
    batch = broadcast_shapes("matmul", a_shape[:-2], b_shape[:-2])
    rows = a_shape[-2:-1] if len(a.shape) > 1 else ()
    columns = b_shape[-1:] if len(b.shape) > 1 else ()
    return Spec((*batch, *rows, *columns), promote_types(a.dtype, b.dtype))


def matmul(a, b):
    """a @ b; for the shapes see `infer_matmul`. Strides may be any; a transposed operand is not copied."""
    a, b = elementwise.operands("matmul", a, b)
    same_device("matmul", a, b)
    spec = infer_matmul(a, b)
    a, b = a.astype(spec.dtype), b.astype(spec.dtype)
    a = a if a.ndim > 1 else a.reshape(1, -1)
    b = b if b.ndim > 1 else b.reshape(-1, 1)
    if b.ndim == 2 and a.ndim > 2:  # one matrix for all rows of a, so one product, not one per batch
        a = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    out = ndarray.empty((*batch, a.shape[-2], b.shape[-1]), spec.dtype, a.device)
    if batch:
        a, b = a.broadcast_to((*batch, *a.shape[-2:])), b.broadcast_to((*batch, *b.shape[-2:]))
    call(a.device, "matmul", a, b, out)
    return out if out.shape == spec.shape else out.reshape(spec.shape)


def infer_linear(x, weight, bias) -> Spec:
    """(..., n) from x (..., k), weight (k, n) and bias (n,), whose dtypes must promote to a floating dtype."""
    if not x.shape or len(weight.shape) != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"linear: x {x.shape}, weight {weight.shape}, bias {bias.shape}: expected (..., k), (k, n) and (n,)"
        )
    dtype = promote_types(promote_types(x.dtype, weight.dtype), bias.dtype)
    if dtype.kind != "floating":
        require_floating("linear", x, weight, bias)
    return Spec((*x.shape[:-1], weight.shape[1]), dtype)


def linear(x, weight, bias, nonlinearity: str | None = None):
    """x @ weight + bias, or with "relu" max(x @ weight + bias, 0), in one pass over the result."""
    check_nonlinearity("linear", nonlinearity)
    same_device("linear", x, weight, bias)
    spec = infer_linear(x, weight, bias)
    rows = math.prod(x.shape[:-1])
    out = ndarray.empty((rows, weight.shape[1]), spec.dtype, x.device)
    x, weight, bias = (a.astype(spec.dtype) for a in (x.reshape(rows, weight.shape[0]), weight, bias))
    call(x.device, "linear", x, weight, bias, out, nonlinearity == "relu")
    return out.reshape(spec.shape)


def linear_backward(grad_out, x, weight, wants_grad_x: bool):
    """(grad_x, grad_weight, grad_bias) of `linear`: g @ weight^T, x^T @ g and the sum of g over rows.

    grad_x is None unless `wants_grad_x`.
    """
    rows = math.prod(x.shape[:-1])
    grad_rows = grad_out.reshape(rows, weight.shape[1])
    grad_x = matmul(grad_out, weight.T) if wants_grad_x else None
    return grad_x, matmul(x.reshape(rows, weight.shape[0]).T, grad_rows), grad_rows.sum(0)

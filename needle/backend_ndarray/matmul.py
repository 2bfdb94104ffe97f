"""Matrix products."""

from __future__ import annotations

import math

from needle.backend_ndarray import elementwise, ndarray
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DType, promote_types
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape, broadcast_shapes, compact_strides, remembered
from needle.backend_ndarray.spec import Shaped, Spec, check_nonlinearity, require_floating
from needle.errors import ShapeError
from needle.typing import ArrayLike


def infer_matmul(a: Shaped, b: Shaped) -> Spec:
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


def matmul(a: ArrayLike, b: ArrayLike) -> NDArray:
    """a @ b; for the shapes see `infer_matmul`. Strides may be any; a transposed operand is not copied."""
    x: NDArray
    y: NDArray
    x, y = elementwise.operands("matmul", a, b)  # type: ignore[assignment]  # same_device refuses numbers
    device = same_device("matmul", x, y)
    dtype, x_shape, y_shape, batch, out_shape, shape = _shapes(x.shape, y.shape, x.dtype, y.dtype)
    x = x if x.dtype is dtype else x.astype(dtype)
    y = y if y.dtype is dtype else y.astype(dtype)
    x = x if x.shape == x_shape else x.reshape(x_shape)
    y = y if y.shape == y_shape else y.reshape(y_shape)
    if batch:
        x, y = x.broadcast_to((*batch, *x_shape[-2:])), y.broadcast_to((*batch, *y_shape[-2:]))
    out = NDArray.allocate(out_shape, compact_strides(out_shape), dtype, device)
    call(device, "matmul", x, y, out)
    return out if out_shape == shape else out.reshape(shape)


@remembered
def _shapes(
    a_shape: Shape, b_shape: Shape, a_dtype: DType, b_dtype: DType
) -> tuple[DType, Shape, Shape, Shape, Shape, Shape]:
    """(dtype, shapes of both operands as matrices, batch, shape of their product, shape of the result)."""
    shape, dtype = infer_matmul(Spec(a_shape, a_dtype), Spec(b_shape, b_dtype))
    x = a_shape if len(a_shape) > 1 else (1, *a_shape)
    y = b_shape if len(b_shape) > 1 else (*b_shape, 1)
    if len(y) == 2:  # one matrix for all rows of x, so one product, not one per batch
        x = (math.prod(x[:-1]), x[-1])
    batch = broadcast_shapes("matmul", x[:-2], y[:-2])
    return dtype, x, y, batch, (*batch, x[-2], y[-1]), shape


def infer_linear(x: Shaped, weight: Shaped, bias: Shaped) -> Spec:
    """(..., n) from x (..., k), weight (k, n) and bias (n,), whose dtypes must promote to a floating dtype."""
    if not x.shape or len(weight.shape) != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"linear: x {x.shape}, weight {weight.shape}, bias {bias.shape}: expected (..., k), (k, n) and (n,)"
        )
    dtype = promote_types(promote_types(x.dtype, weight.dtype), bias.dtype)
    if dtype.kind != "floating":
        require_floating("linear", x, weight, bias)
    return Spec((*x.shape[:-1], weight.shape[1]), dtype)


def linear(x: NDArray, weight: NDArray, bias: NDArray, nonlinearity: str | None = None) -> NDArray:
    """x @ weight + bias, or with "relu" max(x @ weight + bias, 0), in one pass over the result."""
    check_nonlinearity("linear", nonlinearity)
    same_device("linear", x, weight, bias)
    spec = infer_linear(x, weight, bias)
    rows = math.prod(x.shape[:-1])
    out = ndarray.empty((rows, weight.shape[1]), spec.dtype, x.device)
    x, weight, bias = (a.astype(spec.dtype) for a in (x.reshape(rows, weight.shape[0]), weight, bias))
    call(x.device, "linear", x, weight, bias, out, nonlinearity == "relu")
    return out.reshape(spec.shape)


def linear_backward(
    grad_out: NDArray, x: NDArray, weight: NDArray, wants_grad_x: bool
) -> tuple[NDArray | None, NDArray, NDArray]:
    """(grad_x, grad_weight, grad_bias) of `linear`: g @ weight^T, x^T @ g and the sum of g over rows.

    grad_x is None unless `wants_grad_x`.
    """
    rows = math.prod(x.shape[:-1])
    grad_rows = grad_out.reshape(rows, weight.shape[1])
    grad_x = matmul(grad_out, weight.T) if wants_grad_x else None
    return grad_x, matmul(x.reshape(rows, weight.shape[0]).T, grad_rows), grad_rows.sum(0)

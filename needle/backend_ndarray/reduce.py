"""Reductions over any set of axes; None means all of them."""

from __future__ import annotations

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import bool_, float32, float64, int64
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import (
    Axes,
    normalize_axes,
    normalize_axis,
    reduced_shape,
)
from needle.backend_ndarray.spec import Shaped, Spec
from needle.errors import DTypeError, ShapeError


def infer_reduce(op: str, a: Shaped, axis: Axes = None, keepdims: bool = False) -> Spec:
    """A sum of integers or bools is int64, as in the array API standard; other results keep the dtype of a."""
    axes = normalize_axes(op, axis, len(a.shape))
    if op != "sum" and a.dtype is bool_:
        raise DTypeError(f"{op}: dtype bool: expected numbers")
    if op != "sum" and any(a.shape[i] == 0 for i in axes):
        raise ShapeError(f"{op}: no elements along axes {axes} of shape {a.shape}: expected one or more")
    keepdims = keepdims if type(keepdims) is bool else flag(op, "keepdims", keepdims)
    dtype = int64 if op == "sum" and a.dtype.kind != "floating" else a.dtype
    return Spec(reduced_shape(a.shape, axes, keepdims), dtype)


def infer_sum(a: Shaped, axis: Axes = None, keepdims: bool = False, wide: bool = False) -> Spec:
    """int64 for integers and bools, as in the array API standard; with `wide`, float32 for half types."""
    spec = infer_reduce("sum", a, axis, keepdims)
    return spec._replace(dtype=float32) if wide and spec.dtype.itemsize == 2 else spec


def _reduce(op: str, a: NDArray, axis: Axes, keepdims: bool, wide: bool = False) -> NDArray:
    if type(a) is NDArray and not wide:  # in one call, for floats
        result: NDArray | None = a.device.kernels.reductions[op](a, axis, keepdims)
        if result is not None:
            return result
    same_device(op, a)
    axes = normalize_axes(op, axis, a.ndim)
    spec = infer_sum(a, axes, keepdims, wide) if op == "sum" else infer_reduce(op, a, axes, keepdims)
    out = ndarray.empty(reduced_shape(a.shape, axes, True), spec.dtype, a.device)
    call(a.device, op, a if a.dtype.kind == "floating" else a.astype(spec.dtype), out)
    return out.reshape(spec.shape)


def sum(a: NDArray, axis: Axes = None, keepdims: bool = False, wide: bool = False) -> NDArray:
    """The sum, 0 if there are no elements. Half types are summed in float32; with `wide` the result stays float32."""
    return _reduce("sum", a, axis, keepdims, wide)


def sum_of_squares(a: NDArray) -> NDArray:
    """The sum of the squares of all elements of a floating array: 0-d, float64 if a is, else float32."""
    dtype = float64 if a.dtype is float64 else float32
    out = ndarray.empty((1,) * a.ndim, dtype, a.device)
    call(a.device, "sum_of_squares", a, out)
    return out.reshape(())


def max(a: NDArray, axis: Axes = None, keepdims: bool = False) -> NDArray:
    """The largest element, or NaN if any element is NaN."""
    return _reduce("max", a, axis, keepdims)


def min(a: NDArray, axis: Axes = None, keepdims: bool = False) -> NDArray:
    """The smallest element, or NaN if any element is NaN."""
    return _reduce("min", a, axis, keepdims)


def infer_arg_reduce(op: str, a: Shaped, axis: int | None = None, keepdims: bool = False) -> Spec:
    """The shape of the result, as int64; without an axis the array is flattened."""
    keepdims = flag(op, "keepdims", keepdims)
    if axis is None:
        return Spec((1,) * len(a.shape) if keepdims else (), int64)
    spec = infer_reduce(op, a, normalize_axis(op, axis, len(a.shape)), keepdims)
    return Spec(spec.shape, int64)


def _arg_reduce(op: str, a: NDArray, axis: int | None, keepdims: bool) -> NDArray:
    same_device(op, a)
    spec = infer_arg_reduce(op, a, axis, keepdims)
    if axis is None:
        a, axis = a.flat, 0
    axes = (normalize_axis(op, axis, a.ndim),)
    infer_reduce(op, a, axes)
    out = ndarray.empty(reduced_shape(a.shape, axes, True), int64, a.device)
    call(a.device, op, a, out)
    return out.reshape(spec.shape)


def argmax(a: NDArray, axis: int | None = None, keepdims: bool = False) -> NDArray:
    """The position of the first largest element along an axis, or of the first NaN if there is one."""
    return _arg_reduce("argmax", a, axis, keepdims)


def argmin(a: NDArray, axis: int | None = None, keepdims: bool = False) -> NDArray:
    """The position of the first smallest element along an axis, or of the first NaN if there is one."""
    return _arg_reduce("argmin", a, axis, keepdims)

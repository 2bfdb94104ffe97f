"""Arrays made on a device: device.zeros(2, 3) and the like, which are added to Device from here.

The random ones are drawn from NumPy's global generator, so np.random.seed repeats them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import whole
from needle.backend_ndarray.device import Device
from needle.backend_ndarray.dtype import DType, as_dtype
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape, ShapeLike, as_shape
from needle.backend_ndarray.whole_numbers import whole_numbers_of
from needle.errors import OutOfMemoryError, ShapeError
from needle.typing import ArrayLike, NumPyArray


def empty(device: Device, shape: ShapeLike, dtype: str | DType = "float32") -> NDArray:
    """An uninitialized array."""
    return ndarray.empty(shape, dtype, device)


def full(device: Device, shape: ShapeLike, fill_value: float, dtype: str | DType = "float32") -> NDArray:
    """An array of one value."""
    return ndarray.full(shape, fill_value, dtype, device)


def zeros(device: Device, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray:
    """An array of zeros; the shape may be one tuple or several ints."""
    return ndarray.full(one_shape("zeros", shape), 0, dtype, device, "zeros")


def ones(device: Device, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray:
    """An array of ones; the shape may be one tuple or several ints."""
    return ndarray.full(one_shape("ones", shape), 1, dtype, device, "ones")


def rand(device: Device, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray:
    """Uniform on [0, 1)."""
    return _from_numpy("rand", drawn("rand", np.random.rand, shape), dtype, device)


def randn(device: Device, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray:
    """Standard normal."""
    return _from_numpy("randn", drawn("randn", np.random.randn, shape), dtype, device)


def one_hot(device: Device, n: int, i: ArrayLike, dtype: str | DType = "float32") -> NDArray:
    """Row k is zeros except for a one at column i[k]. Raises ShapeError unless i holds whole numbers in 0..n-1."""
    indices = whole_numbers_of("one_hot", "index", i)
    n = whole("one_hot", "n", n)
    wrong = indices[(indices < 0) | (indices >= n)]
    if wrong.size:
        raise ShapeError(f"one_hot: index {wrong.flat[0]}, expected 0 to {n - 1}")
    as_shape("one_hot", (*indices.shape, n))
    try:
        rows = indices[..., None] == np.arange(n)
    except (MemoryError, ValueError):
        raise OutOfMemoryError(f"one_hot: no memory for shape {(*indices.shape, n)}") from None
    return _from_numpy("one_hot", rows, dtype, device)


for _function in (empty, full, zeros, ones, rand, randn, one_hot):
    setattr(Device, _function.__name__, _function)


def one_shape(op: str, shape: tuple[ShapeLike, ...]) -> Shape:
    """The shape given by the arguments `shape` of a call f(2, 3) or f((2, 3))."""
    return as_shape(op, shape[0] if len(shape) == 1 else shape)  # type: ignore[arg-type]  # it checks


def drawn(op: str, draw: Callable[..., NumPyArray | float], shape: tuple[ShapeLike, ...]) -> NumPyArray:
    """The numbers that a function of np.random draws for this shape, as an array."""
    shape = one_shape(op, shape)
    try:
        return np.asarray(draw(*shape))
    except (MemoryError, ValueError):  # the latter for more than 2^63 bytes
        raise OutOfMemoryError(f"{op}: no memory for float64 numbers of shape {shape}") from None


def _from_numpy(op: str, values: NumPyArray, dtype: str | DType, device: Device) -> NDArray:
    return ndarray.array(np.asarray(values), as_dtype(dtype, op), device, op)

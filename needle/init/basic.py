"""Constants and random numbers. Every function takes `device`, `dtype` and `requires_grad`."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from needle.autograd import Tensor, require_tensors
from needle.backend_ndarray import Device, DType, default_device
from needle.backend_ndarray.arguments import flag, real
from needle.backend_ndarray.creation import drawn, one_shape
from needle.backend_ndarray.device import require_device
from needle.backend_ndarray.ndarray import full
from needle.backend_ndarray.shape import ShapeLike
from needle.typing import ArrayLike


class TensorOptions(TypedDict, total=False):
    """What every function here takes, for functions that pass it on."""

    device: Device | None
    dtype: str | DType
    requires_grad: bool


def rand(
    *shape: ShapeLike,
    low: float = 0.0,
    high: float = 1.0,
    device: Device | None = None,
    dtype: str | DType = "float32",
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [low, high)."""
    low, high = real("rand", "low", low), real("rand", "high", high)
    values = drawn("rand", np.random.rand, shape) * (high - low) + low
    return Tensor(values, device=device, dtype=dtype, requires_grad=requires_grad)


def randn(
    *shape: ShapeLike,
    mean: float = 0.0,
    std: float = 1.0,
    device: Device | None = None,
    dtype: str | DType = "float32",
    requires_grad: bool = False,
) -> Tensor:
    """Normal with the given mean and standard deviation."""
    mean, std = real("randn", "mean", mean), real("randn", "std", std)
    values = drawn("randn", np.random.randn, shape) * std + mean
    return Tensor(values, device=device, dtype=dtype, requires_grad=requires_grad)


def randb(
    *shape: ShapeLike,
    p: float = 0.5,
    device: Device | None = None,
    dtype: str | DType = "bool",
    requires_grad: bool = False,
) -> Tensor:
    """True, or 1, with probability p."""
    p = real("randb", "p", p, 0, most=1)
    return Tensor(drawn("randb", np.random.rand, shape) <= p, device=device, dtype=dtype, requires_grad=requires_grad)


def constant(
    *shape: ShapeLike,
    c: float = 1.0,
    device: Device | None = None,
    dtype: str | DType = "float32",
    requires_grad: bool = False,
) -> Tensor:
    """All elements are c."""
    return _constant("constant", shape, c, dtype, device, requires_grad)


def ones(
    *shape: ShapeLike,
    device: Device | None = None,
    dtype: str | DType = "float32",
    requires_grad: bool = False,
) -> Tensor:
    """All elements are 1."""
    return _constant("ones", shape, 1.0, dtype, device, requires_grad)


def zeros(
    *shape: ShapeLike,
    device: Device | None = None,
    dtype: str | DType = "float32",
    requires_grad: bool = False,
) -> Tensor:
    """All elements are 0."""
    return _constant("zeros", shape, 0.0, dtype, device, requires_grad)


def ones_like(
    array: Tensor,
    *,
    device: Device | None = None,
    dtype: str | DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones with the shape of `array` and, by default, its device and dtype."""
    return _constant_like("ones_like", array, 1.0, dtype, device, requires_grad)


def zeros_like(
    array: Tensor,
    *,
    device: Device | None = None,
    dtype: str | DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros with the shape of `array` and, by default, its device and dtype."""
    return _constant_like("zeros_like", array, 0.0, dtype, device, requires_grad)


def _constant(
    op: str, shape: tuple[ShapeLike, ...], c: float, dtype: str | DType, device: Device | None, requires_grad: bool
) -> Tensor:
    array = full(one_shape(op, shape), c, dtype, device, op)
    return Tensor.make_const(array, flag(op, "requires_grad", requires_grad))


def _constant_like(
    op: str, array: Tensor, c: float, dtype: str | DType | None, device: Device | None, requires_grad: bool
) -> Tensor:
    require_tensors(op, array)
    dtype, device = array.dtype if dtype is None else dtype, array.device if device is None else device
    return _constant(op, array.shape, c, dtype, device, requires_grad)


def one_hot(
    n: int,
    i: ArrayLike,
    device: Device | None = None,
    dtype: str | DType = "float32",
    requires_grad: bool = False,
) -> Tensor:
    """(*i.shape, n): zeros except for a one at column i[k] of row k; by default on the device of `i` if it is a Tensor.

    Raises ShapeError for an index outside 0..n-1, a fraction, NaN or infinity; DTypeError for bools.
    """
    if device is None:
        device = i.device if isinstance(i, Tensor) else default_device()
    array = require_device("one_hot", device).one_hot(n, i, dtype)
    return Tensor.make_const(array, flag("one_hot", "requires_grad", requires_grad))

"""Checks of the arguments and inputs of layers."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.device import require_device
from needle.backend_ndarray.dtype import as_dtype
from needle.errors import DTypeError, ShapeError, short

_LARGEST = 1 << 48  # elements along an axis: more than any memory holds


def check_counts(layer: str, **counts: int) -> None:
    """Raises ShapeError, naming the argument, unless each is a whole number from 1 to 2^48."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ShapeError(f"{layer}: {name} of {short(count)}: expected a whole number of 1 or more")
        if count > _LARGEST:
            raise ShapeError(f"{layer}: {name} of {short(count)}: expected at most 2^48")


def check_flags(layer: str, **flags: bool) -> None:
    """Raises TypeError, naming the argument, if one has no truth value, as for an array of several elements."""
    for name, value in flags.items():
        flag(layer, name, value)


def floating_dtype(layer: str, dtype: str | DType) -> DType:
    """The DType of that name. Raises DTypeError unless it is floating."""
    dtype = as_dtype(dtype, layer)
    if dtype.kind != "floating":
        raise DTypeError(f"{layer}: dtype {dtype}: expected a floating one")
    return dtype


class ParameterOptions(TypedDict):
    """Where and how a layer keeps its parameters."""

    device: Device | None
    dtype: str | DType


def parameter_options(layer: str, device: Device | None, dtype: str | DType) -> ParameterOptions:
    """`device` and `dtype` by name. Raises TypeError unless device is one, and DTypeError unless dtype is floating."""
    if device is not None:
        require_device(layer, device)
    return {"device": device, "dtype": floating_dtype(layer, dtype)}


def check_tensor(layer: object, name: str, value: Tensor) -> None:
    """Raises TypeError, naming the layer and the input, unless `value` is a Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{layer}: {name} is of type {type(value).__name__}: expected a Tensor")

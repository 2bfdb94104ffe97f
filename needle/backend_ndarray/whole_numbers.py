"""Checks labels, ids and row numbers: they may be floats, as from the course's loaders, but must be whole."""

from __future__ import annotations

import numpy as np

from needle.backend_ndarray import elementwise, ndarray
from needle.backend_ndarray.dtype import int32, int64
from needle.backend_ndarray.ndarray import NDArray
from needle.errors import DTypeError, ShapeError
from needle.typing import ArrayLike, NumPyArray


def whole_numbers(op: str, name: str, numbers: NDArray) -> NDArray:
    """`numbers`, an NDArray, as int32 or int64; `name` is op's word for one of them in errors.

    Raises DTypeError for bools, and ShapeError for a fraction, NaN or infinity. On a GPU the latter become -1 instead,
    so that the host need not wait; the kernel that uses them reports the -1.
    """
    if numbers.dtype in (int32, int64):
        return numbers
    if numbers.dtype.kind == "bool":
        raise _wrong_dtype(op, name, numbers.dtype)
    converted = numbers.astype(int64)
    if numbers.dtype.kind == "integer":
        return converted
    if numbers.device.is_host:
        _check_whole(op, name, numbers.host_view(), converted.host_view())
        return converted
    return elementwise.where(elementwise.equal(converted, numbers), converted, -1)


def whole_numbers_of(op: str, name: str, values: ArrayLike) -> NumPyArray:
    """`whole_numbers` for anything that NumPy can make an array of, as int64."""
    values = ndarray.as_host_values(op, values)
    if not values.size:
        return values.astype(np.int64)
    is_floating = values.dtype.kind == "f" or values.dtype.name == "bfloat16"
    if not is_floating and values.dtype.kind not in "iu":
        raise _wrong_dtype(op, name, values.dtype)
    with np.errstate(invalid="ignore"):
        converted = values.astype(np.int64, copy=False)
    if is_floating or values.dtype == np.uint64:
        _check_whole(op, name, values, converted)
    return converted


def _wrong_dtype(op: str, name: str, dtype: object) -> DTypeError:
    return DTypeError(f"{op}: {name} of dtype {dtype}: expected whole numbers")


def _check_whole(op: str, name: str, values: NumPyArray, converted: NumPyArray) -> None:
    wrong = values != converted if values.dtype == np.uint64 else values.astype(np.float64) != converted
    if wrong.any():
        raise ShapeError(f"{op}: {name} {values[wrong].flat[0]}: expected whole numbers")

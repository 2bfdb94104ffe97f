"""The element types, their NumPy equivalents and their promotion rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import ml_dtypes
import numpy as np

from needle.errors import DTypeError, short


class DType(str):
    """An element type. It is its own name: `DType("float32") == "float32"`.

    `code` is the value of the C++ enum `needle::DType`; `kind` is "floating", "integer" or "bool".
    """

    code: int
    itemsize: int
    kind: str
    numpy: np.dtype[Any]

    def __new__(cls, name: str, code: int, kind: str, numpy_type: type) -> DType:
        dtype = super().__new__(cls, name)
        dtype.code = code
        dtype.kind = kind
        dtype.numpy = np.dtype(numpy_type)
        dtype.itemsize = dtype.numpy.itemsize
        return dtype

    # Copying and unpickling give this very object: dtypes are compared by identity.
    def __reduce__(self) -> tuple[Callable[[str], DType], tuple[str]]:
        return as_dtype, (str(self),)


# The order matches kernels/common/dtype.h. float16 and bfloat16 are storage types: arithmetic on them is done in
# float32.
float32 = DType("float32", 0, "floating", np.float32)
float64 = DType("float64", 1, "floating", np.float64)
float16 = DType("float16", 2, "floating", np.float16)
bfloat16 = DType("bfloat16", 3, "floating", ml_dtypes.bfloat16)
int8 = DType("int8", 4, "integer", np.int8)
uint8 = DType("uint8", 5, "integer", np.uint8)
int32 = DType("int32", 6, "integer", np.int32)
int64 = DType("int64", 7, "integer", np.int64)
bool_ = DType("bool", 8, "bool", np.bool_)

DTYPES = (float32, float64, float16, bfloat16, int8, uint8, int32, int64, bool_)
FLOATING = tuple(dtype for dtype in DTYPES if dtype.kind == "floating")
_BY_NAME: dict[str | None, DType] = {str(dtype): dtype for dtype in DTYPES}


DTypeLike: TypeAlias = str | DType | np.dtype[Any] | type


def as_dtype(name: DTypeLike, op: str = "") -> DType:
    """The DType for a name, a NumPy dtype or scalar type, or Python's bool, int or float.

    Python's int means int64, and float means float32, Needle's default. Raises DTypeError, naming `op`, for others.
    """
    if type(name) is DType:
        return name
    if name is float:
        return float32
    known = _BY_NAME.get(name if isinstance(name, str) else _numpy_name(name))
    if known is None:
        met = name if isinstance(name, np.dtype) else short(name).strip("'")
        raise DTypeError(f"{op}{': ' if op else ''}dtype {met} is not one of Needle's: {', '.join(DTYPES)}")
    return known


def _numpy_name(dtype: object) -> str | None:
    """NumPy's name of a dtype or scalar type; None for anything else."""
    if not isinstance(dtype, (np.dtype, type)):
        return None
    try:
        return np.dtype(dtype).name
    except (TypeError, ValueError):
        return None


# A wider type has a higher rank. Two types of equal rank promote to the first type that holds both.
_FLOATING_RANK = {"float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}
_INTEGER_RANK = {"int8": 0, "uint8": 0, "int32": 1, "int64": 2}


def promote_types(a: DType, b: DType) -> DType:
    """The dtype of an operation on dtypes `a` and `b`, by the rules of the Python array API standard.

    Where the standard leaves the result open: a floating and an integer dtype give the floating one, bool and any other
    dtype give the other one, and int8 with uint8 gives int32, as Needle has no int16.
    """
    if a is b:
        return a
    if type(a) is not DType or type(b) is not DType:
        return promote_types(as_dtype(a, "promote_types"), as_dtype(b, "promote_types"))
    if a.kind != b.kind:
        order = ("bool", "integer", "floating")
        return a if order.index(a.kind) > order.index(b.kind) else b
    rank = _FLOATING_RANK if a.kind == "floating" else _INTEGER_RANK
    if rank[a] != rank[b]:
        return a if rank[a] > rank[b] else b
    return float32 if a.kind == "floating" else int32


class _HasDType(Protocol):
    @property
    def dtype(self) -> DType: ...


def common_dtype(arrays: Sequence[_HasDType]) -> DType:
    """The dtype to which the dtypes of all the arrays promote."""
    dtype = arrays[0].dtype
    for array in arrays[1:]:
        dtype = promote_types(dtype, array.dtype)
    return dtype


def promote_scalar(dtype: DType, value: bool | int | float) -> DType:
    """The dtype of an operation on an array of `dtype` and a Python number; a number has no width of its own."""
    if isinstance(value, (bool, np.bool_)) or dtype.kind == "floating":
        return dtype
    if isinstance(value, (int, np.integer)):
        return int64 if dtype.kind == "bool" else dtype
    return float32

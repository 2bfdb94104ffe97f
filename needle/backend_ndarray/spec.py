"""Specs: the shape and dtype of an array, without its values."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from needle.backend_ndarray.arguments import choice
from needle.backend_ndarray.dtype import DType
from needle.backend_ndarray.shape import Shape
from needle.errors import DTypeError


class Shaped(Protocol):
    """What has a shape and a dtype: an NDArray, a Tensor or a Spec."""

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> DType: ...


class Spec(NamedTuple):
    """A shape and a dtype. The `infer_*` functions take what is Shaped and return the result's Spec."""

    shape: Shape
    dtype: DType

    @property
    def ndim(self) -> int:
        return len(self.shape)


def require_floating(op: str, *operands: Shaped) -> DType:
    """The floating dtype of the operands. Raises DTypeError unless they all have the same one."""
    dtype = operands[0].dtype
    if dtype.kind != "floating" or any(operand.dtype is not dtype for operand in operands):
        met = ", ".join(operand.dtype for operand in operands)
        raise DTypeError(f"{op}: dtypes {met}: expected one floating dtype")
    return dtype


def check_nonlinearity(op: str, nonlinearity: str | None) -> None:
    """Raises ValueError unless `nonlinearity` is None or can be fused into `op`."""
    choice(op, "nonlinearity", nonlinearity, (None, "relu"))

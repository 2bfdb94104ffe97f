"""Types of arguments, for annotations. Shapes and axes: needle/backend_ndarray/shape.py."""

from __future__ import annotations

from types import EllipsisType
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import CapsuleType

__all__ = ["ArrayLike", "Index", "Number", "NumPyArray"]

NumPyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # of any shape and dtype
Number: TypeAlias = bool | int | float

_Entry_co = TypeVar("_Entry_co", covariant=True)


class HasArray(Protocol):
    """An array that NumPy can read: a Tensor, an NDArray, a NumPy array or scalar, and those of other packages."""

    def __array__(self) -> NumPyArray: ...


class HasDLPack(Protocol):
    """An array of any package with the DLPack protocol."""

    def __dlpack__(self, *, stream: None = None) -> CapsuleType: ...


class Nested(Protocol[_Entry_co]):
    """A list, tuple or other sequence, but no str: that refuses to look for anything but a str in it."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> _Entry_co: ...
    def __contains__(self, entry: object, /) -> bool: ...


ArrayLike: TypeAlias = Number | HasArray | Nested["ArrayLike"]

# What may stand in x[...]: ints, slices, None, Ellipsis, masks, and integers in arrays or lists, several in a tuple.
IndexItem: TypeAlias = SupportsIndex | slice | EllipsisType | None | HasArray | Nested[Any]
Index: TypeAlias = IndexItem | tuple[IndexItem, ...]

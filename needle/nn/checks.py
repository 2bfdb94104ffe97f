"""Checks of constructors' arguments."""

from __future__ import annotations

import numpy as np

from needle.backend_ndarray import DType
from needle.backend_ndarray.dtype import as_dtype
from needle.errors import DTypeError


def check_counts(layer: str, **counts: int) -> None:
    """Raises ValueError that names the argument unless each is a whole number of 1 or more."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"{layer}: {name} of {count!r}: expected a whole number of 1 or more")


def floating_dtype(layer: str, dtype: str | DType) -> DType:
    """The DType of that name. Raises DTypeError unless it is a floating one."""
    dtype = as_dtype(dtype)
    if dtype.kind != "floating":
        raise DTypeError(f"{layer}: dtype {dtype}: expected a floating one")
    return dtype

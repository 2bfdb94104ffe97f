"""Gathering rows by index, and adding to them."""

from __future__ import annotations

import math

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import int64
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.spec import Shaped, Spec
from needle.errors import DTypeError, ShapeError


def infer_gather(a: Shaped, indices: Shaped) -> Spec:
    """(*indices.shape, *a.shape[1:])"""
    if not a.shape:
        raise ShapeError("gather: a 0-d array has no rows")
    if indices.dtype.kind != "integer":
        raise DTypeError(f"gather: indices of dtype {indices.dtype}: expected integers")
    return Spec((*indices.shape, *a.shape[1:]), a.dtype)


def gather(a: NDArray, indices: NDArray) -> NDArray:
    """a[indices]: rows of a along its first axis. Raises ShapeError for an index outside 0..len(a)-1."""
    same_device("gather", a, indices)
    spec = infer_gather(a, indices)
    width = math.prod(a.shape[1:])
    out = ndarray.empty((*indices.shape, width), a.dtype, a.device)
    call(a.device, "gather", a.reshape(a.shape[0], width), _as_index_array(indices), out)
    return out.reshape(spec.shape)


def scatter_add(a: NDArray, indices: NDArray, rows: int) -> NDArray:
    """The gradient of `gather`: adds a[i] to row indices[i] of a zero array of shape (rows, *rest)."""
    width = math.prod(a.shape[indices.ndim :])
    out = ndarray.zeros((rows, width), a.dtype, a.device)
    call(a.device, "scatter_add", a.reshape(*indices.shape, width), _as_index_array(indices), out)
    return out.reshape(rows, *a.shape[indices.ndim :])


def _as_index_array(indices: NDArray) -> NDArray:
    return indices if indices.dtype == "int32" else indices.astype(int64)

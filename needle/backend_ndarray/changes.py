"""Tracks in-place changes of arrays, so that a backward pass can tell whether it reads what the forward pass read.

One global counter counts all changes, and each buffer stores the number of its last change as `changed_at`, which only
this file reads and writes. If `count` was n at some moment and still is n, nothing has changed since; if it is not,
`changed_since(array, n)` tells. Arrays that share a buffer, such as views, change together.

Code that writes into an array that others may hold calls `mark`: `x[...] = y`, optimizers, running statistics. Changes
through NumPy (`np.from_dlpack(x)` shares memory) are not tracked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from needle.backend_ndarray.ndarray import NDArray

count = 0


def mark(array: NDArray) -> None:
    """Records that the content of an NDArray has been changed."""
    global count
    count += 1
    array.buffer.changed_at = count


def changed_since(array: NDArray, moment: int) -> bool:
    """Whether the content of an NDArray has been changed since `count` was `moment`."""
    return array.buffer.changed_at > moment

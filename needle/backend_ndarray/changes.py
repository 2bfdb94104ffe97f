"""Tracks in-place changes of arrays, so that a backward pass can tell whether it reads what the forward pass read.

One global counter counts all changes, and each buffer stores the number of its last change as `changed_at`. If `count`
was n at some moment and still is n, nothing has changed since. If a buffer's `changed_at` is at most n, that buffer has
not changed. Arrays that share a buffer, such as views, change together.

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

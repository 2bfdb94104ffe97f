"""When arrays were changed in place, so that a backward pass knows whether what it reads is what the forward pass read.

Changes are counted, all of them by one counter, and a buffer remembers the number of its last one as `changed_at`. So
nothing has changed since a moment at which `count` was n if it still is n, and a buffer has not if its `changed_at` is
at most n. Arrays that share a buffer, such as views, change together.

What writes into an array that somebody else may hold says so by `mark`: `x[...] = y`, optimizers, running statistics.
Through NumPy (`np.from_dlpack(x)` shares memory) an array can be changed unseen.
"""

from __future__ import annotations

count = 0


def mark(array) -> None:
    """Says that the content of an NDArray has been changed."""
    global count
    count += 1
    array.buffer.changed_at = count

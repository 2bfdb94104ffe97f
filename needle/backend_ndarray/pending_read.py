"""The asynchronous read of one number from a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from needle.backend_ndarray import recording

if TYPE_CHECKING:
    from needle.backend_ndarray.ndarray import NDArray


class PendingRead:
    """The one element of an array, read after the work that its device has been given so far.

    Without this, reading the element waits for all of that work. Raises ShapeError unless there is exactly one element.
    """

    def __init__(self, array: NDArray) -> None:
        self._dtype = array.dtype
        self._pending = None
        recording.host_reads(array)
        if array.size != 1 or array.device.is_host:
            self._value = array.item()
        else:
            itemsize = array.dtype.itemsize
            self._pending = array.device.kernels.begin_read(array.buffer, array.offset * itemsize, itemsize)

    def ready(self) -> bool:
        """Whether `item` would not wait."""
        return self._pending is None or self._pending.ready()

    def item(self) -> bool | int | float:
        """Waits for the element and returns it as a Python number."""
        if self._pending is not None:
            self._value = np.frombuffer(self._pending.data(), self._dtype.numpy).item()
            self._pending = None
        return self._value

"""A call after a replay that failed: it raises what the function would have raised, and leaves what it would have left.

The replay has changed arrays in place up to the kernel that failed, but gradients, states and all else that Python does
are as they were before. So the function is called once more, without the changes that have been made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from needle.amp.precision import with_new_casts
from needle.backend_ndarray import Device, DType, NDArray
from needle.backend_ndarray.kernel_table import KERNELS
from needle.compiler.recorder import plain, standing_in
from needle.typing import Number


class ReplayFailed(Exception):
    """A kernel of a replay raised an exception."""

    def __init__(self, error: Exception, written: set[int]) -> None:
        """written: the ids of the buffers, of those that outlive the call, that kernels have changed."""
        self.error = error
        self.written = written

    def rehearse(self, call: Callable[[], object]) -> Exception:
        """Calls the function. Returns the exception that it raises."""
        rehearsal = _Rehearsal(self.written)
        try:
            with standing_in(rehearsal), with_new_casts():
                call()
        except Exception as error:
            for note in getattr(self.error, "__notes__", ()):
                add_note(error, note)
            if rehearsal.has_read_too_late:
                add_note(error, "gradients and states may be those of arrays that this call has changed, as by a step")
            return error
        add_note(self.error, "in a replay; without ndl.jit, the call raises no error")
        return self.error


class _Rehearsal:
    """Stands in for kernels like a Recorder: calls them, but for those that write where a replay has written."""

    is_acting = False

    def __init__(self, written: set[int]) -> None:
        self.thread = threading.get_ident()
        self.has_read_too_late = False  # values of an array that the replay had already changed
        self._written = written
        self._left_out: set[int] = set()

    def allocate(self, real: Callable[..., NDArray], shape: Any, strides: Any, dtype: DType, device: Device) -> NDArray:
        return real(shape, strides, dtype, device)

    def call(self, kernel: Callable[..., None], name: str, *operands: Any) -> None:
        read: set[int] = set()
        written: set[int] = set()
        for operand, role in zip(operands, KERNELS[name].operands):
            arrays = operand if isinstance(operand, list) else [operand]
            of = {id(array.buffer) for array in arrays if isinstance(array, NDArray)} & self._written
            if role.is_written:
                written |= of
            else:
                read |= of
        if written:
            self._left_out |= written
        else:
            self.has_read_too_late |= bool(read - self._left_out)
            kernel(*map(plain, operands))

    def live(self, read: Callable[[], Number]) -> Number:
        return read()

    def act(self, action: Callable[..., None], arrays: tuple[NDArray, ...]) -> None:
        action(*arrays)

    def host_reads(self, array: NDArray) -> None:
        pass

    def host_writes(self, array: NDArray, source: object) -> None:
        pass


def add_note(error: Exception, note: str) -> None:
    """Adds a line to what is printed of an exception, from Python 3.11 on."""
    if hasattr(error, "add_note"):
        error.add_note(note)

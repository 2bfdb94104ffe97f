"""How the layers below needle/compiler tell a recorder what kernel calls alone do not show.

A function that is recorded runs as usual; the recorder sees its kernel calls and allocations by standing in for
`device.kernels`. Python's part of the work is not seen: numbers that change from call to call, what the host reads or
writes, and what it does besides. For these there are `live`, `host_reads`, `host_writes` and `act`. With no recorder,
which is the usual case, each is a test of one variable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from needle.backend_ndarray.number import Live
from needle.typing import Number

if TYPE_CHECKING:
    from needle.backend_ndarray.ndarray import NDArray


class Recorder(Protocol):
    """What needle/compiler/recorder.py does."""

    thread: int  # whose work is recorded

    def live(self, read: Callable[[], Number]) -> Number | Live: ...
    def host_reads(self, array: NDArray) -> None: ...
    def host_writes(self, array: NDArray, source: object) -> None: ...
    def act(self, action: Callable[..., None], arrays: tuple[NDArray, ...]) -> None: ...


_recorder: Recorder | None = None


def recorder() -> Recorder | None:
    """The recorder of this thread's work."""
    return None if _recorder is None or _recorder.thread != threading.get_ident() else _recorder


def set_recorder(recorder: Recorder | None) -> None:
    """Starts or ends a recording; there is at most one."""
    global _recorder
    _recorder = recorder


def live(read: Callable[[], Number]) -> Number | Live:
    """`read()`, a number that may change from call to call: a replay calls `read` again."""
    active = recorder()
    return read() if active is None else active.live(read)


def act(action: Callable[..., None], *arrays: NDArray) -> None:
    """`action(*arrays)`, which changes something in Python: a replay does it again, with its own arrays."""
    active = recorder()
    if active is None:
        action(*arrays)
    else:
        active.act(action, arrays)


def host_reads(array: NDArray) -> None:
    """Told before the host reads, or shares, the elements of an array. A recorder raises JitError."""
    active = recorder()
    if active is not None:
        active.host_reads(array)


def host_writes(array: NDArray, source: object) -> None:
    """Told after the host filled a new array with the values of `source`."""
    active = recorder()
    if active is not None:
        active.host_writes(array, source)

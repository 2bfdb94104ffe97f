"""The recorder: runs a function as usual and writes down its kernel calls.

While it records, it stands in for the `kernels` of every device. It sees each array that is allocated, each kernel that
is called and the lines of the user's program that do so.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

from needle.backend_ndarray import Device, DType, NDArray, all_devices, recording
from needle.backend_ndarray.dtype import DTYPES
from needle.backend_ndarray.kernel_table import KERNELS
from needle.backend_ndarray.number import Live
from needle.compiler.program import Call, Operand, Place, Scalar
from needle.errors import JitError, user_line
from needle.typing import Number, NumPyArray

_one_at_a_time = threading.Lock()


_to_restore: list[tuple[Device, Any]] = []  # devices and their kernels, while one of them is stood in for


def _restore() -> None:
    for device, kernels in _to_restore:
        device.kernels = kernels
    _to_restore.clear()


def _end_recording_of_the_parent() -> None:
    """In a process made by fork(), no thread but the one that forked goes on."""
    global _one_at_a_time
    active = recording.recorder()
    if active is None:
        _one_at_a_time = threading.Lock()
        recording.set_recorder(None)
        _restore()


os.register_at_fork(after_in_child=_end_recording_of_the_parent)


class Constant(NamedTuple):
    """Values that the host wrote into a new array: a copy of them, and the NumPy array they were made of, if any."""

    array: NDArray
    source: NumPyArray | None
    line: str


class Read(NamedTuple):
    """A live number: `read` gives it anew, for the cell that kernels' operands look into."""

    read: Callable[[], Number]
    cell: list[Number]

    def renew(self) -> None:
        self.cell[0] = self.read()


class Act(NamedTuple):
    """Something that the function does in Python besides, with arrays of the program."""

    action: Callable[..., None]
    places: tuple[Place, ...]
    line: str


class _Origin:
    """Where a live number was read. It lives as long as anybody holds the number, or one that was computed from it."""

    def __init__(self, line: str) -> None:
        self.line = line


class Made:
    """What is known of a memory."""

    def __init__(self, nbytes: int, line: str, array: NDArray | None = None) -> None:
        self.nbytes = nbytes
        self.line = line  # that made it
        self.external = array  # the array by which it was met first, if it was there before
        self.constant: Constant | None = None
        self.is_alive = True


class StandIn(recording.Recorder, Protocol):
    """What stands in for the kernels of devices."""

    is_acting: bool  # within an action, whose kernel calls are not its business

    def allocate(
        self, real: Callable[..., NDArray], shape: Any, strides: Any, dtype: DType, device: Device
    ) -> NDArray: ...
    def call(self, kernel: Callable[..., None], name: str, *operands: Any) -> None: ...


@contextmanager
def standing_in(recorder: StandIn) -> Iterator[None]:
    """Has a recorder see, and make, the kernel calls of this thread within the context."""
    with _one_at_a_time:
        devices = [device for device in all_devices() if device.enabled()]
        kernels = [device.kernels for device in devices]
        _to_restore.extend(zip(devices, kernels))
        try:
            for device in devices:
                device.kernels = _RecordingKernels(recorder, device)  # type: ignore[assignment]
            recording.set_recorder(recorder)
            yield
        finally:
            recording.set_recorder(None)
            _restore()


class Recorder:
    """What one call of a function did."""

    def __init__(self, before_first_call: Callable[[], None] = lambda: None) -> None:
        self.thread = threading.get_ident()
        self._before_first_call = before_first_call
        self.calls: list[Call] = []
        self.memories: list[Made] = []
        self.events: list[Read | Act] = []
        self.device: Device | None = None
        self._index: dict[int, int] = {}  # of the memory of a buffer, by the buffer's id
        self._watched: list[weakref.ref[Any]] = []  # buffers that were made meanwhile
        self._origins: list[weakref.ref[_Origin]] = []
        self.is_acting = False

    # Arrays

    def place_of(self, array: NDArray) -> Place:
        """Where an array is in the program; its memory becomes an input if it was there before."""
        return Place(self.memory_of(array), array.dtype, array.shape, array.strides, array.offset)

    def memory_of(self, array: NDArray) -> int:
        index = self._index.get(id(array.buffer))
        if index is None:
            self._check_device(array.device)
            index = self._add(array, Made(0, user_line(), array))
        return index

    def made_memory_of(self, array: NDArray) -> int | None:
        """The index of an array's memory if the recorder knows it."""
        return self._index.get(id(array.buffer))

    def _add(self, array: NDArray, made: Made) -> int:
        index = len(self.memories)
        self.memories.append(made)
        self._index[id(array.buffer)] = index
        return index

    def _check_device(self, device: Device) -> None:
        if self.device is None:
            self.device = device
        elif self.device is not device:
            raise JitError(f"{user_line()}: arrays on {self.device} and {device}: expected one device in a function")

    def allocate(self, real: Callable[..., NDArray], shape: Any, strides: Any, dtype: DType, device: Device) -> NDArray:
        """Allocates, and remembers the buffer until it dies."""
        self._check_device(device)
        array = real(shape, strides, dtype, device)
        self._watch(array)
        return array

    def _watch(self, array: NDArray) -> int:
        buffer = array.buffer
        index = self._add(array, Made(array.nbytes, user_line()))
        made, known, key = self.memories[index], self._index, id(buffer)

        def forget(_: object) -> None:
            made.is_alive = False
            if known.get(key) == index:
                del known[key]

        self._watched.append(weakref.ref(buffer, forget))
        return index

    # Calls

    def call(self, kernel: Callable[..., None], name: str, *operands: Any) -> None:
        """Runs a kernel and records the call."""
        if not self.calls:
            self._before_first_call()
        kernel(*[operand if type(operand) is NDArray else plain(operand) for operand in operands])
        call = Call(name, tuple([self._operand(operand) for operand in operands]), user_line())
        self.calls.append(call)
        for index in call.writes():
            self.memories[index].constant = None  # if it was one, its values are not known any more

    def _operand(self, operand: Any) -> Operand:
        if isinstance(operand, NDArray):
            return self.place_of(operand)
        if isinstance(operand, list):
            return [self.place_of(array) for array in operand]
        return operand.scalar if isinstance(operand, _RecordedScalar) else own(operand)

    # What Python does besides, see backend_ndarray/recording.py

    def live(self, read: Callable[[], Number]) -> Number | Live:
        if self.is_acting:
            return read()
        of = owner(read)
        if any(isinstance(e, Act) and e.places and owner(e.action) is of for e in self.events):
            raise JitError(
                f"{user_line()}: reads a number that depends on results of this very call: expected the function to end "
                "before it, as one step"
            )
        cell = [read()]
        self.events.append(Read(read, cell))
        origin = _Origin(user_line())
        self._origins.append(weakref.ref(origin))
        return Live(lambda: cell[0], (origin,))

    def held_numbers(self) -> list[str]:
        """The lines that read live numbers which somebody still holds."""
        return [origin.line for reference in self._origins if (origin := reference()) is not None]

    def act(self, action: Callable[..., None], arrays: tuple[NDArray, ...]) -> None:
        outer, self.is_acting = self.is_acting, True
        try:
            action(*arrays)
        finally:
            self.is_acting = outer
        if not outer:
            if isinstance(action, partial):
                action = partial(action.func, *map(own, action.args))
            self.events.append(Act(action, tuple(map(self.place_of, arrays)), user_line()))

    def host_reads(self, array: NDArray) -> None:
        index = self.made_memory_of(array)
        if self.is_acting or index is not None and self.memories[index].constant is not None:
            return
        raise JitError(
            f"{user_line()}: the host reads an array of shape {array.shape}, which a replay of the kernels would not do "
            "again: expected the function to return it, and the host to read it then"
        )

    def host_writes(self, array: NDArray, source: object) -> None:
        with self._paused():
            copy = array.copy()
        index = self.memory_of(array) if self.made_memory_of(array) is not None else self._watch(array)
        of = source if type(source).__module__ == "numpy" and getattr(source, "shape", ()) != () else None
        constant = Made(0, user_line(), copy)
        constant.constant = Constant(copy, of, user_line())  # type: ignore[arg-type]  # an ndarray
        self._add(copy, constant)
        if of is None:  # the values of an array of the user's may be others in the next call
            self.memories[index].constant = constant.constant
        self.calls.append(Call("copy", (self.place_of(copy), self.place_of(array)), user_line()))

    @contextmanager
    def _paused(self) -> Iterator[None]:
        thread, self.thread = self.thread, -1
        try:
            yield
        finally:
            self.thread = thread


class _RecordedScalar:
    """What `kernels.scalar` makes while recording: the operand, and the number that it was made of."""

    def __init__(self, scalar: Scalar, operand: object) -> None:
        self.scalar = scalar
        self.operand = operand


def owner(function: Any) -> object:
    """The object that a bound method is of, also within `partial`."""
    return getattr(function.func if isinstance(function, partial) else function, "__self__", None)


def own(value: Any) -> Any:
    """A value as a recorder keeps it: if it is a live number, one of its own."""
    return Live(value.compute) if isinstance(value, Live) else value


def plain(operand: Any) -> Any:
    """An operand as a kernel takes it."""
    if isinstance(operand, Live):
        return operand.value
    return operand.operand if isinstance(operand, _RecordedScalar) else operand


class _RecordingKernels:
    """Stands in for a device's kernels. Other threads than the recorder's get the real ones."""

    def __init__(self, recorder: StandIn, device: Device) -> None:
        self._recorder = recorder
        self._kernels = device.kernels

    def __getattr__(self, name: str) -> Any:
        real, recorder = getattr(self._kernels, name), self._recorder
        if threading.get_ident() != recorder.thread or recorder.is_acting:
            return real
        if name == "allocate":
            return partial(recorder.allocate, real)
        if name == "scalar":
            return self._scalar
        if name in ("elementwise", "reductions"):
            return _IN_STEPS
        return partial(recorder.call, real, name) if name in KERNELS else real

    def _scalar(self, value: Number | Live, code: int) -> _RecordedScalar:
        return _RecordedScalar(Scalar(own(value), DTYPES[code]), self._kernels.scalar(plain(value), code))


# The functions that make their result in one call do nothing, so that it is made in steps, which the recorder sees.
_IN_STEPS: dict[str, Callable[..., None]] = dict.fromkeys(KERNELS, lambda *operands: None)

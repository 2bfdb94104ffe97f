"""The CPU kernels, compiled from kernels/bindings/cpu.cc. kernel_table.py says what each kernel computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from typing_extensions import Buffer as BufferProtocol

from needle.backend_ndarray.device import Device
from needle.backend_ndarray.dtype import DType
from needle.backend_ndarray.ndarray import NDArray

@final
class Buffer:
    """Memory of the pool, 64-byte aligned, not initialized. A writable buffer of bytes to `memoryview` and NumPy.

    Raises OutOfMemoryError; the process goes on.
    """

    def __new__(cls, nbytes: int, /) -> Buffer: ...
    @staticmethod
    def wrap(object: BufferProtocol, /) -> Buffer:
        """Views the memory of an object with a writable, contiguous buffer, and keeps that object alive.

        Raises BufferError, or TypeError where there is no buffer.
        """

    changed_at: int  # see changes.py

    @property
    def nbytes(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Array:
    """What a kernel reads of an NDArray: a strided view of a buffer. `dtype_code` is DType.code; strides and offset count
    elements.

    Raises ShapeError where an element would lie outside the buffer.
    """

    def __new__(
        cls, buffer: Buffer, dtype_code: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, /
    ) -> Array: ...

def allocate(shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType, device: Device, /) -> NDArray:
    """An uninitialized NDArray. Raises OutOfMemoryError, or ShapeError where the strides leave gaps."""

def view(of: NDArray, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, /) -> NDArray:
    """Another NDArray over the same buffer. Nothing is checked until a kernel uses it."""

elementwise: dict[str, Callable[..., NDArray | None]]
"""By element-wise kernel: a function of its operands that gives the result as a new NDArray, or None, see elementwise.h."""

reductions: dict[str, Callable[..., NDArray | None]]
"""For sum, max and min: a function of an array, axes and keepdims with the result, or None, see reduction.h."""

@final
class Program:
    """Kernel calls that run in one go; kernels/bindings/program.h says what its parts are."""

    def run(self, inputs: list[NDArray], numbers: list[float], moment: int, /) -> list[NDArray]:
        """Runs all steps; the results. Raises what the kernels raise."""

    @staticmethod
    def failed_step() -> int:
        """The index of the step that raised the exception of this thread's last failed run."""

def program(
    steps: list[tuple[str, list[Any]]],
    memories: list[tuple[int, ...]],
    results: list[tuple[Any, ...]],
    changed: list[int],
    numbers: list[float],
    /,
) -> Program:
    """Makes a Program. Raises what the kernels' checks raise."""

@final
class Guards:
    """Whether Python objects still hold what they held, see kernels/bindings/guards.h."""

    def __new__(
        cls, entries: list[tuple[Any, Any, Any, bool]], sizes: list[tuple[Any, int, tuple[Any, ...] | None]], /
    ) -> Guards: ...
    def hold(self) -> bool: ...

@final
class Lookups:
    """The arrays at many locations, see kernels/bindings/guards.h."""

    def __new__(cls, lookups: list[tuple[Any, Any, str | None, tuple[Any, ...]]], may_share: bool, /) -> Lookups: ...
    def now(self, leaves: list[Any], /) -> list[NDArray] | None: ...

def environment(name: str, /) -> str | None:
    """An environment variable, None if it is not set, faster than by os.environ, which sets it here, too."""

def scalar(value: bool | int | float, dtype_code: int, /) -> Array:
    """A number beside arrays of that dtype: a 0-d operand of element-wise kernels. Beside half types it keeps its value.

    Raises OverflowError for an integer that the dtype does not hold.
    """

# Execution

def level() -> str:
    """The instruction level in use: at start the processor's highest, or the environment's NEEDLE_CPU_LEVEL."""

def set_level(name: str) -> None:
    """Uses the kernels of one of levels(). Raises DeviceError."""

def levels() -> list[str]:
    """The instruction levels of this processor: "baseline", "avx2", "avx512"."""

def provider() -> str:
    """Who provides the kernels that oneDNN has, too: at start "auto", or the environment's NEEDLE_CPU_KERNELS."""

def set_provider(name: str) -> None:
    """Takes them from "native" (ours), "onednn" (wherever it can do the call) or "auto" (the faster for the call).

    Raises DeviceError for another name. Without oneDNN all three are ours.
    """

def providers() -> list[str]:
    """The providers that differ here. Loads oneDNN."""

def onednn_status() -> str:
    """oneDNN's version and file, or why it cannot be used. Loads it."""

def onednn_calls() -> dict[str, int]:
    """For each kernel that oneDNN has, how many calls it has done."""

def get_num_threads() -> int:
    """How many threads a kernel uses at most. A process made by fork() has 1."""

def set_num_threads(count: int) -> None: ...

# Memory

def memory_stats() -> dict[str, int]:
    """Bytes of the pool: `current` in arrays, their `peak`, and `reserved` from the system."""

def reset_peak_memory() -> None: ...
def trim_memory() -> None:
    """Gives every block that is kept for reuse back to the system."""

def __getattr__(kernel: str) -> Callable[..., None]:
    """A function for each kernel of kernel_table.py."""

"""The CUDA kernels, compiled from kernels/bindings/cuda.cc. kernel_table.py says what each kernel computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, final

from typing_extensions import Buffer as BufferProtocol

from needle.backend_ndarray import backend_cpu
from needle.backend_ndarray.device import Device
from needle.backend_ndarray.dtype import DType
from needle.backend_ndarray.ndarray import NDArray

@final
class Buffer:
    """Memory of a GPU's pool. It has no buffer for `memoryview`: see read, upload."""

    changed_at: int  # see changes.py

    @property
    def nbytes(self) -> int: ...

@final
class Array:
    """What a kernel reads of an NDArray: a strided view of a buffer. `dtype_code` is DType.code; strides and offset count
    elements.

    Raises ShapeError where an element would lie outside the buffer.
    """

    def __new__(
        cls, buffer: Buffer, dtype_code: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, /
    ) -> Array: ...

class PendingRead:
    """Bytes on their way to the host."""

    def ready(self) -> bool:
        """Whether they have come. Does not wait."""

    def data(self) -> bytes:
        """The bytes; waits for them. Raises ShapeError for a wrong index that a kernel has met before."""

class GPU(Protocol):
    """What `device(index)` gives: the kernels of one GPU and its memory."""

    def __getattr__(self, kernel: str) -> Callable[..., None]:
        """A function for each kernel of kernel_table.py."""

    def allocate(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType, device: Device, /) -> NDArray:
        """As backend_cpu.allocate."""

    def view(self, of: NDArray, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, /) -> NDArray:
        """As backend_cpu.view."""

    elementwise: dict[str, Callable[..., NDArray | None]]
    """As backend_cpu.elementwise."""
    reductions: dict[str, Callable[..., NDArray | None]]
    """As backend_cpu.reductions."""
    def program(self, *parts: list[Any]) -> backend_cpu.Program:
        """As backend_cpu.program."""

    def scalar(self, value: bool | int | float, dtype_code: int, /) -> Array:
        """As backend_cpu.scalar."""

    def upload(self, source: BufferProtocol, /) -> Buffer:
        """A Buffer with the bytes of an object, which may change when this returns. Raises OutOfMemoryError."""

    def read(self, buffer: Buffer, offset: int, target: BufferProtocol, /) -> None:
        """Copies bytes of a buffer into an object with a writable one; waits for the work before.

        Raises ShapeError for bytes outside the buffer, and for a wrong index that a kernel has met.
        """

    def begin_read(self, buffer: Buffer, offset: int, nbytes: int, /) -> PendingRead:
        """The bytes as they are after the work so far, without waiting for it. Raises ShapeError."""

    def synchronize(self) -> None:
        """Waits until all work is done. Raises ShapeError for a wrong index that a kernel has met."""

    def memory_stats(self) -> dict[str, int]:
        """Bytes of the pools: `current` in arrays, their `peak`, and `reserved` from the GPU."""

    def reset_peak_memory(self) -> None:
        """Makes the current use the new peak."""

    def trim_memory(self) -> None:
        """Gives every kept block back to the GPU."""

def device_count() -> int:
    """How many GPUs there are; 0 without a driver."""

def device_names() -> list[str]:
    """What the GPUs call themselves."""

def reason_unavailable(index: int) -> str:
    """Why a GPU cannot be used, as one sentence, or an empty string if it can."""

def device(index: int) -> GPU:
    """The module of one GPU. Raises DeviceError, with `reason_unavailable`."""

def provider() -> str:
    """Who provides the kernels that NVIDIA's libraries have, too: "native", "library" or "auto"."""

def set_provider(name: str) -> None:
    """Chooses it. Raises DeviceError for another name."""

def library_calls() -> dict[str, int]:
    """For each kernel that a library has, how many calls it has done."""

def allow_tf32(allowed: bool) -> None:
    """Whether float32 products may round their operands to TF32."""

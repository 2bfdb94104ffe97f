"""Devices: where an array's memory is and whose kernels work on it."""

from __future__ import annotations

import functools
import importlib
import os
import types

import numpy as np

from needle.backend_ndarray.dtype import DType, as_dtype
from needle.errors import DeviceError, OutOfMemoryError, ShapeError


class Device:
    """A place for arrays, with the module that holds its kernels.

    A device that cannot be used is a Device all the same: `enabled()` is False and `reason` says why in one sentence.
    `is_host` tells whether its memory is the host's.
    """

    def __init__(self, name: str, module: str, index: int = 0) -> None:
        self.name = name
        self.index = index
        self.reason = ""
        self.is_host = name != "cuda"
        self._kernels = None
        try:
            kernels = importlib.import_module(f"needle.backend_ndarray.{module}")
            self._kernels = kernels if self.is_host else kernels.device(index)
        except (DeviceError, OutOfMemoryError) as error:  # the latter where other programs have a GPU's memory
            self.reason = f"{self!r} is not available: {error}"
        except ModuleNotFoundError as error:
            self.reason = f"{self!r} is not available: its kernels are not in this build of Needle ({error})"
        except ImportError as error:
            self.reason = f"{self!r} is not available: its kernels do not load ({error})"

    def enabled(self) -> bool:
        """Whether arrays can be made on this device."""
        return self._kernels is not None

    @property
    def kernels(self) -> types.ModuleType:
        """The module with one function per kernel, and Buffer, Array and scalar. Raises DeviceError without one."""
        if self._kernels is None:
            raise DeviceError(self.reason)
        return self._kernels

    def __repr__(self) -> str:
        return f"{self.name}({self.index or ''})"

    def __reduce__(self):  # copies and pickles are this very object: devices are compared by identity
        return (cuda, (self.index,)) if self.name == "cuda" else (globals()[self.name], ())

    # Arrays of this device. The random ones are drawn from NumPy's global generator, so np.random.seed repeats them.

    def empty(self, shape, dtype: str | DType = "float32"):
        """An array of any content."""
        from needle.backend_ndarray import ndarray

        return ndarray.empty(shape, dtype, self)

    def full(self, shape, fill_value: float, dtype: str | DType = "float32"):
        """An array of one value."""
        from needle.backend_ndarray import ndarray

        return ndarray.full(shape, fill_value, dtype, self)

    def zeros(self, *shape: int, dtype: str | DType = "float32"):
        """An array of zeros; the shape may be one tuple or several ints."""
        return self.full(_one_shape(shape), 0, dtype)

    def ones(self, *shape: int, dtype: str | DType = "float32"):
        """An array of ones; the shape may be one tuple or several ints."""
        return self.full(_one_shape(shape), 1, dtype)

    def rand(self, *shape: int, dtype: str | DType = "float32"):
        """Uniform on [0, 1)."""
        return self._from_numpy(np.random.rand(*_one_shape(shape)), dtype)

    def randn(self, *shape: int, dtype: str | DType = "float32"):
        """Standard normal."""
        return self._from_numpy(np.random.randn(*_one_shape(shape)), dtype)

    def one_hot(self, n: int, i, dtype: str | DType = "float32"):
        """Row k is all zeros but for a one at column i[k]; i holds whole numbers in 0..n-1, or ShapeError is raised."""
        from needle.backend_ndarray.whole_numbers import whole_numbers_of

        indices = whole_numbers_of("one_hot", "index", i)
        wrong = indices[(indices < 0) | (indices >= n)]
        if wrong.size:
            raise ShapeError(f"one_hot: index {wrong.flat[0]}, expected 0 to {n - 1}")
        return self._from_numpy(indices[..., None] == np.arange(n), dtype)

    def _from_numpy(self, values, dtype):
        from needle.backend_ndarray import ndarray

        return ndarray.array(np.asarray(values), device=self, dtype=as_dtype(dtype))


def _one_shape(shape: tuple) -> tuple:
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape


@functools.cache
def cpu() -> Device:
    """The fast CPU: compiled kernels on all cores."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait for each other spin, as waking one takes longer than most waits: by default for some 3 ms,
        # all of which is lost at every wait when another program has the core that the awaited thread needs. This is
        # a hundredth of that. libgomp reads it as it is loaded, with the kernels.
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    return Device("cpu", "backend_cpu")


@functools.cache
def cpu_numpy() -> Device:
    """The reference: every kernel in plain NumPy."""
    return Device("cpu_numpy", "backend_numpy")


def cuda(index: int = 0) -> Device:
    """An NVIDIA GPU, counted from 0."""
    return _cuda(index)


@functools.cache
def _cuda(index: int) -> Device:  # cuda(), cuda(0) and cuda(index=0) are one, which three calls of a cache are not
    return Device("cuda", "backend_cuda", index)


gpu = cuda


def all_devices() -> list[Device]:
    """Every kind of device that Needle knows, enabled or not."""
    return [cpu(), cuda(), cpu_numpy()]


def default_device() -> Device:
    """Where arrays go that name no device: `cpu()`. Raises DeviceError where its kernels do not load.

    `cpu_numpy()` is never taken in its place unasked: it is a hundred times slower.
    """
    if not cpu().enabled():
        raise DeviceError(f"{cpu().reason}; cpu_numpy(), the slow reference, is there if you name it")
    return cpu()


def same_device(op: str, *arrays) -> Device:
    """The device that all the arrays are on. Raises DeviceError that names two where they differ."""
    first = arrays[0].device
    for array in arrays[1:]:
        if array.device is not first:
            raise DeviceError(f"{op}: operands on {first} and {array.device}: expected one device; see .to(device)")
    return first

"""Devices: where an array's memory is and whose kernels work on it."""

from __future__ import annotations

import functools
import importlib
import os
import types
from collections.abc import Callable

import numpy as np

from needle.backend_ndarray.arguments import whole
from needle.backend_ndarray.dtype import DType, as_dtype
from needle.backend_ndarray.shape import Shape, as_shape
from needle.errors import DeviceError, OutOfMemoryError, ShapeError, short


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
        return self._full("zeros", shape, 0, dtype)

    def ones(self, *shape: int, dtype: str | DType = "float32"):
        """An array of ones; the shape may be one tuple or several ints."""
        return self._full("ones", shape, 1, dtype)

    def rand(self, *shape: int, dtype: str | DType = "float32"):
        """Uniform on [0, 1)."""
        return self._from_numpy("rand", drawn("rand", np.random.rand, shape), dtype)

    def randn(self, *shape: int, dtype: str | DType = "float32"):
        """Standard normal."""
        return self._from_numpy("randn", drawn("randn", np.random.randn, shape), dtype)

    def one_hot(self, n: int, i, dtype: str | DType = "float32"):
        """Row k is all zeros but for a one at column i[k]; i holds whole numbers in 0..n-1, or ShapeError is raised."""
        from needle.backend_ndarray.whole_numbers import whole_numbers_of

        indices = whole_numbers_of("one_hot", "index", i)
        n = whole("one_hot", "n", n)
        wrong = indices[(indices < 0) | (indices >= n)]
        if wrong.size:
            raise ShapeError(f"one_hot: index {wrong.flat[0]}, expected 0 to {n - 1}")
        as_shape("one_hot", (*indices.shape, n))
        try:
            rows = indices[..., None] == np.arange(n)
        except (MemoryError, ValueError):
            raise OutOfMemoryError(f"one_hot: no memory for shape {(*indices.shape, n)}") from None
        return self._from_numpy("one_hot", rows, dtype)

    def _full(self, op: str, shape: tuple, fill_value: float, dtype):
        from needle.backend_ndarray import ndarray

        return ndarray.full(one_shape(op, shape), fill_value, dtype, self, op)

    def _from_numpy(self, op: str, values, dtype):
        from needle.backend_ndarray import ndarray

        return ndarray.array(np.asarray(values), as_dtype(dtype, op), self, op)


def one_shape(op: str, shape: tuple) -> Shape:
    """The shape that f(2, 3) and f((2, 3)) alike have in `shape`, the arguments."""
    return as_shape(op, shape[0] if len(shape) == 1 else shape)


def drawn(op: str, draw: Callable, shape: tuple) -> np.ndarray:
    """What a function of np.random makes of such a shape."""
    shape = one_shape(op, shape)
    try:
        return np.asarray(draw(*shape))
    except (MemoryError, ValueError):  # the latter for more than 2^63 bytes
        raise OutOfMemoryError(f"{op}: no memory for float64 numbers of shape {shape}") from None


_devices: dict[tuple[str, int], Device] = {}


def _device(name: str, module: str, index: int = 0) -> Device:
    """The one of that name and index, made when it is first asked for, if by several threads at once."""
    device = _devices.get((name, index))
    return _devices.setdefault((name, index), Device(name, module, index)) if device is None else device


def cpu() -> Device:
    """The fast CPU: compiled kernels on all cores."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait for each other spin, as waking one takes longer than most waits: by default for some 3 ms,
        # all of which is lost at every wait when another program has the core that the awaited thread needs. This is
        # a hundredth of that. libgomp reads it as it is loaded, with the kernels.
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    return _device("cpu", "backend_cpu")


def cpu_numpy() -> Device:
    """The reference: every kernel in plain NumPy."""
    return _device("cpu_numpy", "backend_numpy")


def cuda(index: int = 0) -> Device:
    """An NVIDIA GPU, counted from 0."""
    return _device("cuda", "backend_cuda", whole("cuda", "index", index, least=None, error=DeviceError))


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


def require_device(op: str, device) -> Device:
    """`device`. Raises TypeError unless it is one."""
    if not isinstance(device, Device):
        raise TypeError(f"{op}: device {short(device)}: expected a Device such as needle.cpu()")
    return device


def same_device(op: str, *arrays) -> Device:
    """The device that all the arrays are on.

    Raises DeviceError that names two where they differ, and TypeError for an operand that is no NDArray.
    """
    try:
        first = arrays[0].device
        for array in arrays:
            if array.device is not first:
                break
            array.strides  # a Tensor has none
        else:
            if type(first) is Device:
                return first
    except AttributeError:
        pass
    _refuse_operands(op, arrays)


def _refuse_operands(op: str, arrays: tuple) -> None:
    """Raises what `same_device` raises, of arrays that are not on one device."""
    for index, array in enumerate(arrays):
        if not isinstance(getattr(array, "device", None), Device) or not hasattr(array, "strides"):
            raise TypeError(f"{op}: operand {index}, {short(array)}: expected an NDArray")
    first, other = arrays[0].device, next(a.device for a in arrays if a.device is not arrays[0].device)
    raise DeviceError(f"{op}: operands on {first} and {other}: expected one device; see .to(device)")

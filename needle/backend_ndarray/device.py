"""Devices: where an array's memory is, and which kernels work on it."""

from __future__ import annotations

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

    A device that cannot be used is still a Device: `enabled()` is False and `reason` says why in one sentence.
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
        except (DeviceError, OutOfMemoryError) as error:  # the latter if other programs occupy the GPU's memory
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
        """The module with one function per kernel, Buffer, Array and scalar. Raises DeviceError if there is none."""
        if self._kernels is None:
            raise DeviceError(self.reason)
        return self._kernels

    def __repr__(self) -> str:
        return f"{self.name}({self.index or ''})"

    def __reduce__(self):  # copying and unpickling give this very object: devices are compared by identity
        return (cuda, (self.index,)) if self.name == "cuda" else (globals()[self.name], ())

    # Arrays of this device. The random ones are drawn from NumPy's global generator, so np.random.seed repeats them.

    def empty(self, shape, dtype: str | DType = "float32"):
        """An uninitialized array."""
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
        """Row k is zeros except for a one at column i[k]. Raises ShapeError unless i holds whole numbers in 0..n-1."""
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
    """The shape given by the arguments `shape` of a call f(2, 3) or f((2, 3))."""
    return as_shape(op, shape[0] if len(shape) == 1 else shape)


def drawn(op: str, draw: Callable, shape: tuple) -> np.ndarray:
    """The numbers that a function of np.random draws for this shape, as an array."""
    shape = one_shape(op, shape)
    try:
        return np.asarray(draw(*shape))
    except (MemoryError, ValueError):  # the latter for more than 2^63 bytes
        raise OutOfMemoryError(f"{op}: no memory for float64 numbers of shape {shape}") from None


_devices: dict[tuple[str, int], Device] = {}


def _device(name: str, module: str, index: int = 0) -> Device:
    """The only Device of this name and index, created on first use; thread-safe."""
    device = _devices.get((name, index))
    return _devices.setdefault((name, index), Device(name, module, index)) if device is None else device


def cpu() -> Device:
    """The fast CPU: compiled kernels on all cores."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait for each other spin, because waking a thread takes longer than most waits. By default they
        # spin for about 3 ms, all of it lost whenever another program occupies the core that the awaited thread needs.
        # This value is a hundredth of that. libgomp reads it when it is loaded, with the kernels.
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    return _device("cpu", "backend_cpu")


def cpu_numpy() -> Device:
    """The reference implementation: every kernel in plain NumPy."""
    return _device("cpu_numpy", "backend_numpy")


def cuda(index: int = 0) -> Device:
    """The NVIDIA GPU number `index`, counted from 0."""
    return _device("cuda", "backend_cuda", whole("cuda", "index", index, least=None, error=DeviceError))


gpu = cuda


def all_devices() -> list[Device]:
    """Every kind of device that Needle supports, enabled or not."""
    return [cpu(), cuda(), cpu_numpy()]


def default_device() -> Device:
    """The device of arrays created without one: `cpu()`. Raises DeviceError if its kernels do not load.

    It never falls back to `cpu_numpy()`, which is a hundred times slower.
    """
    if not cpu().enabled():
        raise DeviceError(f"{cpu().reason}; cpu_numpy(), the slow reference, is there if you name it")
    return cpu()


def require_device(op: str, device) -> Device:
    """Returns `device`. Raises TypeError unless it is a Device."""
    if not isinstance(device, Device):
        raise TypeError(f"{op}: device {short(device)}: expected a Device such as needle.cpu()")
    return device


def same_device(op: str, *arrays) -> Device:
    """The device that all the arrays are on.

    Raises DeviceError, naming two devices, if they differ, and TypeError for an operand that is not an NDArray.
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
    """Raises the error of `same_device` for arrays that are not on one device."""
    for index, array in enumerate(arrays):
        if not isinstance(getattr(array, "device", None), Device) or not hasattr(array, "strides"):
            raise TypeError(f"{op}: operand {index}, {short(array)}: expected an NDArray")
    first, other = arrays[0].device, next(a.device for a in arrays if a.device is not arrays[0].device)
    raise DeviceError(f"{op}: operands on {first} and {other}: expected one device; see .to(device)")

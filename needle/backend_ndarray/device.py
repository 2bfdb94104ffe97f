"""Devices: where an array's memory is, and which kernels work on it."""

from __future__ import annotations

import importlib
import os
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from needle.backend_ndarray.arguments import whole
from needle.errors import DeviceError, OutOfMemoryError, short

if TYPE_CHECKING:
    from needle.backend_ndarray.dtype import DType
    from needle.backend_ndarray.ndarray import NDArray
    from needle.backend_ndarray.shape import ShapeLike
    from needle.typing import ArrayLike


class Backend(NamedTuple):
    """A kind of device. Its kernels are in a module of this package; kernel_table.py says what the module must have."""

    name: str  # of the function below that gives its devices, of --device, and of a Device
    module: str
    is_host: bool  # whether its memory is the host's, so that NumPy can view it
    is_indexed: bool  # whether there may be several such devices; the kernels of one are then module.device(index)
    dlpack_type: int  # how DLPack calls its memory: kDLCPU is 1, kDLCUDA 2


# All that Needle knows of backends, in the order of `all_devices()`. CONTRIBUTING.md says how to add one.
BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("cpu", "backend_cpu", is_host=True, is_indexed=False, dlpack_type=1),
        Backend("cuda", "backend_cuda", is_host=False, is_indexed=True, dlpack_type=2),
        Backend("cpu_numpy", "backend_numpy", is_host=True, is_indexed=False, dlpack_type=1),
    )
}


class Device:
    """A place for arrays, with the module that holds its kernels.

    A device that cannot be used is still a Device: `enabled()` is False and `reason` says why in one sentence.
    `is_host` tells whether its memory is the host's.
    """

    def __init__(self, backend: Backend, index: int = 0) -> None:
        self.backend = backend
        self.name = backend.name
        self.index = index
        self.reason = ""
        self.is_host = backend.is_host
        try:
            kernels = importlib.import_module(f"needle.backend_ndarray.{backend.module}")
            self.kernels = kernels.device(index) if backend.is_indexed else kernels
        except (DeviceError, OutOfMemoryError) as error:  # the latter if other programs occupy the GPU's memory
            self.reason = f"{self!r} is not available: {error}"
        except ModuleNotFoundError as error:
            self.reason = f"{self!r} is not available: its kernels are not in this build of Needle ({error})"
        except ImportError as error:
            self.reason = f"{self!r} is not available: its kernels do not load ({error})"

    def enabled(self) -> bool:
        """Whether arrays can be made on this device."""
        return "kernels" in vars(self)

    kernels: types.ModuleType  # one function per kernel and what kernel_table.py lists besides

    def __getattr__(self, name: str) -> NoReturn:
        """Raises DeviceError for the kernels of a device that cannot be used."""
        if name == "kernels":
            raise DeviceError(self.reason)
        raise AttributeError(f"'Device' object has no attribute {name!r}")

    if TYPE_CHECKING:  # creation.py adds these

        def empty(self, shape: ShapeLike, dtype: str | DType = "float32") -> NDArray: ...
        def full(self, shape: ShapeLike, fill_value: float, dtype: str | DType = "float32") -> NDArray: ...
        def zeros(self, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray: ...
        def ones(self, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray: ...
        def rand(self, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray: ...
        def randn(self, *shape: ShapeLike, dtype: str | DType = "float32") -> NDArray: ...
        def one_hot(self, n: int, i: ArrayLike, dtype: str | DType = "float32") -> NDArray: ...

    def __repr__(self) -> str:
        return f"{self.name}({self.index or ''})"

    # Copying and unpickling give this very object: devices are compared by identity.
    def __reduce__(self) -> tuple[Callable[..., Device], tuple[int, ...]]:
        return globals()[self.name], (self.index,) if self.backend.is_indexed else ()


_devices: dict[tuple[str, int], Device] = {}


def _device(name: str, index: int = 0) -> Device:
    """The only Device of this backend and index, created on first use; thread-safe."""
    device = _devices.get((name, index))
    return _devices.setdefault((name, index), Device(BACKENDS[name], index)) if device is None else device


def cpu() -> Device:
    """The fast CPU: compiled kernels on all cores."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait for each other spin, because waking a thread takes longer than most waits. By default they
        # spin for about 3 ms, all of it lost whenever another program occupies the core that the awaited thread needs.
        # This value is a hundredth of that. libgomp reads it when it is loaded, with the kernels.
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    return _device("cpu")


def cpu_numpy() -> Device:
    """The reference implementation: every kernel in plain NumPy."""
    return _device("cpu_numpy")


def cuda(index: int = 0) -> Device:
    """The NVIDIA GPU number `index`, counted from 0."""
    return _device("cuda", whole("cuda", "index", index, least=None, error=DeviceError))


gpu = cuda


def all_devices() -> list[Device]:
    """The first device of every backend, enabled or not."""
    return [globals()[name]() for name in BACKENDS]


def default_device() -> Device:
    """The device of arrays created without one: `cpu()`. Raises DeviceError if its kernels do not load.

    It never falls back to `cpu_numpy()`, which is a hundred times slower.
    """
    if not cpu().enabled():
        raise DeviceError(f"{cpu().reason}; cpu_numpy(), the slow reference, is there if you name it")
    return cpu()


def require_device(op: str, device: object) -> Device:
    """Returns `device`. Raises TypeError unless it is a Device."""
    if not isinstance(device, Device):
        raise TypeError(f"{op}: device {short(device)}: expected a Device such as needle.cpu()")
    return device


class OnDevice(Protocol):
    """An NDArray, or its layout."""

    @property
    def device(self) -> Device: ...

    @property
    def strides(self) -> tuple[int, ...]: ...


def same_device(op: str, *arrays: OnDevice) -> Device:
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


def _refuse_operands(op: str, arrays: tuple[OnDevice, ...]) -> NoReturn:
    """Raises the error of `same_device` for arrays that are not on one device."""
    for index, array in enumerate(arrays):
        if not isinstance(getattr(array, "device", None), Device) or not hasattr(array, "strides"):
            raise TypeError(f"{op}: operand {index}, {short(array)}: expected an NDArray")
    first, other = arrays[0].device, next(a.device for a in arrays if a.device is not arrays[0].device)
    raise DeviceError(f"{op}: operands on {first} and {other}: expected one device; see .to(device)")

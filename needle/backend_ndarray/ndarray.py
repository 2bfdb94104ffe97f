"""NDArray: a strided n-d array over a device's buffer.

Element (i0, i1, ...) lies at position offset + i0 * strides[0] + i1 * strides[1] + ... of the buffer, counted in
elements. Everything in this file makes either a view, which only changes those numbers, or a copy by a kernel.
Arithmetic is in the other files of this folder, by topic; array_methods.py makes operators and methods of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from needle.backend_ndarray import changes, recording
from needle.backend_ndarray.device import Device, default_device, require_device, same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DType, DTypeLike, as_dtype, float32
from needle.backend_ndarray.indexing import fit_value, is_basic, resolve_index
from needle.backend_ndarray.number import as_number, value_in
from needle.backend_ndarray.pending_read import PendingRead
from needle.backend_ndarray.shape import (
    Axes,
    Shape,
    ShapeLike,
    as_ints,
    as_shape,
    as_widths,
    broadcast_shapes,
    compact_strides,
    dense_strides_like,
    is_compact,
    normalize_axes,
    remembered,
    reshape_strides,
    resolve_reshape,
)
from needle.errors import DeviceError, DTypeError, JitError, OutOfMemoryError, ShapeError, short
from needle.typing import ArrayLike, HasDLPack, Index, NumPyArray

if TYPE_CHECKING:
    from typing_extensions import CapsuleType


class Buffer(Protocol):
    """A device's memory. A host's can be viewed as bytes."""

    changed_at: int  # see changes.py

    def __buffer__(self, flags: int, /) -> memoryview: ...


class NDArray:
    """A strided n-d array. `NDArray(data, device=None, dtype=None)` copies, see `array`."""

    __slots__ = ("buffer", "shape", "strides", "offset", "dtype", "device", "operand")
    __array_priority__ = 1000

    buffer: Buffer
    shape: Shape
    strides: Shape
    offset: int
    dtype: DType
    device: Device
    operand: object  # the kernels.Array for this array, made when a kernel first uses it

    def __new__(cls, data: ArrayLike, device: Device | None = None, dtype: str | DType | None = None) -> NDArray:
        return array(data, device=device, dtype=dtype)

    @staticmethod
    def make(buffer: Buffer, shape: Shape, strides: Shape, offset: int, dtype: DType, device: Device) -> NDArray:
        """A view of a buffer."""
        view = object.__new__(NDArray)
        view.buffer = buffer
        view.shape = shape
        view.strides = strides
        view.offset = offset
        view.dtype = dtype
        view.device = device
        return view

    @staticmethod
    def allocate(shape: Shape, strides: Shape, dtype: DType, device: Device) -> NDArray:
        """An uninitialized array; its strides must leave no gaps."""
        out: NDArray = device.kernels.allocate(shape, strides, dtype, device)
        return out

    def __getattr__(self, name: str) -> object:
        if name != "operand":  # the slot is still empty; Python calls this for no other attribute that exists
            raise AttributeError(f"'NDArray' object has no attribute {name!r}")
        kernels = self.device.kernels
        self.operand = kernels.Array(self.buffer, self.dtype.code, self.shape, self.strides, self.offset)
        return self.operand

    # Facts

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, regardless of the size of the buffer."""
        return self.size * self.dtype.itemsize

    def is_compact(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        return is_compact(self.shape, self.strides)

    def overlaps_itself(self) -> bool:
        """Whether several elements share memory, as in a result of broadcast_to."""
        if 0 in self.shape:
            return False
        return any(stride == 0 and extent > 1 for stride, extent in zip(self.strides, self.shape))

    # To NumPy and back

    def host_view(self) -> NumPyArray:
        """The same memory as a NumPy array. Raises DeviceError unless the device's memory is the host's."""
        if not self.device.is_host:
            raise DeviceError(f"{self.device}: its memory is not the host's: expected a copy, see .numpy()")
        recording.host_reads(self)
        return self._memory_view()

    def _memory_view(self) -> NumPyArray:
        if 0 in self.shape:  # an array without elements may begin beyond its buffer
            return np.empty(self.shape, self.dtype.numpy)
        offset, strides = self.offset * self.dtype.itemsize, tuple(s * self.dtype.itemsize for s in self.strides)
        return np.ndarray(self.shape, self.dtype.numpy, memoryview(self.buffer), offset, strides)

    def numpy(self) -> NumPyArray:
        """A copy as a NumPy array. `np.from_dlpack(x)` shares the memory instead."""
        if not self.device.is_host:
            return self._read()
        try:
            return self.host_view().copy()
        except MemoryError:
            raise OutOfMemoryError(f"numpy: no memory for shape {self.shape} and dtype {self.dtype}") from None

    def _read(self) -> NumPyArray:
        """A copy from a device whose memory is not the host's."""
        recording.host_reads(self)
        values = np.empty(self.shape, self.dtype.numpy)
        source = self.compact()
        self.device.kernels.read(source.buffer, source.offset * self.dtype.itemsize, _bytes_of(values))
        return values

    def host_values(self) -> NumPyArray:
        """`host_view` if there is one, else a copy; for reading only."""
        return self.host_view() if self.device.is_host else self._read()

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> NumPyArray:
        if copy is not False:
            return np.asarray(self.numpy(), dtype)
        if not self.device.is_host or dtype is not None and np.dtype(dtype) != self.dtype.numpy:
            raise ValueError(f"array: {self.dtype} on {self.device} takes a copy, which copy=False refuses")
        return self.host_view()

    def __dlpack__(self, **options: Any) -> CapsuleType:
        if any(stride < 0 for stride, extent in zip(self.strides, self.shape) if extent > 1):
            raise BufferError(f"dlpack: strides {self.strides}: expected none below 0, see .copy()")
        return self.host_view().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device.backend.dlpack_type, self.device.index

    def item(self) -> bool | int | float:
        """The one element, as a Python number. Raises ShapeError if there are more or none."""
        if self.size != 1:
            raise ShapeError(f"item: shape {self.shape}: expected one element")
        number: bool | int | float = self.host_values().item()
        return number

    def begin_read(self) -> PendingRead:
        """Starts reading the one element, so that the program need not wait until the device has computed it."""
        return PendingRead(self)

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind != "integer" or self.shape:
            raise DTypeError(f"index: {self.dtype} of shape {self.shape}: expected a 0-d integer array")
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a 0-d array has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"NDArray({self.host_values()}, dtype={self.dtype}, device={self.device})"

    def __format__(self, spec: str) -> str:
        """Formats a 0-d array as its number, as in f"{loss:.3f}"; other arrays take no format spec."""
        return format(self.item(), spec) if spec and not self.shape else format(str(self.host_values()), spec)

    # Copies

    def compact(self) -> NDArray:
        """This array if it is compact, else a compact copy."""
        return self if self.is_compact() else self.copy()

    def copy(self) -> NDArray:
        """A compact copy."""
        out = empty(self.shape, self.dtype, self.device)
        call(self.device, "copy", self, out)
        return out

    __copy__ = copy  # copies the elements, as NumPy does

    def __deepcopy__(self, memo: dict[int, object]) -> NDArray:
        return self.copy()

    def __reduce__(self) -> tuple[Callable[..., NDArray], tuple[NumPyArray, DType, Device]]:
        """For pickle: the elements, dtype and device. Unpickling raises DeviceError if the device is not enabled."""
        return array, (self.host_values(), self.dtype, self.device)

    def astype(self, dtype: str | DType) -> NDArray:
        """This array if it has that dtype, else a copy converted to it.

        Floats to integers truncate towards zero and saturate; a conversion to bool is `!= 0`.
        """
        dtype = as_dtype(dtype, "astype")
        if dtype is self.dtype:
            return self
        out = empty_like(self, dtype=dtype)
        call(self.device, "copy", self, out)
        return out

    def to(self, device: Device) -> NDArray:
        """This array if it is on that device, else a copy there."""
        if device is self.device:
            return self
        return array(self.host_values(), device=require_device("to", device), dtype=self.dtype)

    # Views

    def view(self, shape: Shape, strides: Shape, offset: int | None = None) -> NDArray:
        """Another array over the same buffer. Nothing is checked until a kernel uses it."""
        out: NDArray = self.device.kernels.view(self, shape, strides, self.offset if offset is None else offset)
        return out

    def reshape(self, *shape: int | Sequence[int]) -> NDArray:
        """The same elements in row-major order in another shape; a view if the strides allow. One extent may be -1."""
        new_shape = as_ints("reshape", "shape", _varargs(shape))
        new_shape, strides = _reshape_layout(self.shape, self.strides, new_shape)
        if new_shape == self.shape:
            return self
        if strides is None:
            return self.copy().view(new_shape, compact_strides(new_shape), 0)
        return self.view(new_shape, strides)

    @property
    def flat(self) -> NDArray:
        """All elements along one axis."""
        return self.reshape(-1)

    def permute(self, *axes: int | Sequence[int]) -> NDArray:
        """Axis i of the result is axis axes[i] of this array."""
        given = _varargs(axes)
        if given is None:
            raise ShapeError(f"permute: axes None for shape {self.shape}: expected each axis once")
        order = normalize_axes("permute", given, self.ndim)
        if len(order) != self.ndim:
            raise ShapeError(f"permute: axes {order} for shape {self.shape}: expected each axis once")
        return self.view(tuple(self.shape[i] for i in order), tuple(self.strides[i] for i in order))

    @property
    def T(self) -> NDArray:
        """All axes reversed."""
        return self.view(self.shape[::-1], self.strides[::-1])

    def broadcast_to(self, shape: ShapeLike) -> NDArray:
        """A view of that shape that repeats elements along axes of extent 1 and along new axes in front."""
        shape = as_shape("broadcast_to", shape)
        if shape == self.shape:
            return self
        if broadcast_shapes("broadcast_to", self.shape, shape) != shape:
            raise ShapeError(f"broadcast_to: shape {self.shape} does not broadcast to {shape}")
        new_axes = len(shape) - self.ndim
        kept = zip(self.shape, self.strides, shape[new_axes:])
        strides = (0,) * new_axes + tuple(stride if old == new else 0 for old, stride, new in kept)
        return self.view(shape, strides)

    def flip(self, axes: Axes = None) -> NDArray:
        """A view with the order of elements reversed along the axes (None: all)."""
        strides, offset = list(self.strides), self.offset
        axes = normalize_axes("flip", axes, self.ndim)
        if self.size:
            for axis in axes:
                offset += (self.shape[axis] - 1) * strides[axis]
                strides[axis] = -strides[axis]
        return self.view(self.shape, tuple(strides), offset)

    def squeeze(self, axis: int | Sequence[int]) -> NDArray:
        """A view without those axes. Raises ShapeError unless their extents are 1."""
        axes = normalize_axes("squeeze", axis, self.ndim)
        if any(self.shape[i] != 1 for i in axes):
            raise ShapeError(f"squeeze: axes {axes} of shape {self.shape}: expected extents of 1")
        kept = [i for i in range(self.ndim) if i not in axes]
        return self.view(tuple(self.shape[i] for i in kept), tuple(self.strides[i] for i in kept))

    def pad(self, axes: Sequence[tuple[int, int]], value: float = 0) -> NDArray:
        """A copy with (before, after) elements of `value` added along each axis."""
        axes = as_widths("pad", self.shape, axes)
        shape = tuple(before + extent + after for extent, (before, after) in zip(self.shape, axes))
        out = full(shape, value, self.dtype, self.device, "pad")
        out[tuple(slice(before, before + extent) for extent, (before, _) in zip(self.shape, axes))] = self
        return out

    def __getitem__(self, index: Index) -> NDArray:
        """Indexes by NumPy's rules: ints, slices, None and Ellipsis give a view, masks and integer arrays a copy.

        Slices may have any step. An array of integers along the first axis costs one kernel. A mask is read on the
        host, which waits for a GPU. An out-of-range integer in a GPU array is reported when the host next waits.
        Raises IndexError.
        """
        if not is_basic(index):
            return self._pick(index)
        return self.view(*resolve_index(index, self.shape, self.strides, self.offset))

    def __setitem__(self, index: Index, value: ArrayLike) -> None:
        """Copies `value` into self[index], broadcast to its shape and converted to this dtype.

        If several values go to one element, the last one wins. Masks and integer arrays are read on the host, which
        waits for a GPU. Raises IndexError, ShapeError if the value does not fit, and DTypeError for numbers that an
        integer dtype cannot hold; NumPy arrays and NDArrays are converted, see `astype`.
        """
        if self.overlaps_itself():
            raise ShapeError(
                f"setitem: shape {self.shape} with strides {self.strides}: expected no broadcast, see .copy()"
            )
        if not isinstance(value, NDArray):
            value = _value_for(self, value)
        same_device("setitem", self, value)
        if value.buffer is self.buffer:
            value = value.copy()  # it may overlap with the destination
        if is_basic(index):
            target = self.view(*resolve_index(index, self.shape, self.strides, self.offset))
            call(self.device, "copy", fit_value(value, target.shape), target)
        else:
            self._put(index, value)
        changes.mark(self)

    __hash__ = None  # type: ignore[assignment]  # arrays compare element by element

    if TYPE_CHECKING:  # array_methods.py adds these

        def __add__(self, other: ArrayLike) -> NDArray: ...
        def __radd__(self, other: ArrayLike) -> NDArray: ...
        def __sub__(self, other: ArrayLike) -> NDArray: ...
        def __rsub__(self, other: ArrayLike) -> NDArray: ...
        def __mul__(self, other: ArrayLike) -> NDArray: ...
        def __rmul__(self, other: ArrayLike) -> NDArray: ...
        def __truediv__(self, other: ArrayLike) -> NDArray: ...
        def __rtruediv__(self, other: ArrayLike) -> NDArray: ...
        def __floordiv__(self, other: ArrayLike) -> NDArray: ...
        def __rfloordiv__(self, other: ArrayLike) -> NDArray: ...
        def __mod__(self, other: ArrayLike) -> NDArray: ...
        def __rmod__(self, other: ArrayLike) -> NDArray: ...
        def __pow__(self, other: ArrayLike) -> NDArray: ...
        def __rpow__(self, other: ArrayLike) -> NDArray: ...
        def __matmul__(self, other: ArrayLike) -> NDArray: ...
        def __rmatmul__(self, other: ArrayLike) -> NDArray: ...
        def __and__(self, other: ArrayLike) -> NDArray: ...
        def __rand__(self, other: ArrayLike) -> NDArray: ...
        def __or__(self, other: ArrayLike) -> NDArray: ...
        def __ror__(self, other: ArrayLike) -> NDArray: ...
        def __xor__(self, other: ArrayLike) -> NDArray: ...
        def __rxor__(self, other: ArrayLike) -> NDArray: ...
        def __neg__(self) -> NDArray: ...
        def __abs__(self) -> NDArray: ...
        def __invert__(self) -> NDArray: ...
        def __eq__(self, other: object) -> NDArray: ...  # type: ignore[override]
        def __ne__(self, other: object) -> NDArray: ...  # type: ignore[override]
        def __lt__(self, other: ArrayLike) -> NDArray: ...
        def __le__(self, other: ArrayLike) -> NDArray: ...
        def __gt__(self, other: ArrayLike) -> NDArray: ...
        def __ge__(self, other: ArrayLike) -> NDArray: ...
        def __contains__(self, value: ArrayLike) -> bool: ...
        def _pick(self, index: Index) -> NDArray: ...
        def _put(self, index: Index, value: NDArray) -> None: ...
        def sum(self, axis: Axes = None, keepdims: bool = False) -> NDArray: ...
        def max(self, axis: Axes = None, keepdims: bool = False) -> NDArray: ...
        def min(self, axis: Axes = None, keepdims: bool = False) -> NDArray: ...
        def argmax(self, axis: int | None = None, keepdims: bool = False) -> NDArray: ...
        def log(self) -> NDArray: ...
        def exp(self) -> NDArray: ...
        def tanh(self) -> NDArray: ...
        def maximum(self, other: ArrayLike) -> NDArray: ...


def _varargs(values: tuple[Any, ...]) -> Any:
    """Lets a function be called as f(2, 3) or as f((2, 3))."""
    return values[0] if len(values) == 1 else values


@remembered
def _reshape_layout(shape: Shape, strides: Shape, new_shape: Shape) -> tuple[Shape, Shape | None]:
    """`new_shape` without -1, and its strides over the same memory, or None if it needs a copy."""
    new_shape = resolve_reshape("reshape", shape, new_shape)
    return new_shape, reshape_strides(shape, strides, new_shape)


def empty(shape: ShapeLike, dtype: str | DType = float32, device: Device | None = None, op: str = "empty") -> NDArray:
    """An uninitialized compact array; errors name `op`."""
    shape = as_shape(op, shape)
    if type(device) is not Device:
        device = default_device() if device is None else require_device(op, device)
    return NDArray.allocate(shape, compact_strides(shape), as_dtype(dtype, op), device)


def empty_like(a: NDArray, dtype: DType | None = None, shape: Shape | None = None) -> NDArray:
    """An uninitialized array without gaps, its axes in the same memory order as those of `a`."""
    shape = a.shape if shape is None else shape
    return NDArray.allocate(shape, dense_strides_like(shape, a.strides), dtype or a.dtype, a.device)


def full(
    shape: ShapeLike, fill_value: float, dtype: str | DType = float32, device: Device | None = None, op: str = "full"
) -> NDArray:
    """A compact array of one value; errors name `op`."""
    value = as_number(fill_value)
    if value is None:
        raise TypeError(f"{op}: a value of {short(fill_value)}: expected a number")
    out = empty(shape, dtype, device, op)
    call(out.device, "copy", out.device.kernels.scalar(value_in(op, value, out.dtype), out.dtype.code), out)
    return out


def zeros(shape: ShapeLike, dtype: str | DType = float32, device: Device | None = None) -> NDArray:
    """A compact array of zeros."""
    return full(shape, 0, dtype, device, "zeros")


def ones(shape: ShapeLike, dtype: str | DType = float32, device: Device | None = None) -> NDArray:
    """A compact array of ones."""
    return full(shape, 1, dtype, device, "ones")


def array(data: ArrayLike, dtype: DTypeLike | None = None, device: Device | None = None, op: str = "array") -> NDArray:
    """A compact copy of a number, nested lists, a NumPy array or an NDArray; errors name `op`.

    Without a dtype, Python floats and NumPy's float64 arrays become float32; everything else keeps its dtype. Without a
    device, an NDArray stays on its device and everything else goes to the default device. Floats are converted to
    integers as by `astype`.
    """
    if isinstance(data, NDArray):
        device, dtype = data.device if device is None else device, data.dtype if dtype is None else as_dtype(dtype, op)
        if device is data.device and (dtype is data.dtype or dtype.kind == "floating"):
            out = empty(data.shape, dtype, device, op)
            call(device, "copy", data, out)
            return out
        data = data.host_values()
    values = as_host_values(op, data)
    if dtype is None:
        dtype = float32 if values.dtype == np.float64 else values.dtype
    dtype = as_dtype(dtype, op)
    if dtype.kind == "integer" and values.dtype.kind in "iu" and (not hasattr(data, "dtype") or not values.shape):
        _check_fit(op, values, dtype)  # Python's numbers, and whatever counts as one, must fit
    device = default_device() if device is None else require_device(op, device)
    if values.dtype.kind in "fV" and dtype.kind == "integer":  # NumPy's own conversion depends on the processor
        return array(values, values.dtype, device, op).astype(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        if not device.is_host:
            as_shape(op, values.shape)
            out = _upload(np.asarray(values, dtype.numpy, order="C"), dtype, device)
        else:
            out = empty(values.shape, dtype, device, op)
            out._memory_view()[...] = values
    recording.host_writes(out, data)
    return out


def _value_for(target: NDArray, value: ArrayLike) -> NDArray:
    """Converts a value that is not an NDArray for an assignment into `target`."""
    number = as_number(value)
    if number is not None:
        if target.dtype.kind == "integer" and type(number) is float and math.isfinite(number):
            number = int(number)
        return array(np.asarray(value_in("setitem", number, target.dtype)), target.dtype, target.device)
    if target.dtype.kind == "integer" and not hasattr(value, "dtype"):
        value = as_host_values("setitem", value)
        _check_fit("setitem", value, target.dtype)
    return array(value, target.dtype, target.device, "setitem")


def _check_fit(op: str, values: NumPyArray, dtype: DType) -> None:
    """Raises DTypeError for a number that, without its fraction, an integer dtype cannot hold."""
    for number in (values.min(), values.max()) if values.size else ():
        value_in(op, number.item() if values.dtype.kind in "biu" else np.trunc(float(number)).item(), dtype)


def as_host_values(op: str, data: ArrayLike) -> NumPyArray:
    """`data` as a NumPy array of numbers. Raises ShapeError or DTypeError if it cannot be one."""
    try:
        values = np.asarray(data)
    except JitError:  # a live number, see number.py
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{op}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise ShapeError(f"{op}: {short(data)} is no array: {short(str(error), 160)}") from None
    if values.dtype.kind not in "biuf" and not (values.dtype.kind == "V" and values.dtype.type is not np.void):
        raise DTypeError(f"{op}: {short(data)}, of {values.dtype.name} elements: expected numbers")
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _upload(values: NumPyArray, dtype: DType, device: Device) -> NDArray:
    """A copy on a device whose memory is not the host's."""
    try:
        buffer = device.kernels.upload(_bytes_of(values))
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{device}: an array of shape {values.shape} and dtype {dtype}: {error}") from None
    return NDArray.make(buffer, values.shape, compact_strides(values.shape), 0, dtype, device)


def _bytes_of(values: NumPyArray) -> NumPyArray:
    """The memory of a row-major array as bytes: not all dtypes of ml_dtypes support the buffer protocol."""
    return values.reshape(-1).view(np.uint8)


def from_dlpack(x: HasDLPack) -> NDArray:
    """An NDArray of `cpu()` that shares the memory of any array with the DLPack protocol, such as NumPy's."""
    from needle.backend_ndarray.device import cpu

    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: {short(x)}: expected an array with the DLPack protocol")
    try:
        values = np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise BufferError(f"from_dlpack: {short(x)}: {short(str(error), 160)}") from None
    dtype = as_dtype(values.dtype, "from_dlpack")
    if not values.flags.c_contiguous:
        raise ShapeError(f"from_dlpack: strides {values.strides} of shape {values.shape}: expected a row-major array")
    if not values.flags.writeable:
        raise BufferError("from_dlpack: an array that is read-only: expected one that may be written, see .copy()")
    buffer = cpu().kernels.Buffer.wrap(values)
    return NDArray.make(buffer, values.shape, compact_strides(values.shape), 0, dtype, cpu())

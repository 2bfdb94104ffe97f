"""Element-wise functions: operands broadcast against each other and dtypes promote.

Beside an NDArray, the other operand may be a number (number.py), or a NumPy array or list, which is copied to the
NDArray's device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from needle.backend_ndarray import changes, ndarray, reduce
from needle.backend_ndarray.device import Device, same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DType, bool_, float32, int8, promote_scalar, promote_types
from needle.backend_ndarray.kernel_table import BOOL, COMPARISON, FLOATING, KERNELS, NUMBERS
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.number import NUMBER_TYPES, as_number, comparison, number_type, value_in
from needle.backend_ndarray.shape import Shape, broadcast_shapes, compact_strides, dense_strides_like, remembered
from needle.backend_ndarray.spec import Shaped, Spec
from needle.errors import DTypeError
from needle.typing import ArrayLike, Number


def infer_unary(op: str, a: Shaped) -> Spec:
    """The shape and dtype of a unary function; floating functions of integers and bools give float32."""
    if KERNELS[op].dtypes == FLOATING and a.dtype.kind != "floating":
        return Spec(a.shape, float32)
    _check_dtype(op, a.dtype)
    return Spec(a.shape, a.dtype)


def _check_dtype(op: str, dtype: DType) -> None:
    """Raises DTypeError for bools where numbers are expected, or numbers where bools are expected."""
    dtypes = KERNELS[op].dtypes
    if dtypes == NUMBERS and dtype is bool_ or dtypes == BOOL and dtype is not bool_:
        raise DTypeError(f"{op}: dtype {dtype}: expected {'bool' if dtypes == BOOL else 'numbers'}")


def operand_dtype(op: str, a: Shaped | Number, b: Shaped | Number) -> DType:
    """The dtype in which a binary function computes. Either a or b may be a Python number."""
    if isinstance(a, (int, float)):
        dtype = promote_scalar(b.dtype, a)  # type: ignore[union-attr]  # of two operands one is no number
    elif isinstance(b, (int, float)):
        dtype = promote_scalar(a.dtype, b)
    else:
        dtype = promote_types(a.dtype, b.dtype)
    if KERNELS[op].dtypes == FLOATING and dtype.kind != "floating":
        return float32
    _check_dtype(op, dtype)
    return dtype


def infer_binary(op: str, a: Shaped | Number, b: Shaped | Number) -> Spec:
    """Shapes broadcast and dtypes promote; comparisons give bool, and division of integers gives float32."""
    dtype = operand_dtype(op, a, b)
    shape = broadcast_shapes(op, *[operand.shape for operand in (a, b) if not isinstance(operand, (int, float))])
    return Spec(shape, bool_ if KERNELS[op].kind == COMPARISON else dtype)


def infer_where(condition: Shaped, a: Shaped | Number, b: Shaped | Number) -> Spec:
    """The three shapes broadcast, and the dtypes of a and b promote."""
    if condition.dtype is not bool_:
        raise DTypeError(f"where: a condition of dtype {condition.dtype}: expected bool")
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        dtype = promote_types(promote_scalar(bool_, a), promote_scalar(bool_, b))
    else:
        dtype = operand_dtype("where", a, b)
    shapes = [operand.shape for operand in (condition, a, b) if not isinstance(operand, (int, float))]
    return Spec(broadcast_shapes("where", *shapes), dtype)


def _unary(op: str) -> Callable[[NDArray], NDArray]:
    def function(a: NDArray) -> NDArray:
        if not isinstance(a, NDArray):
            raise TypeError(f"{op}: an operand of type {type(a).__name__}: expected an NDArray")
        out: NDArray | None = a.device.kernels.elementwise[op](a)
        if out is not None:
            return out
        spec = infer_unary(op, a)
        out = ndarray.empty_like(a, dtype=spec.dtype)
        call(a.device, op, a.astype(spec.dtype), out)
        return out

    function.__name__ = function.__qualname__ = op
    function.__doc__ = KERNELS[op].doc
    return function


def _binary(op: str) -> Callable[[ArrayLike, ArrayLike], NDArray]:
    is_comparison = KERNELS[op].kind == COMPARISON

    def function(a: ArrayLike, b: ArrayLike) -> NDArray:
        array = a if type(a) is NDArray else b
        if not is_comparison and type(array) is NDArray:  # in one call, if no operand needs a conversion
            out: NDArray | None = array.device.kernels.elementwise[op](a, b)
            if out is not None:
                return out
        if type(a) is not NDArray or type(b) is not NDArray:
            a, b = operands(op, a, b)
            if is_comparison and (type(a) in NUMBER_TYPES or type(b) in NUMBER_TYPES):
                return _compare_with_number(op, a, b)
        result, dtype, a_is_ready, b_is_ready = _binary_layout(
            op,
            (a.shape, a.strides, a.dtype, a.device) if isinstance(a, NDArray) else number_type(a),
            (b.shape, b.strides, b.dtype, b.device) if isinstance(b, NDArray) else number_type(b),
        )
        out = NDArray.allocate(*result)
        a = a if a_is_ready else _prepare(op, a, dtype, out)
        b = b if b_is_ready else _prepare(op, b, dtype, out)
        call(out.device, op, a, b, out)
        return out

    function.__name__ = function.__qualname__ = op
    function.__doc__ = KERNELS[op].doc
    return function


def operands(op: str, a: Any, b: Any) -> tuple[NDArray | Number, NDArray | Number]:
    """a and b, one of which is an NDArray, as NDArrays or Python numbers. Raises DTypeError for anything else."""
    if isinstance(a, NDArray):
        return a, b if type(b) in NUMBER_TYPES or isinstance(b, NDArray) else _beside(op, b, a)
    if isinstance(b, NDArray):
        return a if type(a) in NUMBER_TYPES else _beside(op, a, b), b
    raise TypeError(f"{op}: operands of types {type(a).__name__} and {type(b).__name__}: expected an NDArray")


def _beside(op: str, x: ArrayLike, like: NDArray) -> NDArray | Number:
    """A number, or an array on the device of `like`; float64 becomes float32 unless `like` is float64."""
    number = as_number(x)
    return array_beside(op, x, like) if number is None else number


def is_operand(x: object) -> TypeGuard[ArrayLike]:
    """Whether x may be an operand beside an array: a number, a list, a tuple, or an object with __array__."""
    if as_number(x) is not None or isinstance(x, (list, tuple)):
        return True
    return hasattr(x, "__array__") and not isinstance(x, np.generic)


def array_beside(op: str, x: ArrayLike, like: NDArray) -> NDArray:
    """An array-like as an NDArray on the device of `like`; float64 becomes float32 unless `like` is float64."""
    if not is_operand(x):
        raise DTypeError(f"{op}: an operand of type {type(x).__name__}: expected an array or a number")
    values = ndarray.as_host_values(op, x)
    keeps = like.dtype == "float64" and values.dtype == np.float64
    return ndarray.array(values, device=like.device, dtype=like.dtype if keeps else None, op=op)


def _compare_with_number(op: str, a: Any, b: Any) -> NDArray:
    """The comparison of an array and a number, in either order."""
    number_is_left = type(a) in NUMBER_TYPES
    x: NDArray
    number: Number
    x, number = (b, a) if number_is_left else (a, b)
    if x.dtype is bool_ and type(number) is not bool:
        x = x.astype(int8)
    said = comparison(op, number, x.dtype, number_is_left)
    out = ndarray.empty_like(x, dtype=bool_)
    if isinstance(said, bool):
        call(x.device, "copy", x.device.kernels.scalar(said, bool_.code), out)
        return out
    op, number = said
    scalar = x.device.kernels.scalar(number, x.dtype.code)
    call(x.device, op, *((scalar, x) if number_is_left else (x, scalar)), out)
    return out


class _Layout(NamedTuple):
    """All properties of an array except its values."""

    shape: Shape
    strides: Shape
    dtype: DType
    device: Device


@remembered
def _binary_layout(op: str, *operands: tuple[Shape, Shape, DType, Device] | type) -> tuple[_Layout, DType, bool, bool]:
    """The layout of op's result, the dtype in which it computes, and whether each operand can be used unchanged.

    An operand that is a number is given by its type alone. The result has the memory layout of the first operand that
    has its shape.
    """
    a, b = (operand() if isinstance(operand, type) else _Layout(*operand) for operand in operands)
    arrays = [x for x in (a, b) if isinstance(x, _Layout)]
    device = same_device(op, *arrays)
    shape, dtype = infer_binary(op, a, b)
    like = next((x.strides for x in arrays if x.shape == shape), compact_strides(shape))
    worked = operand_dtype(op, a, b)
    a_is_ready, b_is_ready = (isinstance(x, _Layout) and x.dtype is worked and x.shape == shape for x in (a, b))
    return _Layout(shape, dense_strides_like(shape, like), dtype, device), worked, a_is_ready, b_is_ready


def _prepare(op: str, x: NDArray | Number, dtype: DType, out: NDArray) -> Any:
    """Makes x a kernel operand: an array of `dtype` broadcast to out's shape, or a scalar."""
    if isinstance(x, NDArray):
        ready = x.dtype is dtype and x.shape == out.shape
        return x if ready else x.astype(dtype).broadcast_to(out.shape)
    return out.device.kernels.scalar(value_in(op, x, dtype), dtype.code)


def _empty_result(spec: Spec, arrays: list[NDArray]) -> NDArray:
    """An output with the memory layout of the first operand that has its shape."""
    for x in arrays:
        if x.shape == spec.shape:
            return ndarray.empty_like(x, dtype=spec.dtype)
    return ndarray.empty(spec.shape, spec.dtype, arrays[0].device)


negate = _unary("negate")
abs = _unary("abs")
sign = _unary("sign")
relu = _unary("relu")
floor = _unary("floor")
ceil = _unary("ceil")
exp = _unary("exp")
log = _unary("log")
sqrt = _unary("sqrt")
sin = _unary("sin")
cos = _unary("cos")
tanh = _unary("tanh")
sigmoid = _unary("sigmoid")
erf = _unary("erf")
gelu = _unary("gelu")
logical_not = _unary("logical_not")

add = _binary("add")
subtract = _binary("subtract")
multiply = _binary("multiply")
divide = _binary("divide")
floor_divide = _binary("floor_divide")
remainder = _binary("remainder")
_power = _binary("power")
add_relu = _binary("add_relu")
relu_backward = _binary("relu_backward")
sigmoid_backward = _binary("sigmoid_backward")
tanh_backward = _binary("tanh_backward")
gelu_backward = _binary("gelu_backward")
maximum = _binary("maximum")
minimum = _binary("minimum")
equal = _binary("equal")
not_equal = _binary("not_equal")
less = _binary("less")
less_equal = _binary("less_equal")
logical_and = _binary("logical_and")
logical_or = _binary("logical_or")
logical_xor = _binary("logical_xor")


def power(a: ArrayLike, b: ArrayLike) -> NDArray:
    """a^b. Raises DTypeError for an integer to a negative power, which is not an integer.

    To check this, an integer array b is read on the host, which waits for a GPU.
    """
    if type(b) is not float and not (type(b) is int and b >= 0):
        a, b = operands("power", a, b)
        is_array = isinstance(b, NDArray) and b.dtype in ("int8", "int32", "int64") and b.size
        if (type(b) is int or is_array) and operand_dtype("power", a, b).kind == "integer":
            smallest = reduce.min(b).item() if isinstance(b, NDArray) else b
            if smallest < 0:
                raise DTypeError(
                    f"power: an integer to the power of {smallest}: expected powers of 0 or more, or floats"
                )
    return _power(a, b)


def greater(a: ArrayLike, b: ArrayLike) -> NDArray:
    """a > b"""
    return less(b, a)


def greater_equal(a: ArrayLike, b: ArrayLike) -> NDArray:
    """a >= b"""
    return less_equal(b, a)


def where(condition: NDArray, a: ArrayLike, b: ArrayLike) -> NDArray:
    """a where the condition is true, else b; a or b may be a number."""
    if not isinstance(condition, NDArray):
        raise TypeError(f"where: a condition of type {type(condition).__name__}: expected an NDArray of bools")
    a, b = (x if isinstance(x, NDArray) else _beside("where", x, condition) for x in (a, b))
    spec = infer_where(condition, a, b)
    arrays = [x for x in (condition, a, b) if isinstance(x, NDArray)]
    same_device("where", *arrays)
    out = _empty_result(spec, arrays)
    a, b = _prepare("where", a, spec.dtype, out), _prepare("where", b, spec.dtype, out)
    call(out.device, "where", condition.broadcast_to(out.shape), a, b, out)
    return out


def multiply_by(a: NDArray, b: NDArray | Number) -> None:
    """a *= b, in place; b broadcasts to the shape of a, which keeps its dtype."""
    if isinstance(b, NDArray) and b.dtype is not a.dtype:
        call(a.device, "copy", multiply(a, b), a)  # without rounding b: a half type would lose small factors
    else:
        call(a.device, "multiply", a, _prepare("multiply_by", b, a.dtype, a), a)
    changes.mark(a)


def add_to(a: NDArray, b: NDArray | Number) -> None:
    """a += b, in place, for an `a` that nobody else has seen; b broadcasts to its shape, and `a` keeps its dtype."""
    call(a.device, "add", a, _prepare("add_to", b, a.dtype, a), a)

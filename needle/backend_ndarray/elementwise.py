"""Element-wise functions: operands broadcast against each other and dtypes promote.

Beside an NDArray an operand may be a number (number.py), or a NumPy array or list, which becomes one of its device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from needle.backend_ndarray import changes, ndarray, reduce
from needle.backend_ndarray.device import Device, same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DType, bool_, float32, int8, promote_scalar, promote_types
from needle.backend_ndarray.number import NUMBER_TYPES, as_number, comparison, value_in
from needle.backend_ndarray.shape import Shape, broadcast_shapes, compact_strides, dense_strides_like, remembered
from needle.backend_ndarray.spec import Spec
from needle.errors import DTypeError

_FLOATING_UNARY = frozenset("floor ceil exp log sqrt sin cos tanh sigmoid erf gelu".split())
_NUMERIC_UNARY = frozenset("negate abs sign relu".split())
_NUMERIC_BINARY = frozenset("subtract floor_divide remainder power add_relu relu_backward".split())
_COMPARISONS = frozenset("equal not_equal less less_equal".split())
_LOGICAL = frozenset("logical_and logical_or logical_xor logical_not".split())


def infer_unary(op: str, a) -> Spec:
    """Floating functions of integers and bools are float32."""
    if op in _FLOATING_UNARY and a.dtype.kind != "floating":
        return Spec(a.shape, float32)
    if op in _NUMERIC_UNARY and a.dtype is bool_ or op in _LOGICAL and a.dtype is not bool_:
        raise DTypeError(f"{op}: dtype {a.dtype}: expected {'bool' if op in _LOGICAL else 'numbers'}")
    return Spec(a.shape, a.dtype)


def operand_dtype(op: str, a, b) -> DType:
    """The dtype in which a binary function works. One of a and b may be a Python number."""
    if type(a) in NUMBER_TYPES:
        dtype = promote_scalar(b.dtype, a)
    elif type(b) in NUMBER_TYPES:
        dtype = promote_scalar(a.dtype, b)
    else:
        dtype = promote_types(a.dtype, b.dtype)
    if op == "divide" and dtype.kind != "floating":
        return float32
    if op in _NUMERIC_BINARY and dtype is bool_ or op in _LOGICAL and dtype is not bool_:
        raise DTypeError(f"{op}: dtype {dtype}: expected {'bool' if op in _LOGICAL else 'numbers'}")
    return dtype


def infer_binary(op: str, a, b) -> Spec:
    """Shapes broadcast and dtypes promote; comparisons are bool; a division of integers is float32."""
    dtype = operand_dtype(op, a, b)
    shape = broadcast_shapes(op, *[operand.shape for operand in (a, b) if type(operand) not in NUMBER_TYPES])
    return Spec(shape, bool_ if op in _COMPARISONS or op in _LOGICAL else dtype)


def infer_where(condition, a, b) -> Spec:
    """The three shapes broadcast, the dtypes of a and b promote."""
    if condition.dtype is not bool_:
        raise DTypeError(f"where: a condition of dtype {condition.dtype}: expected bool")
    numbers = [x for x in (a, b) if type(x) in NUMBER_TYPES]
    if len(numbers) == 2:
        dtype = promote_types(promote_scalar(bool_, a), promote_scalar(bool_, b))
    else:
        dtype = operand_dtype("where", a, b)
    shapes = [operand.shape for operand in (condition, a, b) if type(operand) not in NUMBER_TYPES]
    return Spec(broadcast_shapes("where", *shapes), dtype)


def _unary(op: str, doc: str):
    def function(a):
        if not isinstance(a, ndarray.NDArray):
            raise TypeError(f"{op}: an operand of type {type(a).__name__}: expected an NDArray")
        spec = infer_unary(op, a)
        out = ndarray.empty_like(a, dtype=spec.dtype)
        call(a.device, op, a.astype(spec.dtype), out)
        return out

    function.__name__ = function.__qualname__ = op
    function.__doc__ = doc
    return function


def _binary(op: str, doc: str):
    is_comparison = op in _COMPARISONS

    def function(a, b):
        NDArray = ndarray.NDArray
        if type(a) is not NDArray or type(b) is not NDArray:
            a, b = operands(op, a, b)
            if is_comparison and (type(a) in NUMBER_TYPES or type(b) in NUMBER_TYPES):
                return _compare_with_number(op, a, b)
        result, dtype, a_is_ready, b_is_ready = _plan_binary(
            op,
            (a.shape, a.strides, a.dtype, a.device) if isinstance(a, NDArray) else type(a),
            (b.shape, b.strides, b.dtype, b.device) if isinstance(b, NDArray) else type(b),
        )
        out = NDArray.allocate(*result)
        a = a if a_is_ready else _prepare(op, a, dtype, out)
        b = b if b_is_ready else _prepare(op, b, dtype, out)
        call(out.device, op, a, b, out)
        return out

    function.__name__ = function.__qualname__ = op
    function.__doc__ = doc
    return function


def operands(op: str, a, b):
    """a and b, one of which is an NDArray, as NDArrays or Python numbers. Raises DTypeError for anything else."""
    NDArray = ndarray.NDArray
    if isinstance(a, NDArray):
        return a, b if type(b) in NUMBER_TYPES or isinstance(b, NDArray) else _beside(op, b, a)
    if isinstance(b, NDArray):
        return a if type(a) in NUMBER_TYPES else _beside(op, a, b), b
    raise TypeError(f"{op}: operands of types {type(a).__name__} and {type(b).__name__}: expected an NDArray")


def _beside(op: str, x, like):
    """A number, or an array on like's device, with what is float64 in float32 unless `like` is float64."""
    number = as_number(x)
    return array_beside(op, x, like) if number is None else number


def is_operand(x) -> bool:
    """Whether x may stand beside an array: a number, a NumPy array, or a list, tuple or the like of numbers."""
    if as_number(x) is not None or isinstance(x, (list, tuple)):
        return True
    return hasattr(x, "__array__") and not isinstance(x, np.generic)


def array_beside(op: str, x, like):
    """An array-like as an NDArray on the device of `like` and, if it holds float64, of float64 or else float32."""
    if not is_operand(x):
        raise DTypeError(f"{op}: an operand of type {type(x).__name__}: expected an array or a number")
    values = ndarray.as_host_values(op, x)
    keeps = like.dtype == "float64" and values.dtype == np.float64
    return ndarray.array(values, device=like.device, dtype=like.dtype if keeps else None, op=op)


def _compare_with_number(op: str, a, b):
    number_is_left = type(a) in NUMBER_TYPES
    x, number = (b, a) if number_is_left else (a, b)
    if x.dtype is bool_ and type(number) is not bool:
        x = x.astype(int8)
    said = comparison(op, number, x.dtype, number_is_left)
    out = ndarray.empty_like(x, dtype=bool_)
    if isinstance(said, bool):
        call(x.device, "copy", x.device.kernels.scalar(said, bool_.code), out)
        return out
    op, number = said
    number = x.device.kernels.scalar(number, x.dtype.code)
    call(x.device, op, *((number, x) if number_is_left else (x, number)), out)
    return out


class _Layout(NamedTuple):
    """What a result depends on, but for values. Of an operand that is a number there is only its type."""

    shape: Shape
    strides: Shape
    dtype: DType
    device: Device


@remembered
def _plan_binary(op: str, *operands: _Layout | type) -> tuple[_Layout, DType, bool, bool]:
    """The layout of op's result, the dtype in which it works, and whether each operand can be used as it is.

    The result lies in memory as the first operand that has its shape.
    """
    a, b = (operand() if isinstance(operand, type) else _Layout(*operand) for operand in operands)
    arrays = [x for x in (a, b) if isinstance(x, _Layout)]
    device = same_device(op, *arrays)
    shape, dtype = infer_binary(op, a, b)
    like = next((x.strides for x in arrays if x.shape == shape), compact_strides(shape))
    worked = operand_dtype(op, a, b)
    ready = [isinstance(x, _Layout) and x.dtype is worked and x.shape == shape for x in (a, b)]
    return _Layout(shape, dense_strides_like(shape, like), dtype, device), worked, *ready


def _prepare(op: str, x, dtype: DType, out):
    """What a kernel takes: an array of `dtype` broadcast to out's shape, or a scalar."""
    if isinstance(x, ndarray.NDArray):
        ready = x.dtype is dtype and x.shape == out.shape
        return x if ready else x.astype(dtype).broadcast_to(out.shape)
    return out.device.kernels.scalar(value_in(op, x, dtype), dtype.code)


def _empty_result(spec: Spec, arrays):
    """An output laid out in memory like the first operand that has its shape."""
    for x in arrays:
        if x.shape == spec.shape:
            return ndarray.empty_like(x, dtype=spec.dtype)
    return ndarray.empty(spec.shape, spec.dtype, arrays[0].device)


negate = _unary("negate", "-a")
abs = _unary("abs", "|a|")
sign = _unary("sign", "-1, 0 or 1; NaN stays NaN")
relu = _unary("relu", "max(a, 0); NaN stays NaN")
floor = _unary("floor", "The largest whole number that is not above a.")
ceil = _unary("ceil", "The smallest whole number that is not below a.")
exp = _unary("exp", "e^a")
log = _unary("log", "The natural logarithm; -inf for 0 and NaN below.")
sqrt = _unary("sqrt", "The square root; NaN below 0.")
sin = _unary("sin", "The sine of a in radians.")
cos = _unary("cos", "The cosine of a in radians.")
tanh = _unary("tanh", "The hyperbolic tangent.")
sigmoid = _unary("sigmoid", "1 / (1 + e^-a)")
erf = _unary("erf", "2 / sqrt(pi) * integral from 0 to a of e^(-t^2) dt")
gelu = _unary("gelu", "a * P(X <= a) for a standard normal X")
logical_not = _unary("logical_not", "not a, for bool")

add = _binary("add", "a + b; `or` for bool")
subtract = _binary("subtract", "a - b")
multiply = _binary("multiply", "a * b; `and` for bool")
divide = _binary("divide", "a / b; float32 for integers")
floor_divide = _binary("floor_divide", "floor(a / b); 0 for an integer divided by 0")
remainder = _binary("remainder", "a - b * floor(a / b), which has the sign of b; 0 for an integer divided by 0")
_power = _binary("power", "a^b")
add_relu = _binary("add_relu", "max(a + b, 0), NaN stays NaN")
relu_backward = _binary("relu_backward", "0 where b <= 0, else a: the gradient of relu from that of its result b")
gelu_backward = _binary("gelu_backward", "a times the derivative of gelu at b; floating")
maximum = _binary("maximum", "The larger one; NaN if either is.")
minimum = _binary("minimum", "The smaller one; NaN if either is.")
equal = _binary("equal", "a == b")
not_equal = _binary("not_equal", "a != b")
less = _binary("less", "a < b")
less_equal = _binary("less_equal", "a <= b")
logical_and = _binary("logical_and", "a and b, for bool")
logical_or = _binary("logical_or", "a or b, for bool")
logical_xor = _binary("logical_xor", "a != b, for bool")


def power(a, b):
    """a^b. Raises DTypeError for an integer to a negative power, as that is none; to see that, arrays of powers are read."""
    if type(b) is not float and not (type(b) is int and b >= 0):
        a, b = operands("power", a, b)
        is_array = isinstance(b, ndarray.NDArray) and b.dtype in ("int8", "int32", "int64") and b.size
        if (type(b) is int or is_array) and operand_dtype("power", a, b).kind == "integer":
            smallest = reduce.min(b).item() if is_array else b
            if smallest < 0:
                raise DTypeError(f"power: an integer to the power of {smallest}: expected powers of 0 or more, or floats")
    return _power(a, b)


def greater(a, b):
    """a > b"""
    return less(b, a)


def greater_equal(a, b):
    """a >= b"""
    return less_equal(b, a)


def where(condition, a, b):
    """a where the condition is true, else b; a or b may be a number."""
    if not isinstance(condition, ndarray.NDArray):
        raise TypeError(f"where: a condition of type {type(condition).__name__}: expected an NDArray of bools")
    a, b = (x if isinstance(x, ndarray.NDArray) else _beside("where", x, condition) for x in (a, b))
    spec = infer_where(condition, a, b)
    arrays = [x for x in (condition, a, b) if isinstance(x, ndarray.NDArray)]
    same_device("where", *arrays)
    out = _empty_result(spec, arrays)
    a, b = _prepare("where", a, spec.dtype, out), _prepare("where", b, spec.dtype, out)
    call(out.device, "where", condition.broadcast_to(out.shape), a, b, out)
    return out


def lerp_to(a, b, weight: float) -> None:
    """a += weight * (b - a), in place; b has the shape and dtype of a, which are floating."""
    call(same_device("lerp_to", a, b), "lerp", a, b, weight, a)
    changes.mark(a)


def multiply_by(a, b) -> None:
    """a *= b, in place; b broadcasts to the shape of a, which keeps its dtype."""
    if isinstance(b, ndarray.NDArray) and b.dtype is not a.dtype:
        call(a.device, "copy", multiply(a, b), a)  # b is not rounded: a half type would lose small factors
    else:
        call(a.device, "multiply", a, _prepare("multiply_by", b, a.dtype, a), a)
    changes.mark(a)


def add_to(a, b) -> None:
    """a += b, in place; b broadcasts to the shape of a, which keeps its dtype. For sums that nobody else has seen."""
    call(a.device, "add", a, _prepare("add_to", b, a.dtype, a), a)

"""The operators and methods of Tensor that are operations: `a + b` is add(a, b), `a.sum()` is sum(a).

They are added to the class from here, when the package is imported, so that operations can import Tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from needle.autograd import Parameter, Tensor, is_recording
from needle.backend_ndarray.elementwise import is_operand
from needle.backend_ndarray.ufunc import apply_ufunc, array_function, functions_of
from needle.errors import DTypeError, GradientError, ShapeError
from needle.ops import arithmetic, broadcast, compare, reduce, shape, unary
from needle.ops.cast import cast
from needle.ops.getitem import getitem
from needle.ops.matmul import matmul
from needle.typing import ArrayLike

_Binary = Callable[[ArrayLike, ArrayLike], Tensor]

_ARITHMETIC: dict[str, tuple[str, _Binary]] = {
    "add": ("+=", arithmetic.add),
    "sub": ("-=", arithmetic.subtract),
    "mul": ("*=", arithmetic.multiply),
    "truediv": ("/=", arithmetic.divide),
    "pow": ("**=", arithmetic.power),
    "matmul": ("@=", matmul),
}


def _reflected(function: _Binary) -> _Binary:
    return lambda self, other: function(other, self)


def _in_place(operator: str, function: _Binary) -> Callable[[Tensor, ArrayLike], Tensor]:
    return lambda self, other: _assigned(operator, self, function(self, other))


def _assigned(operator: str, x: Tensor, result: Tensor) -> Tensor:
    """Returns what `x += y` assigns to x: usually the new tensor x + y.

    If nothing is recorded and x is a leaf that requires a gradient (`w` in `w -= lr * w.grad` under no_grad), x
    itself is updated in place and returned. Raises GradientError for a Parameter outside no_grad, because its
    module and optimizer would lose it.
    """
    if is_recording() or not (x.is_leaf() and x.requires_grad):
        if is_recording() and isinstance(x, Parameter):
            raise GradientError(f"{operator}: of a Parameter: expected it within no_grad(), or a new name: x = x + y")
        return result
    if result.shape != x.shape:
        raise ShapeError(f"{operator}: a result of shape {result.shape}: expected {x.shape}")
    if result.dtype.kind != x.dtype.kind:
        raise DTypeError(f"{operator}: a result of dtype {result.dtype}: expected {x.dtype}, see astype")
    x.cached_data[...] = result.cached_data
    return x


def _equality(function: _Binary) -> Callable[[Tensor, object], Tensor]:
    """Of an operand that cannot be compared with numbers, such as None, NotImplemented makes Python say "not equal"."""
    return lambda self, other: function(self, other) if is_operand(other) else NotImplemented


def _reshape(self: Tensor, *new_shape: Any) -> Tensor:
    return shape.reshape(self, new_shape[0] if len(new_shape) == 1 else new_shape)


def _swapped(self: Tensor) -> Tensor:
    """The last two axes swapped; a tensor with fewer than two axes is returned unchanged."""
    return shape.transpose(self) if self.ndim > 1 else self


def _argmax(self: Tensor, axis: int | None = None) -> Tensor:
    return Tensor.make_const(self.cached_data.argmax(axis))


_UFUNCS = functions_of(arithmetic, unary, compare) | {"matmul": matmul}


def _array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    has_gradient = any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
    return apply_ufunc(_UFUNCS, ufunc, method, inputs, options, has_gradient)


METHODS = {
    **{f"__{name}__": function for name, (_, function) in _ARITHMETIC.items()},
    **{f"__r{name}__": _reflected(function) for name, (_, function) in _ARITHMETIC.items()},
    **{f"__i{name}__": _in_place(operator, function) for name, (operator, function) in _ARITHMETIC.items()},
    "__neg__": unary.negate,
    "__abs__": unary.abs,
    "__eq__": _equality(compare.equal),
    "__ne__": _equality(compare.not_equal),
    "__lt__": compare.less,
    "__le__": compare.less_equal,
    "__gt__": compare.greater,
    "__ge__": compare.greater_equal,
    "__getitem__": getitem,
    "astype": cast,
    "sum": broadcast.sum,
    "mean": reduce.mean,
    "max": reduce.max,
    "argmax": _argmax,
    "reshape": _reshape,
    "broadcast_to": broadcast.broadcast_to,
    "transpose": shape.transpose,
    "permute": shape.permute,
    "T": property(_swapped),
    "matmul": matmul,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": array_function,
}
for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)

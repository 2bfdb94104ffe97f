"""The operators and methods of NDArray that are functions of the other files here: `a + b` is elementwise.add(a, b).

They are added to the class from here, when the package is imported, so that those files can import NDArray.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from needle.backend_ndarray import array_indexing, elementwise, gather, matmul, reduce
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.number import NUMBER_TYPES
from needle.backend_ndarray.shape import Axes
from needle.backend_ndarray.ufunc import apply_ufunc, array_function, functions_of
from needle.typing import ArrayLike

_Binary = Callable[[ArrayLike, ArrayLike], NDArray]
_Method = Callable[[NDArray, Any], Any]


def _operator(function: _Binary, reflected: bool = False, of_anything: bool = False) -> _Method:
    """Makes the method of an operator.

    With `of_anything`, the method returns NotImplemented for an operand it cannot compute with, such as None. It also
    does so if the other operand has a higher __array_priority__, as a Tensor has; Python then calls the other's method.
    """

    def method(self: NDArray, other: Any) -> Any:
        if not isinstance(other, NDArray) and type(other) not in NUMBER_TYPES:
            is_next = _priority(other) > self.__array_priority__
            if is_next or of_anything and not elementwise.is_operand(other):
                return NotImplemented
        return function(other, self) if reflected else function(self, other)

    return method


def _priority(x: object) -> float:
    """The priority of x: of two operands that implement an operator, the one with the higher priority is used."""
    return 0 if isinstance(x, type) else getattr(x, "__array_priority__", 0)


def _reduction(function: Callable[[NDArray, Any, bool], NDArray]) -> Callable[..., NDArray]:
    def method(self: NDArray, axis: Axes = None, keepdims: bool = False) -> NDArray:
        return function(self, axis, keepdims)

    return method


_UFUNCS = functions_of(elementwise, matmul)


def _array_ufunc(self: NDArray, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    if any(_priority(x) > self.__array_priority__ for x in inputs):
        return NotImplemented
    return apply_ufunc(_UFUNCS, ufunc, method, inputs, options, has_gradient=False)


_BINARY = {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "pow": elementwise.power,
    "matmul": matmul.matmul,
    "and": elementwise.logical_and,
    "or": elementwise.logical_or,
    "xor": elementwise.logical_xor,
}
_COMPARISONS = {
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
}

METHODS = {
    **{f"__{name}__": _operator(function) for name, function in (_BINARY | _COMPARISONS).items()},
    **{f"__r{name}__": _operator(function, reflected=True) for name, function in _BINARY.items()},
    "__eq__": _operator(elementwise.equal, of_anything=True),
    "__ne__": _operator(elementwise.not_equal, of_anything=True),
    "__neg__": elementwise.negate,
    "__abs__": elementwise.abs,
    "__invert__": elementwise.logical_not,
    "__contains__": lambda self, value: bool(np.any(self == value)),
    "_pick": lambda self, index: array_indexing.pick(self, index, gather.gather),
    "_put": array_indexing.put,
    "sum": _reduction(reduce.sum),
    "max": _reduction(reduce.max),
    "min": _reduction(reduce.min),
    "argmax": _reduction(reduce.argmax),
    "log": elementwise.log,
    "exp": elementwise.exp,
    "tanh": elementwise.tanh,
    "maximum": elementwise.maximum,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": array_function,
}
for _name, _method in METHODS.items():
    setattr(NDArray, _name, _method)

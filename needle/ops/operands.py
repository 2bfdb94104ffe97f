"""Operands beside a Tensor: numbers, arrays and lists, which take no part in differentiation."""

from __future__ import annotations

from typing import Any

from needle.autograd import Tensor
from needle.backend_ndarray import elementwise as array_api
from needle.backend_ndarray import ndarray
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dtype import common_dtype, float64, promote_scalar
from needle.backend_ndarray.number import NUMBER_TYPES, as_number, value_in
from needle.backend_ndarray.whole_numbers import whole_numbers, whole_numbers_of
from needle.typing import ArrayLike, Number


def operands(op: str, a: Any, b: Any) -> tuple[Tensor | Number, Tensor | Number]:
    """a and b, one of which is a Tensor, as Tensors or Python numbers. Raises TypeError or DTypeError for others."""
    if isinstance(a, Tensor):
        return a, b if type(b) in NUMBER_TYPES or isinstance(b, Tensor) else _beside(op, b, a)
    if isinstance(b, Tensor):
        return a if type(a) in NUMBER_TYPES else _beside(op, a, b), b
    raise TypeError(f"{op}: operands of types {type(a).__name__} and {type(b).__name__}: expected a Tensor")


def as_tensors(op: str, *values: ArrayLike) -> list[Tensor]:
    """`operands` for any number of operands; numbers become 0-d Tensors of the dtype that all promote to."""
    tensors = [x for x in values if isinstance(x, Tensor)]
    if len(tensors) == len(values):
        return tensors
    if not tensors:
        raise TypeError(f"{op}: operands of types {', '.join(type(x).__name__ for x in values)}: expected a Tensor")
    like = next((x for x in tensors if x.dtype is float64), tensors[0])
    result = [x if isinstance(x, Tensor) else _beside(op, x, like) for x in values]
    dtype = common_dtype([x for x in result if isinstance(x, Tensor)])
    for x in result:
        dtype = dtype if isinstance(x, Tensor) else promote_scalar(dtype, x)
    return [
        x if isinstance(x, Tensor) else Tensor.make_const(ndarray.full((), value_in(op, x, dtype), dtype, like.device))
        for x in result
    ]


def with_ids(op: str, a: ArrayLike, name: str, numbers: ArrayLike) -> tuple[Tensor, Tensor]:
    """a, and row numbers, labels and the like as a Tensor of int32 or int64; one of the two is a Tensor.

    The numbers do not take the dtype of `a`, which may be unable to represent them; `name` is op's word for one of them
    in errors. See `whole_numbers`.
    """
    if not isinstance(a, Tensor):
        a = as_tensors(op, a, numbers)[0]
    if isinstance(numbers, Tensor):
        given = numbers.cached_data
    elif isinstance(numbers, ndarray.NDArray):
        given = numbers
    else:
        given = ndarray.array(whole_numbers_of(op, name, numbers), device=a.device)
    same_device(op, a.cached_data, given)
    ids = whole_numbers(op, name, given)
    return a, numbers if isinstance(numbers, Tensor) and ids is given else Tensor.make_const(ids)


def _beside(op: str, x: ArrayLike, like: Tensor) -> Tensor | Number:
    """A number, or a Tensor without gradient."""
    number = as_number(x)
    if number is not None:
        return number
    if isinstance(x, ndarray.NDArray):
        return Tensor.make_const(x)
    if _holds_tensors(x):
        raise TypeError(f"{op}: a {type(x).__name__} of Tensors: expected a Tensor, see stack")
    return Tensor.make_const(array_api.array_beside(op, x, like.cached_data))


def _holds_tensors(x: object) -> bool:
    return isinstance(x, (list, tuple)) and any(isinstance(entry, Tensor) or _holds_tensors(entry) for entry in x)

"""a[index]: a view by GetItem, or rows picked by Gather, see needle/backend_ndarray/array_indexing.py."""

from __future__ import annotations

from needle.autograd import Op, Tensor, require_tensors
from needle.backend_ndarray import NDArray, ndarray
from needle.backend_ndarray.array_indexing import pick
from needle.backend_ndarray.indexing import is_basic, resolve_index
from needle.ops.gather import gather_rows
from needle.typing import Index


class GetItem(Op):
    """a[index] for ints, slices, None and Ellipsis."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def compute(self, a: NDArray) -> NDArray:
        return a.view(*resolve_index(self.index, a.shape, a.strides, a.offset))

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return SetItem(self.index, node.inputs[0].shape)(out_grad)


class SetItem(Op):
    """Zeros of `shape` with a at `index`: the transpose of GetItem."""

    def __init__(self, index: Index, shape: tuple[int, ...]) -> None:
        self.index = index
        self.shape = shape

    def compute(self, a: NDArray) -> NDArray:
        out = ndarray.zeros(self.shape, a.dtype, a.device)
        out[self.index] = a
        return out

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return getitem(out_grad, self.index)


def getitem(a: Tensor, index: Index) -> Tensor:
    """a[index] by NumPy's rules. Ints, slices, None and Ellipsis give a view; masks and arrays of integers a copy.

    Arrays in the index may be Tensors or NDArrays on the device of `a`, NumPy arrays or lists, and get no gradient. If
    they pick an element more than once, its gradient is the sum. A mask is read on the host, which waits for a GPU. An
    out-of-range integer in a GPU array is reported when the host next waits. Raises IndexError where NumPy does.
    """
    if is_basic(index):
        return GetItem(index)(a)
    require_tensors("getitem", a)
    items = index if isinstance(index, tuple) else (index,)
    arrays = tuple(item.cached_data if isinstance(item, Tensor) else item for item in items)
    return pick(a, arrays, lambda rows, numbers: gather_rows(rows, Tensor.make_const(numbers)))

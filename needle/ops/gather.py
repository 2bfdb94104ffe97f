"""Rows by number."""

from __future__ import annotations

from needle.autograd import Op, Tensor
from needle.backend_ndarray import gather as array_api
from needle.backend_ndarray.dtype import int64
from needle.backend_ndarray.spec import Spec


class Gather(Op):
    """a[indices]: rows along the first axis"""

    def infer(self, a, indices):
        return array_api.infer_take(a, indices)

    def compute(self, a, indices):
        return array_api.take(a, indices)

    def gradient(self, out_grad, node):
        a, indices = node.inputs
        return ScatterAdd(a.shape[0])(out_grad, indices), None


class ScatterAdd(Op):
    """Zeros of `rows` rows, to whose row indices[i] a[i] is added: the transpose of Gather"""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def infer(self, a, indices):
        return Spec((self.rows, *a.shape[len(indices.shape) :]), a.dtype)

    def compute(self, a, indices):
        return array_api.scatter_add(a, indices, self.rows)

    def gradient(self, out_grad, node):
        return Gather()(out_grad, node.inputs[1]), None


def gather(a: Tensor, indices: Tensor) -> Tensor:
    """a[indices], of shape (*indices.shape, *a.shape[1:]). Raises ShapeError for an index outside 0..len(a)-1."""
    if indices.dtype.kind != "integer":
        indices = Tensor.make_const(indices.cached_data.astype(int64))
    return Gather()(a, indices)


def embedding(indices: Tensor, weight: Tensor) -> Tensor:
    """The row of weight (num_embeddings, embedding_dim) for each index: (*indices.shape, embedding_dim)."""
    return gather(weight, indices)

"""Gathering rows by index."""

from __future__ import annotations

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import gather as array_api
from needle.errors import ShapeError
from needle.ops.operands import with_ids


class Gather(Op):
    """a[indices]: rows along the first axis"""

    compute = staticmethod(array_api.gather)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        a, indices = node.inputs
        return ScatterAdd(a.shape[0])(out_grad, indices), None


class ScatterAdd(Op):
    """Adds a[i] to row indices[i] of a zero array with `rows` rows: the transpose of Gather"""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def compute(self, a: NDArray, indices: NDArray) -> NDArray:
        return array_api.scatter_add(a, indices, self.rows)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        return gather_rows(out_grad, node.inputs[1]), None


gather_rows = Gather()


def gather(a: Tensor, indices: Tensor) -> Tensor:
    """a[indices] by one kernel, of shape (*indices.shape, *a.shape[1:]).

    Indices of a floating dtype (as from the course's loaders) are converted. Raises ShapeError for an index outside
    0..len(a)-1, a fraction, NaN or infinity, on a GPU when the host next waits for it; DTypeError for bools.
    """
    return _gather("gather", a, indices)


def embedding(indices: Tensor, weight: Tensor) -> Tensor:
    """gather(weight, indices): rows of weight (num_embeddings, embedding_dim) as (*indices.shape, embedding_dim)."""
    return _gather("embedding", weight, indices)


def _gather(op: str, a: Tensor, indices: Tensor) -> Tensor:
    a, indices = with_ids(op, a, "index", indices)
    if not a.shape:
        raise ShapeError(f"{op}: a 0-d Tensor has no rows")
    return gather_rows(a, indices)

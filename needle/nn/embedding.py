"""Vectors for tokens."""

from __future__ import annotations

from needle import init, ops
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import Device, DType
from needle.nn.checks import check_counts, parameter_options
from needle.nn.module import Module


class Embedding(Module):
    """Looks up a row of weight (num_embeddings, embedding_dim) per index: (*indices.shape, embedding_dim).

    The weight is initialized standard normal.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        check_counts("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        options = parameter_options("Embedding", device, dtype)
        self.weight = Parameter(init.randn(num_embeddings, embedding_dim, **options))

    def forward(self, indices: Tensor) -> Tensor:
        """`indices`: whole numbers in 0..num_embeddings-1; floating dtypes are converted, see ops.gather."""
        return ops.embedding(indices, self.weight)

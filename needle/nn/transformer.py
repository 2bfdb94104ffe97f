"""The Transformer (Vaswani et al. 2017), pre-norm (Xiong et al. 2020): a stack of attention and feed-forward layers."""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType
from needle.errors import ShapeError
from needle.nn.attention import AttentionLayer
from needle.nn.checks import check_counts, check_flags, check_tensor, parameter_options
from needle.nn.dropout import Dropout
from needle.nn.embedding import Embedding
from needle.nn.linear import Linear
from needle.nn.module import Module
from needle.nn.norm import LayerNorm1d


class TransformerLayer(Module):
    """Self-attention, then a network applied to each position, both with a residual connection, (B, T, q_features):

        x = x + dropout(attention(x))
        x = x + dropout(linear2(dropout(relu(linear1(prenorm(x))))))

    `attention` normalizes its own input. linear1 maps q_features to hidden_size, linear2 maps back.
    """

    def __init__(
        self,
        q_features: int,
        num_head: int,
        dim_head: int,
        hidden_size: int,
        *,
        dropout: float = 0.0,
        causal: bool = True,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        counts = {"q_features": q_features, "num_head": num_head, "dim_head": dim_head, "hidden_size": hidden_size}
        check_counts("TransformerLayer", **counts)
        options = parameter_options("TransformerLayer", device, dtype)
        self.q_features = q_features
        self.attention = AttentionLayer(q_features, num_head, dim_head, dropout=dropout, causal=causal, **options)
        self.prenorm = LayerNorm1d(q_features, **options)
        self.linear1 = Linear(q_features, hidden_size, nonlinearity="relu", **options)
        self.linear2 = Linear(hidden_size, q_features, **options)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, q_features) to the same shape."""
        check_tensor(self, "x", x)
        if x.ndim != 3 or x.shape[2] != self.q_features or 0 in x.shape:
            expected = f"expected (B, T, {self.q_features}), no extent 0"
            raise ShapeError(f"{self}: an input of shape {x.shape}: {expected}")
        x = self.dropout(self.attention(x)) + x  # x last: it may be a transpose, and the first decides the layout
        hidden = self.dropout(self.linear1(self.prenorm(x)))
        return self.dropout(self.linear2(hidden)) + x


class Transformer(Module):
    """Stacked TransformerLayers over x plus a vector for each position, which `position_embedding` learns.

    Sequences are (T, B, embedding_size), or (B, T, embedding_size) with batch_first; T is at most sequence_len.
    """

    def __init__(
        self,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        num_head: int = 8,
        dim_head: int = 32,
        dropout: float = 0.0,
        causal: bool = True,
        batch_first: bool = False,
        sequence_len: int = 2048,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        counts = {"embedding_size": embedding_size, "hidden_size": hidden_size, "num_layers": num_layers}
        check_counts("Transformer", **counts, num_head=num_head, dim_head=dim_head, sequence_len=sequence_len)
        options = parameter_options("Transformer", device, dtype)
        check_flags("Transformer", causal=causal, batch_first=batch_first)
        self.embedding_size = embedding_size
        self.sequence_len = sequence_len
        self.batch_first = batch_first
        self.position_embedding = Embedding(sequence_len, embedding_size, **options)
        sizes = (embedding_size, num_head, dim_head, hidden_size)
        self.layers = [TransformerLayer(*sizes, dropout=dropout, causal=causal, **options) for _ in range(num_layers)]

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(outputs, h), with outputs of the shape of x. h, the state in a recurrent layer, is returned unchanged.

        Raises ShapeError for a sequence of another shape, or longer than sequence_len.
        """
        self._check(x)
        x = x if self.batch_first else ops.transpose(x, (0, 1))
        x = x + self.position_embedding.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return (x if self.batch_first else ops.transpose(x, (0, 1))), h

    def _check(self, x: Tensor) -> None:
        check_tensor(self, "x", x)
        fit = x.ndim == 3 and x.shape[2] == self.embedding_size and 0 not in x.shape
        if not fit or x.shape[1 if self.batch_first else 0] > self.sequence_len:
            order = "B, T" if self.batch_first else "T, B"
            expected = f"expected ({order}, {self.embedding_size}), no extent 0, T at most {self.sequence_len}"
            raise ShapeError(f"{self}: an input of shape {x.shape}: {expected}")

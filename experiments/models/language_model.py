"""A language model: predicts the next word's probabilities from the words of a text so far."""

from __future__ import annotations

from needle import init, nn, ops
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import Device, DType
from needle.errors import ShapeError

SEQUENCE_MODELS = ("lstm", "rnn", "transformer")
TRANSFORMER_POSITIONS = 2048  # the longest sequence that a Transformer takes

State = Tensor | tuple[Tensor, Tensor] | None


class LanguageModel(nn.Module):
    """Embedding, sequence model and linear layer: word ids (T, B) to logits (T*B, vocab_size) of the word after each.

    embedding      (vocab_size, embedding_size); embedding_size defaults to hidden_size
    seq_model      nn.LSTM or nn.RNN (tanh), embedding_size to hidden_size; or nn.Transformer of width hidden_size, with
                   8 heads of ceil(hidden_size / 8) and feed-forward layers of 4 * hidden_size (Vaswani et al. 2017),
                   each position attending to itself and earlier ones
    norm           nn.LayerNorm1d after a Transformer, whose layers normalize only their inputs; else nothing
    linear         hidden_size to vocab_size

    dropout: the probability for the embedding, between the sequence model's layers and for its output, but not from one
    step to the next (Zaremba, Sutskever and Vinyals 2014); in the Transformer also where nn.Transformer has it.
    tie_weights: the linear layer shares the embedding's matrix (Press and Wolf 2017; Inan et al. 2016): see TiedLinear.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int = 1,
        embedding_size: int | None = None,
        seq_model: str = "lstm",
        dropout: float = 0.0,
        tie_weights: bool = False,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        embedding_size = hidden_size if embedding_size is None else embedding_size
        for reason, equal in (("tie_weights", tie_weights), ("a transformer", seq_model == "transformer")):
            if equal and embedding_size != hidden_size:
                raise ValueError(
                    f"LanguageModel: embedding_size of {embedding_size} and hidden_size of {hidden_size}: "
                    f"expected the same with {reason}"
                )
        self.vocab_size = vocab_size
        options = {"device": device, "dtype": dtype}
        self.embedding = nn.Embedding(vocab_size, embedding_size, **options)
        self.seq_model = _sequence_model(seq_model, embedding_size, hidden_size, num_layers, dropout, options)
        self.norm = nn.LayerNorm1d(hidden_size, **options) if seq_model == "transformer" else nn.Identity()
        if tie_weights:
            self.linear = TiedLinear(self.embedding, **options)
        else:
            self.linear = nn.Linear(hidden_size, vocab_size, **options)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, h: State = None) -> tuple[Tensor, State]:
        """Logits (T*B, vocab_size), those of step 0 first, and the state after the last step.

        x: ids (T, B), whole numbers in 0..vocab_size-1. h: the state before the first step, as for `seq_model`: (h0,
        c0) for the LSTM, h0 for the RNN, each (num_layers, B, hidden_size), by default zeros. A Transformer has no
        state.
        """
        if x.ndim != 2:
            raise ShapeError(f"LanguageModel: ids of shape {x.shape}: expected (T, B)")
        outputs, h = self.seq_model(self.dropout(self.embedding(x)), h)
        outputs = self.dropout(self.norm(outputs))
        return self.linear(outputs.reshape((-1, outputs.shape[-1]))), h


class TiedLinear(nn.Module):
    """x @ weight.T + bias, where weight (num_embeddings, embedding_dim) is an Embedding's: one Parameter in two places.

    Because it produces logits, the matrix is initialized Kaiming uniform like a Linear layer's, on +-sqrt(6 /
    embedding_dim), not standard normal like an Embedding's. The bias (num_embeddings,) is initialized to 0.
    """

    def __init__(self, embedding: nn.Embedding, device: Device | None = None, dtype: str | DType = "float32") -> None:
        rows, width = embedding.weight.shape
        embedding.weight.data = init.kaiming_uniform(width, rows, shape=(rows, width), device=device, dtype=dtype)
        self.weight = embedding.weight
        self.bias = Parameter(init.zeros(rows, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight.T, self.bias)


def _sequence_model(
    name: str, embedding_size: int, hidden_size: int, num_layers: int, dropout: float, options: dict
) -> nn.Module:
    if name == "lstm":
        return nn.LSTM(embedding_size, hidden_size, num_layers, dropout=dropout, **options)
    if name == "rnn":
        return nn.RNN(embedding_size, hidden_size, num_layers, dropout=dropout, **options)
    if name == "transformer":
        sizes = {"num_head": 8, "dim_head": -(-hidden_size // 8), "sequence_len": TRANSFORMER_POSITIONS}
        return nn.Transformer(embedding_size, 4 * hidden_size, num_layers, **sizes, dropout=dropout, **options)
    raise ValueError(f"LanguageModel: seq_model {name!r}: expected one of {', '.join(SEQUENCE_MODELS)}")

"""Needle's layers and PyTorch's, and how the weights of one become those of the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from needle import nn
from needle.nn import activation
from tests.peers import adjusted, torch_layers
from tests.peers.comparison import Precision
from tests.peers.draws import FINITE
from tests.peers.peer import Operand, labels

ALL = (*FINITE, "infinite", "large")
ORDINARY = ("normal", "ties", "small")


@dataclass(frozen=True)
class LayerPeer:
    """`build(dtype)` makes our layer, `theirs()` PyTorch's; `cases` are operands, as in Peer.

    as_torch maps (name of a parameter or buffer, its array) of ours to those of PyTorch's.
    """

    layer: str
    build: Callable[[str], nn.Module]
    theirs: Callable[[], torch.nn.Module]
    cases: tuple[tuple[Operand, ...], ...]
    settings: str = ""
    as_torch: Callable[[str, np.ndarray], tuple[str, np.ndarray]] = lambda name, array: (name, array)
    training: bool = True
    draws: tuple[str, ...] = ORDINARY
    dtypes: tuple[str, ...] = ("float32", "float64")
    precision: Precision = Precision(64, 64)

    def __str__(self) -> str:
        return f"{self.layer} {self.settings}".strip()


def matrices_transposed(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Linear: our weight (in, out) and bias (1, out) are PyTorch's (out, in) and (out,)."""
    linear = re.search(r"(linear\d|projection)\.", name) or "." not in name
    return name, (array.T if name.endswith("weight") else array.reshape(-1)) if linear else array


def filters(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Conv: our weight (K, K, in, out) is PyTorch's (out, in, K, K)."""
    return name, array.transpose(3, 2, 0, 1) if name == "weight" else array


def recurrent(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """rnn_cells.1.W_ih (I, G*H) is weight_ih_l1 (G*H, I), and bias_ih has the same shape. A cell's have no number."""
    number, which, part = re.fullmatch(r"(?:\w+_cells\.(\d+)\.)?(W|bias)_(ih|hh)", name).groups()
    suffix = "" if number is None else f"_l{number}"
    return f"{'weight' if which == 'W' else 'bias'}_{part}{suffix}", array.T


_ACTIVATION_CASES = (((3, 5),), ((2, 3, 4, 5),))


def _activation(layer: str, theirs=None) -> LayerPeer:
    build = getattr(nn, layer)
    return LayerPeer(layer, lambda dtype: build(), theirs or getattr(torch.nn, layer), _ACTIVATION_CASES, draws=ALL)


def _linear(dtype: str, **options) -> nn.Module:
    return nn.Linear(4, 3, dtype=dtype, **options)


_ROWS = (((5, 4),), ((2, 3, 4),), ((1, 4),))
_IMAGES = (((2, 3, 7, 6),), ((1, 3, 8, 8),))

LAYERS = [
    *(
        _activation(layer)  # the layer of the same name in torch.nn
        for layer in nn.__all__ if getattr(nn, layer).__module__ == activation.__name__ and layer != "GELU"
    ),
    _activation("GELU", lambda: torch_layers.Then(torch.nn.Identity(), adjusted.gelu)),
    _activation("Identity"),
    _activation("Flatten"),
    LayerPeer("Linear", _linear, lambda: torch.nn.Linear(4, 3), _ROWS, as_torch=matrices_transposed),
    LayerPeer("Linear", lambda dtype: _linear(dtype, bias=False), lambda: torch.nn.Linear(4, 3, bias=False), _ROWS,
              "bias=False", matrices_transposed),
    LayerPeer("Linear", lambda dtype: _linear(dtype, nonlinearity="relu"),
              lambda: torch_layers.Then(torch.nn.Linear(4, 3), torch.relu), _ROWS, 'nonlinearity="relu"',
              lambda name, array: ("first." + name, matrices_transposed(name, array)[1])),
    *(
        LayerPeer("Conv", lambda dtype, k=k, s=s, b=b: nn.Conv(3, 4, k, s, b, dtype=dtype),
                  lambda k=k, s=s, b=b: torch.nn.Conv2d(3, 4, k, s, k // 2, bias=b), _IMAGES, f"{k}, {s}, bias={b}",
                  filters)
        for k, s, b in ((1, 1, True), (3, 1, True), (3, 2, False), (4, 1, True), (5, 3, True))
    ),
    *(
        LayerPeer(layer, lambda dtype, ours=ours: ours(3, eps=1e-3, momentum=0.2, dtype=dtype),
                  lambda theirs=theirs: torch_layers.BiasedRunningVariance(theirs(3, eps=1e-3, momentum=0.2)), cases,
                  "train" if training else "eval", lambda name, array: ("first." + name, array), training)
        for training in (True, False)
        for layer, ours, theirs, cases in (
            ("BatchNorm1d", nn.BatchNorm1d, torch.nn.BatchNorm1d, (((5, 3),), ((9, 3),))),
            ("BatchNorm2d", nn.BatchNorm2d, torch.nn.BatchNorm2d, _IMAGES),
        )
    ),
    *(
        LayerPeer("BatchNorm2d", lambda dtype: nn.BatchNorm2d(3, dtype=dtype, nonlinearity="relu"),
                  lambda: torch_layers.Then(torch_layers.BiasedRunningVariance(torch.nn.BatchNorm2d(3)), torch.relu),
                  _IMAGES, f"nonlinearity=\"relu\", {'train' if training else 'eval'}",
                  lambda name, array: ("first.first." + name, array), training)
        for training in (True, False)
    ),
    LayerPeer("LayerNorm1d", lambda dtype: nn.LayerNorm1d(4, eps=1e-3, dtype=dtype),
              lambda: torch.nn.LayerNorm(4, eps=1e-3), _ROWS),
    *(
        LayerPeer(layer, lambda dtype, ours=getattr(nn, layer), o=options: ours(*o),
                  lambda theirs=getattr(torch.nn, layer), o=options: theirs(*o), _IMAGES, str(options), draws=ALL)
        for layer in ("MaxPool2d", "AvgPool2d")
        for options in ((2,), (3, 2, 1), (3, 1, 0), (2, 2, 1))
    ),
    LayerPeer("Dropout", lambda dtype: nn.Dropout(0.5), lambda: torch.nn.Dropout(0.5), _ROWS, "eval", training=False),
    LayerPeer("Dropout", lambda dtype: nn.Dropout(0.0), lambda: torch.nn.Dropout(0.0), _ROWS, "p=0"),
    LayerPeer("Embedding", lambda dtype: nn.Embedding(7, 3, dtype=dtype), lambda: torch.nn.Embedding(7, 3),
              ((labels((9,), 7),), (labels((4, 2), 7),))),
    LayerPeer("SoftmaxLoss", lambda dtype: nn.SoftmaxLoss(), torch.nn.CrossEntropyLoss,
              (((6, 4), labels((6,), 4)), ((1, 10), labels((1,), 10))), draws=ALL),
    LayerPeer("Sequential", lambda dtype: nn.Sequential(nn.Flatten(), nn.Tanh(), nn.LayerNorm1d(12, dtype=dtype)),
              lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Tanh(), torch.nn.LayerNorm(12)), (((5, 3, 4),),),
              as_torch=lambda name, array: (name.removeprefix("modules."), array)),
    LayerPeer("Residual", lambda dtype: nn.Residual(nn.Tanh()), lambda: torch_layers.Sum(torch.tanh), _ROWS),
    LayerPeer("Residual", lambda dtype: nn.Residual(nn.Tanh(), "relu"),
              lambda: torch_layers.Then(torch_layers.Sum(torch.tanh), torch.relu), _ROWS, 'nonlinearity="relu"'),
]  # fmt: skip

_CELLS = (((3, 4),), ((3, 4), (3, 5)))
_SEQUENCES = (((6, 3, 4),), ((1, 2, 4),), ((5, 3, 4), (2, 3, 5)))


def _pair(layer):
    """Of an LSTM, whose state is a pair: h and c as operands of their own."""
    return lambda x, *states: layer(x, states or None)


RECURRENT = [
    *(
        LayerPeer("RNNCell", lambda dtype, n=n, b=b: nn.RNNCell(4, 5, b, n, dtype=dtype),
                  lambda n=n, b=b: torch.nn.RNNCell(4, 5, b, n), _CELLS, f"{n}, bias={b}", recurrent)
        for n in ("tanh", "relu")
        for b in (True, False)
    ),
    *(
        LayerPeer("RNN", lambda dtype, n=n, b=b: nn.RNN(4, 5, 2, b, n, dtype=dtype),
                  lambda n=n, b=b: torch.nn.RNN(4, 5, 2, n, b), _SEQUENCES, f"{n}, bias={b}", recurrent,
                  precision=Precision(256, 256))
        for n in ("tanh", "relu")
        for b in (True, False)
    ),
    *(
        LayerPeer("LSTMCell", lambda dtype, b=b: nn.LSTMCell(4, 5, b, dtype=dtype),
                  lambda b=b: torch.nn.LSTMCell(4, 5, b), (((3, 4),), ((3, 4), (3, 5), (3, 5))), f"bias={b}", recurrent)
        for b in (True, False)
    ),
    *(
        LayerPeer("LSTM", lambda dtype, b=b: nn.LSTM(4, 5, 2, b, dtype=dtype), lambda b=b: torch.nn.LSTM(4, 5, 2, b),
                  (((6, 3, 4),), ((1, 2, 4),), ((5, 3, 4), (2, 3, 5), (2, 3, 5))), f"bias={b}", recurrent,
                  precision=Precision(256, 256))
        for b in (True, False)
    ),
]  # fmt: skip

_HEADS = (((2, 3, 4, 6), (2, 3, 4, 6), (2, 3, 4, 6)), ((1, 2, 3, 6), (1, 2, 5, 6), (1, 2, 5, 4)))

# Softmax does not see what is added to all scores, so some gradients are the rounding of 0.
_SCORES = Precision(512, 512, 512)
_SIZED = ("normal", "ties", "far_apart")

ATTENTION = [
    *(
        LayerPeer("MultiHeadAttention", lambda dtype, c=c: nn.MultiHeadAttention(causal=c, dtype=dtype),
                  lambda c=c: torch_layers.Attention(c), _HEADS, f"causal={c}", precision=_SCORES, draws=_SIZED)
        for c in (False, True)
    ),
    *(
        LayerPeer("AttentionLayer", lambda dtype, c=c: nn.AttentionLayer(8, 2, 3, causal=c, dtype=dtype),
                  lambda c=c: torch_layers.AttentionLayer(8, 2, 3, c),
                  (((2, 5, 8),), ((2, 3, 8), (2, 4, 8), (2, 4, 8))),
                  f"causal={c}", matrices_transposed, precision=_SCORES, draws=_SIZED)
        for c in (False, True)
    ),
    LayerPeer("TransformerLayer", lambda dtype: nn.TransformerLayer(8, 2, 4, 16, causal=False, dtype=dtype),
              lambda: torch_layers.encoder_layer(8, 2, 16), (((2, 5, 8),),), "as TransformerEncoderLayer",
              torch_layers.encoder_names, precision=_SCORES, draws=_SIZED),
    LayerPeer("Transformer",
              lambda dtype: nn.Transformer(8, 16, 2, num_head=2, dim_head=4, sequence_len=6, dtype=dtype),
              lambda: torch_layers.Transformer(8, 16, 2, 2, 4, 6), (((5, 2, 8),), ((6, 1, 8),)),
              as_torch=matrices_transposed, precision=_SCORES, draws=_SIZED),
]  # fmt: skip

"""In PyTorch what Needle's layers are and PyTorch's are not, or are put together otherwise."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Then(nn.Module):
    """A function of what a module gives."""

    def __init__(self, first: nn.Module, then) -> None:
        super().__init__()
        self.first = first
        self.then = then

    def forward(self, *inputs):
        return self.then(self.first(*inputs))


class Sum(nn.Module):
    """x + f(x)"""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return x + self.function(x)


class BiasedRunningVariance(nn.Module):
    """A batch norm whose running variance follows the biased one, which is Needle's: differences.py announces it."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first = first

    def forward(self, x):
        if not self.training:
            return self.first(x)
        norm = self.first
        before = norm.running_var.clone()
        out = norm(x)
        variance = x.detach().movedim(1, -1).reshape(-1, x.shape[1]).var(0, correction=0)
        norm.running_var = torch.lerp(before, variance, norm.momentum)  # another tensor: the graph needs the old one
        return out


class Attention(nn.Module):
    """scaled_dot_product_attention, whose causal mask is aligned to the first key where Needle's is to the last."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, q, k, v):
        mask = None
        if self.causal:
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(k.shape[-2] - q.shape[-2])
        scores = q @ k.mT / q.shape[-1] ** 0.5
        probs = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
        return F.scaled_dot_product_attention(q, k, v, mask), probs


class AttentionLayer(nn.Module):
    """Pre-norm attention; of the same names as Needle's."""

    def __init__(self, features: int, heads: int, dim_head: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.prenorm_q, self.prenorm_k, self.prenorm_v = (nn.LayerNorm(features) for _ in range(3))
        sizes = (features, heads * dim_head)
        self.q_projection, self.k_projection, self.v_projection = (nn.Linear(*sizes, bias=False) for _ in range(3))
        self.out_projection = nn.Linear(heads * dim_head, features, bias=False)
        self.attention = Attention(causal)

    def forward(self, q, k=None, v=None):
        k, v = q if k is None else k, q if v is None else v

        def heads(x):
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q = heads(self.q_projection(self.prenorm_q(q)))
        k = heads(self.k_projection(self.prenorm_k(k)))
        v = heads(self.v_projection(self.prenorm_v(v)))
        return self.out_projection(self.attention(q, k, v)[0].transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    def __init__(self, features: int, heads: int, dim_head: int, hidden: int) -> None:
        super().__init__()
        self.attention = AttentionLayer(features, heads, dim_head, causal=True)
        self.prenorm = nn.LayerNorm(features)
        self.linear1 = nn.Linear(features, hidden)
        self.linear2 = nn.Linear(hidden, features)

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.linear2(F.relu(self.linear1(self.prenorm(x))))


class Transformer(nn.Module):
    """Of sequences (T, B, features)."""

    def __init__(self, features: int, hidden: int, layers: int, heads: int, dim_head: int, length: int) -> None:
        super().__init__()
        self.position_embedding = nn.Embedding(length, features)
        self.layers = nn.ModuleList(TransformerLayer(features, heads, dim_head, hidden) for _ in range(layers))

    def forward(self, x):
        x = x.transpose(0, 1)
        x = x + self.position_embedding.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x.transpose(0, 1)


def encoder_layer(features: int, heads: int, hidden: int) -> nn.Module:
    """PyTorch's own pre-norm layer, without the biases that Needle's attention does not have."""
    layer = nn.TransformerEncoderLayer(features, heads, hidden, dropout=0, batch_first=True, norm_first=True)
    with torch.no_grad():
        layer.self_attn.in_proj_bias.zero_()
        layer.self_attn.out_proj.bias.zero_()
    return layer


def encoder_names(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Of a TransformerLayer's parameters in PyTorch's. The three projections are rows of one, three norms are one."""
    part, _, kind = name.rpartition(".")
    array = array.T if array.ndim == 2 and kind == "weight" else array.reshape(-1)
    thirds = {"attention.q_projection": 0, "attention.k_projection": 1, "attention.v_projection": 2}
    if part in thirds:
        return f"self_attn.in_proj_weight[{thirds[part]}]", array
    if part.startswith("attention.prenorm"):
        return f"norm1.{kind}", array
    return {"attention.out_projection": "self_attn.out_proj", "prenorm": "norm2"}.get(part, part) + f".{kind}", array

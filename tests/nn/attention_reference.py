"""Attention and the Transformer's layer in float64 NumPy, position by position, and helpers for their tests."""

from __future__ import annotations

import math

import numpy as np

from needle.autograd import Tensor
from needle.nn import Module


def attention(q, k, v, causal):
    """(result, probs) of q (B, H, T_q, D), k (B, H, T_k, D), v (B, H, T_k, D_v)."""
    batch, heads, queries, width = q.shape
    keys = k.shape[2]
    result, probs = np.zeros((*q.shape[:3], v.shape[3])), np.zeros((*q.shape[:3], keys))
    for b, h, i in np.ndindex(batch, heads, queries):
        seen = i + keys - queries + 1 if causal else keys
        weights = [math.exp(float(q[b, h, i] @ k[b, h, j]) / math.sqrt(width)) for j in range(seen)]
        for j, weight in enumerate(weights):
            probs[b, h, i, j] = weight / sum(weights)
            result[b, h, i] += probs[b, h, i, j] * v[b, h, j]
    return result, probs


def layer_norm(state, name, x):
    """x (..., C) normalized along C, with `name`.weight and `name`.bias of `state`."""
    centered = x - x.mean(-1, keepdims=True)
    normalized = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return normalized * state[f"{name}.weight"] + state[f"{name}.bias"]


def attention_layer(state, q, k, v, num_head, causal):
    """nn.AttentionLayer with the parameters `state` on (B, T, C): head h has columns h * D to (h + 1) * D."""
    heads = []
    for name, x in (("q", q), ("k", k), ("v", v)):
        projected = layer_norm(state, f"prenorm_{name}", x) @ state[f"{name}_projection.weight"]
        heads.append(np.stack(np.split(projected, num_head, axis=2), axis=1))
    result, _ = attention(*heads, causal)
    return np.concatenate([result[:, h] for h in range(num_head)], axis=2) @ state["out_projection.weight"]


def transformer_layer(state, x, num_head, causal):
    """nn.TransformerLayer with the parameters `state` on (B, T, C)."""
    x = x + attention_layer(part_of(state, "attention"), x, x, x, num_head, causal)
    hidden = np.maximum(layer_norm(state, "prenorm", x) @ state["linear1.weight"] + state["linear1.bias"], 0)
    return x + hidden @ state["linear2.weight"] + state["linear2.bias"]


def part_of(state, name):
    """The entries of `state` below `name`, under their names there."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def randomize(module: Module) -> dict[str, np.ndarray]:
    """Random values for all parameters, so that ones and zeros hide nothing; returns them as float64."""
    module.load_state_dict({name: np.random.randn(*value.shape) for name, value in module.state_dict().items()})
    return {name: value.astype(np.float64) for name, value in module.state_dict().items()}


def put(module: Module, name: str, tensor: Tensor) -> None:
    """Makes `tensor` the parameter of that name."""
    *path, attribute = name.split(".")
    for part in path:
        module = getattr(module, part)
    setattr(module, attribute, tensor)

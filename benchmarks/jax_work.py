"""The work that compilers take part in as JAX does it: see needle_work.py, whose functions these are.

A training step is one function, parameters and optimizer's state to new ones, whose memory is used again (`donate`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inputs import chain_of_8, integers, normal

Work = Callable[[], Any]
Tree = Any  # nested lists and dicts of arrays


def configure() -> None:
    """XLA has as many threads as the process has processors when the first work begins."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[: int(os.environ["OMP_NUM_THREADS"])])


def versions() -> dict[str, str]:
    return {"jax": jax.__version__}


def threads() -> int:
    return len(os.sched_getaffinity(0))


def chain(n: int) -> Work:
    x, y = jnp.asarray(normal(n)), jnp.asarray(normal(n, seed=1))
    chain_of = jax.jit(lambda x, y: chain_of_8(x, y, jnp.tanh, jnp.exp))
    return lambda: chain_of(x, y).block_until_ready()


def lstm_cell_training(batch: int, hidden: int, steps: int) -> Work:
    weights = [jnp.asarray(normal(hidden, 4 * hidden, seed=seed) / hidden) for seed in (1, 2)]
    weights.append(jnp.asarray(normal(4 * hidden, seed=3)))
    inputs = [jnp.asarray(normal(batch, hidden, seed=10 + step)) for step in range(steps)]
    gradient = jax.jit(jax.grad(_sum_of_last_state))
    return lambda: jax.block_until_ready(gradient(weights, inputs))[0]


def _sum_of_last_state(weights: list[jax.Array], inputs: list[jax.Array]) -> jax.Array:
    w_ih, w_hh, bias = weights
    h = c = jnp.zeros((inputs[0].shape[0], w_hh.shape[0]))
    for x in inputs:
        i, f, g, o = jnp.split(x @ w_ih + h @ w_hh + bias, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h.sum()


def lstm_cell_compile(**sizes: int) -> Work:
    return _from_compilation(lambda: lstm_cell_training(**sizes))


def _from_compilation(make: Callable[[], Work]) -> Work:
    """Compiles and runs the work that `make` makes, which the first call does."""

    def run() -> Any:
        jax.clear_caches()
        return make()()

    return run


# Training steps


def _training(loss_of: Callable[[Tree], jax.Array], parameters: Tree, update: Callable[..., tuple[Tree, Tree]]) -> Work:
    """loss_of(parameters); update(parameters, gradients, state) gives new parameters and a new state."""

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(parameters: Tree, state: Tree) -> tuple[Tree, Tree, jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        return *update(parameters, gradients, state), loss

    kept = [
        parameters,
        {"step": jnp.zeros((), jnp.int32), **{k: jax.tree.map(jnp.zeros_like, parameters) for k in "mv"}},
    ]

    def run() -> jax.Array:
        kept[0], kept[1], loss = jax.block_until_ready(step(*kept))
        return loss

    return run


def _sgd(parameters: Tree, gradients: Tree, state: Tree) -> tuple[Tree, Tree]:
    return jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradients), state


def _adam(parameters: Tree, gradients: Tree, state: Tree, weight_decay: float = 0.0) -> tuple[Tree, Tree]:
    """AdamW (Loshchilov and Hutter 2019) with lr=1e-3, betas of 0.9 and 0.999, eps=1e-8."""
    step = state["step"] + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["v"], gradients)

    def new(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        m, v = m / (1 - 0.9**step), v / (1 - 0.999**step)
        return p * (1 - 1e-3 * weight_decay) - 1e-3 * m / (jnp.sqrt(v) + 1e-8)

    return jax.tree.map(new, parameters, m, v), {"step": step, "m": m, "v": v}


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def _dense(inputs: int, outputs: int, bias: bool = True) -> dict[str, jax.Array]:
    """Weights uniform on +-sqrt(1 / inputs), as PyTorch's."""
    drawn = np.random.uniform(-1, 1, (inputs, outputs)).astype(np.float32) / np.sqrt(np.float32(inputs))
    return {"w": jnp.asarray(drawn), **({"b": jnp.zeros(outputs)} if bias else {})}


def _linear(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return x @ layer["w"] + layer["b"] if "b" in layer else x @ layer["w"]


def mlp_step(batch: int, inputs: int, hidden: int, classes: int) -> Work:
    x, labels = jnp.asarray(normal(batch, inputs)), jnp.asarray(integers(batch, below=classes))

    def loss_of(layers: Tree) -> jax.Array:
        return _cross_entropy(_linear(layers[1], jax.nn.relu(_linear(layers[0], x))), labels)

    return _training(loss_of, [_dense(inputs, hidden), _dense(hidden, classes)], _sgd)


def gpt_step(vocabulary: int, layers: int, width: int, heads: int, length: int, batch: int) -> Work:
    x = jnp.asarray(integers(batch, length, below=vocabulary))
    labels = jnp.asarray(integers(batch * length, below=vocabulary, seed=1))

    def loss_of(model: Tree) -> jax.Array:
        hidden = model["embedding"][x] + model["positions"]
        for layer in model["layers"]:
            q, k, v = (
                _linear(projection, _layer_norm(norm, hidden)).reshape(batch, length, heads, -1)
                for projection, norm in zip(layer["projections"], layer["norms"])
            )
            attended = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(batch, length, width)
            hidden = hidden + _linear(layer["out"], attended)
            hidden = hidden + _linear(
                layer["down"], jax.nn.relu(_linear(layer["up"], _layer_norm(layer["norms"][3], hidden)))
            )
        return _cross_entropy(
            _linear(model["linear"], _layer_norm(model["norm"], hidden)).reshape(-1, vocabulary), labels
        )

    def layer() -> Tree:
        return {
            "norms": [_norm(width) for _ in range(4)],
            "projections": [_dense(width, width, bias=False) for _ in range(3)],
            "out": _dense(width, width, bias=False),
            "up": _dense(width, 4 * width),
            "down": _dense(4 * width, width),
        }

    model = {
        "embedding": jnp.asarray(normal(vocabulary, width, seed=2)),
        "positions": jnp.asarray(normal(length, width, seed=3)),
        "layers": [layer() for _ in range(layers)],
        "norm": _norm(width),
        "linear": _dense(width, vocabulary),
    }
    return _training(loss_of, model, partial(_adam, weight_decay=0.1))


def _norm(width: int) -> dict[str, jax.Array]:
    return {"scale": jnp.ones(width), "shift": jnp.zeros(width)}


def _layer_norm(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    x = x - x.mean(-1, keepdims=True)
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * layer["scale"] + layer["shift"]

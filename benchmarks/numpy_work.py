"""The work in NumPy, where it is a few lines there: see needle_work.py, whose functions these are."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.inputs import chain_of_8, integers, normal, reduced_axis

Work = Callable[[], Any]


def configure() -> None:
    """There is nothing to choose."""


def versions() -> dict[str, str]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"numpy": f"{np.__version__}, {blas['name']} {blas['version']}"}


def threads() -> int:
    return int(os.environ["OMP_NUM_THREADS"])  # of its BLAS; everything else in NumPy is one thread


def matmul(m: int, k: int, n: int, transpose_a: int = 0, transpose_b: int = 0) -> Work:
    a = normal(k, m).T if transpose_a else normal(m, k)
    b = normal(n, k, seed=1).T if transpose_b else normal(k, n, seed=1)
    return lambda: a @ b


def matmul_batched(batch: int, m: int, k: int, n: int) -> Work:
    a, b = normal(batch, m, k), normal(batch, k, n, seed=1)
    return lambda: a @ b


def matmul_float64(m: int, k: int, n: int) -> Work:
    a, b = normal(m, k).astype(np.float64), normal(k, n, seed=1).astype(np.float64)
    return lambda: a @ b


def add(n: int) -> Work:
    x, y = normal(n), normal(n, seed=1)
    return lambda: x + y


def add_transposed(rows: int, columns: int) -> Work:
    x, y = normal(columns, rows).T, normal(rows, columns, seed=1)
    return lambda: x + y


def add_row(rows: int, columns: int) -> Work:
    x, y = normal(rows, columns), normal(columns, seed=1)
    return lambda: x + y


def add_column(rows: int, columns: int) -> Work:
    x, y = normal(rows, columns), normal(rows, 1, seed=1)
    return lambda: x + y


def add_every_other(rows: int, columns: int) -> Work:
    x, y = normal(rows, columns)[:, ::2], normal(rows, columns // 2, seed=1)
    return lambda: x + y


def add_orders(batch: int, channels: int, size: int) -> Work:
    x = normal(batch, channels, size, size).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    y = normal(batch, channels, size, size, seed=1)
    return lambda: x + y


def exp(n: int) -> Work:
    x = normal(n)
    return lambda: np.exp(x)


def tanh(n: int) -> Work:
    x = normal(n)
    return lambda: np.tanh(x)


def copy(n: int) -> Work:
    x, out = normal(n), np.empty(n, np.float32)

    def run() -> np.ndarray:
        np.copyto(out, x)
        return out

    return run


def chain(n: int) -> Work:
    x, y = normal(n), normal(n, seed=1)
    return lambda: chain_of_8(x, y, np.tanh, np.exp)


def reduce_sum(rows: int, columns: int, axis: int) -> Work:
    x = normal(rows, columns)
    return lambda: x.sum(reduced_axis(axis))


def reduce_max(rows: int, columns: int, axis: int) -> Work:
    x = normal(rows, columns)
    return lambda: x.max(reduced_axis(axis))


def softmax(rows: int, columns: int) -> Work:
    x = normal(rows, columns)

    def run() -> np.ndarray:
        out = np.exp(x - x.max(1, keepdims=True))
        out /= out.sum(1, keepdims=True)
        return out

    return run


def attention(batch: int, heads: int, length: int, width: int, causal: int = 0) -> Work:
    q, k, v = (normal(batch, heads, length, width, seed=seed) for seed in range(3))
    mask = np.triu(np.full((length, length), -np.inf, np.float32), 1) if causal else np.float32(0)

    def run() -> np.ndarray:
        scores = (q * np.float32(width**-0.5)) @ k.swapaxes(2, 3) + mask
        probs = np.exp(scores - scores.max(3, keepdims=True))
        return (probs / probs.sum(3, keepdims=True)) @ v

    return run


def gather(rows: int, width: int, count: int) -> Work:
    x, indices = normal(rows, width), integers(count, below=rows)
    return lambda: x[indices]


def scatter_add(rows: int, width: int, count: int) -> Work:
    x, indices = normal(count, width), integers(count, below=rows)

    def run() -> np.ndarray:
        out = np.zeros((rows, width), np.float32)
        np.add.at(out, indices, x)
        return out

    return run


def dropout_mask(n: int) -> Work:
    generator = np.random.default_rng(0)
    return lambda: (generator.random(n, dtype=np.float32) >= 0.5) * np.float32(2)


def batch_norm_training(batch: int, channels: int, size: int, eps: float = 1e-5) -> Work:
    # One row per pixel, as channels-last images are.
    x = normal(batch, channels, size, size).transpose(0, 2, 3, 1).reshape(-1, channels)
    grad = normal(batch, channels, size, size, seed=3).transpose(0, 2, 3, 1).reshape(-1, channels)
    weight, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)

    def run() -> np.ndarray:
        mean = x.mean(0)
        centered = x - mean
        scale = 1 / np.sqrt(np.square(centered).mean(0) + eps)
        normalized = centered * scale
        normalized * weight + bias  # the forward pass ends here
        grad_weight, grad_bias = (grad * normalized).sum(0), grad.sum(0)
        grad_x = (weight * scale) * (grad - (normalized * grad_weight + grad_bias) / len(x))
        return grad_x.reshape(batch, size, size, channels).transpose(0, 3, 1, 2)

    return run


def sgd_step(tensors: int, elements: int) -> Work:
    parameters = [normal(elements, seed=seed) for seed in range(tensors)]
    grads = [normal(elements, seed=1000 + seed) for seed in range(tensors)]

    def run() -> np.ndarray:
        for parameter, grad in zip(parameters, grads):
            parameter -= 0.01 * grad
        return parameters[0]

    return run

"""A call of every differentiable operation, and the arrays that it is called with."""

from __future__ import annotations

import numpy as np

from needle import ops
from needle.autograd import Tensor

random = np.random.default_rng(1)


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return random.uniform(0.5, 2.0, size=shape)


def distinct(*shape: int) -> np.ndarray:
    """No two elements closer than 0.1, none within 0.04 of 0: no step of a finite difference meets a kink."""
    size = int(np.prod(shape))
    return (random.permutation(size).reshape(shape) - size // 2 + 0.5) * 0.1


def labels(*values: int) -> Tensor:
    return Tensor(list(values), requires_grad=False)


CASES = {
    "add": (ops.add, normal(2, 3), normal(2, 3)),
    "add, broadcast": (ops.add, normal(2, 1, 3), normal(4, 1)),
    "add, scalar": (lambda a: 2.5 + a, normal(3)),
    "subtract": (ops.subtract, normal(3, 2), normal(2)),
    "subtract from scalar": (lambda a: 1 - a, normal(3)),
    "multiply": (ops.multiply, normal(2, 3), normal(3)),
    "multiply by scalar": (lambda a: a * -1.5, normal(2, 2)),
    "multiply by itself": (lambda a: a * a * a, normal(3)),
    "divide": (ops.divide, normal(2, 3), positive(2, 1)),
    "divide scalar": (lambda a: 2 / a, positive(4)),
    "divide by scalar": (lambda a: a / 4, normal(4)),
    "power": (ops.power, positive(2, 3), normal(3)),
    "power, scalar exponent": (lambda a: a**3, normal(4)),
    "power, fractional exponent": (lambda a: a**-0.5, positive(4)),
    "power, scalar base": (lambda a: 2.0**a, normal(4)),
    "negate": (ops.negate, normal(3)),
    "abs": (ops.abs, distinct(5)),
    "exp": (ops.exp, normal(2, 3)),
    "log": (ops.log, positive(4)),
    "sqrt": (ops.sqrt, positive(4)),
    "sin": (ops.sin, normal(4)),
    "cos": (ops.cos, normal(4)),
    "tanh": (ops.tanh, normal(4)),
    "sigmoid": (ops.sigmoid, normal(4)),
    "erf": (ops.erf, normal(4)),
    "relu": (ops.relu, distinct(6)),
    "add_relu": (lambda a, b: ops.add_relu(a, b) ** 2, distinct(2, 3), distinct(2, 3) * 2 + 0.03),
    "add_relu, broadcast": (lambda a, b: ops.add_relu(a, b) ** 2, distinct(2, 1, 3), distinct(4, 1) * 0.3 + 0.03),
    "gelu": (ops.gelu, normal(5)),
    "maximum": (ops.maximum, distinct(2, 3), distinct(2, 3) + 0.03),
    "minimum": (ops.minimum, distinct(2, 3), distinct(3) + 0.03),
    "maximum with scalar": (lambda a: ops.maximum(a, 0.1), distinct(5) + 0.02),
    "where": (lambda a, b: ops.where(a > b, a * b, b), distinct(4), distinct(4) + 0.03),
    "cast": (lambda a: ops.cast(ops.cast(a, "float64") * 2, "float64"), normal(3)),
    "sum": (ops.sum, normal(2, 3)),
    "sum over axes": (lambda a: ops.sum(a, (0, 2)), normal(2, 3, 2)),
    "sum over last axis": (lambda a: ops.sum(a, -1) ** 2, normal(2, 3)),
    "mean": (lambda a: ops.mean(a, 0) ** 2, normal(3, 2)),
    "max": (lambda a: ops.max(a, 1), distinct(3, 4)),
    "min": (lambda a: ops.min(a), distinct(3, 2)),
    "reshape": (lambda a: ops.reshape(a, (3, -1)) ** 2, normal(2, 3)),
    "reshape of a transpose": (lambda a: ops.reshape(ops.transpose(a), 6) ** 2, normal(2, 3)),
    "broadcast_to": (lambda a: ops.broadcast_to(a, (4, 3, 2)) ** 2, normal(3, 1)),
    "transpose": (lambda a: ops.transpose(a) ** 2, normal(2, 3, 2)),
    "transpose axes": (lambda a: ops.transpose(a, (0, 2)) ** 2, normal(2, 3, 4)),
    "permute": (lambda a: ops.permute(a, (2, 0, 1)) ** 2, normal(2, 3, 4)),
    "flip": (lambda a: ops.flip(a, (0, 1)) ** 2, normal(3, 2)),
    "getitem": (lambda a: a[1:, ::-2, None, 0] ** 2, normal(3, 4, 2)),
    "getitem, mask": (lambda a: a[a[:, 0] > 0] ** 2, distinct(4, 2)),
    "getitem, arrays": (lambda a: a[:, [[0, -1], [1, 1]], None, [2, 0]] ** 2, normal(2, 3, 3)),
    "pad": (lambda a: ops.pad(a, ((1, 0), (0, 2))) ** 2, normal(2, 3)),
    "dilate": (lambda a: ops.dilate(a, (0, 1), 2) ** 2, normal(2, 3)),
    "undilate": (lambda a: ops.undilate(a, (1,), 1) ** 2, normal(2, 5)),
    "stack": (lambda a, b: ops.stack([a, b, a], 1) ** 2, normal(2, 3), normal(2, 3)),
    "split": (lambda a: ops.split(a, 1)[0] * ops.split(a, 1)[2], normal(2, 3)),
    "split, one of several used": (lambda a: ops.split(a * a, 0)[1], normal(3, 2)),
    "concatenate": (lambda a, b: ops.concatenate([a, b], 1) ** 2, normal(2, 3), normal(2, 1)),
    "matmul": (ops.matmul, normal(2, 3), normal(3, 4)),
    "matmul, batched": (ops.matmul, normal(2, 2, 3), normal(2, 3, 2)),
    "matmul, broadcast batch": (ops.matmul, normal(2, 1, 2, 3), normal(3, 3, 2)),
    "matmul, row": (ops.matmul, normal(3), normal(2, 3, 2)),
    "matmul, column": (ops.matmul, normal(2, 2, 3), normal(3)),
    "matmul, inner product": (ops.matmul, normal(3), normal(3)),
    "linear": (ops.linear, normal(2, 3), normal(3, 4), normal(4)),
    "linear, leading axes": (lambda *inputs: ops.linear(*inputs) ** 2, normal(2, 2, 3), normal(3, 2), normal(2)),
    "linear, relu": (
        lambda *inputs: ops.linear(*inputs, nonlinearity="relu") ** 2, normal(2, 2, 3), normal(3, 4), normal(4),
    ),
    "conv": (lambda x, w: ops.conv(x, w, 1, 1), normal(2, 4, 4, 2), normal(3, 3, 2, 2)),
    "conv, bias": (lambda x, w, b: ops.conv(x, w, 1, 1, b) ** 2, normal(2, 3, 3, 2), normal(3, 3, 2, 2), normal(2)),
    "conv, strided": (lambda x, w: ops.conv(x, w, 2, 1), normal(1, 5, 4, 2), normal(3, 2, 2, 3)),
    "conv, no padding": (lambda x, w: ops.conv(x, w, 3, 0), normal(1, 7, 7, 1), normal(2, 2, 1, 2)),
    "max_pool2d": (lambda x: ops.max_pool2d(x, 2), distinct(1, 4, 4, 2)),
    "max_pool2d, overlapping": (lambda x: ops.max_pool2d(x, 3, 2, 1) ** 2, distinct(1, 5, 5, 1)),
    "avg_pool2d": (lambda x: ops.avg_pool2d(x, 2) ** 2, normal(1, 4, 5, 2)),
    "avg_pool2d, overlapping": (lambda x: ops.avg_pool2d(x, 3, 2, 1) ** 2, normal(1, 4, 4, 1)),
    "batch_norm": (lambda x, w, b: ops.batch_norm(x, w, b)[0] ** 2, normal(4, 2, 3), normal(3), normal(3)),
    "batch_norm_inference": (
        lambda x, w, b: ops.batch_norm_inference(x, w, b, ops.ones_like(w), ops.ones_like(w)) ** 2,
        normal(4, 3), normal(3), normal(3),
    ),
    "batch_norm, relu": (
        lambda x, w, b: ops.batch_norm(x, w, b, nonlinearity="relu")[0] ** 2, normal(4, 2, 3), normal(3), normal(3),
    ),
    "batch_norm_inference, relu": (
        lambda x, w, b: ops.batch_norm_inference(x, w, b, *[ops.ones_like(w)] * 2, nonlinearity="relu") ** 2,
        normal(4, 3), normal(3), normal(3),
    ),
    "layer_norm": (lambda x, w, b: ops.layer_norm(x, w, b) ** 2, normal(2, 2, 4), normal(4), normal(4)),
    "softmax": (lambda x: ops.softmax(x, 0) ** 2, normal(3, 2)),
    "log_softmax": (lambda x: ops.log_softmax(x) ** 2, normal(2, 4)),
    "logsumexp": (lambda x: ops.logsumexp(x, (0, 2)) ** 2, normal(2, 3, 2)),
    "softmax_cross_entropy": (
        lambda x: ops.softmax_cross_entropy(x, labels(1, 0, 3).to(x.device)), normal(3, 4),
    ),
    "rnn_cell": (ops.rnn_cell, normal(2, 3), normal(2, 2), normal(3, 2), normal(2, 2), normal(2)),
    "lstm_cell": (
        lambda *inputs: ops.concatenate(ops.lstm_cell(*inputs), 1) ** 2,
        normal(2, 3), normal(2, 2), normal(2, 2), normal(3, 8), normal(2, 8), normal(8),
    ),
    "rnn": (ops.rnn, normal(3, 2, 3), normal(3, 2), normal(2, 2), normal(2), normal(2, 2)),
    "rnn, relu": (
        lambda *inputs: ops.rnn(*inputs, nonlinearity="relu") ** 2,
        distinct(3, 2, 2), normal(2, 2), normal(2, 2) / 4, normal(2), normal(2, 2),
    ),
    "lstm": (
        lambda *inputs: ops.reshape(ops.lstm(*inputs)[0], -1) ** 2,
        normal(3, 2, 3), normal(3, 8), normal(2, 8), normal(8), normal(2, 2), normal(2, 2),
    ),
    "lstm, last cell": (
        lambda *inputs: ops.lstm(*inputs)[0][-1] * ops.lstm(*inputs)[1],
        normal(3, 2, 3), normal(3, 8), normal(2, 8), normal(8), normal(2, 2), normal(2, 2),
    ),
    "gather": (lambda a: ops.gather(a, Tensor([[2, 0], [2, 2]], device=a.device)) ** 2, normal(3, 2)),
    "embedding": (lambda w: ops.embedding(Tensor([1, 1, 0], device=w.device), w) ** 2, normal(3, 2)),
}  # fmt: skip

"""Arguments that fit nowhere, or somewhere else."""

from __future__ import annotations

import random

import numpy as np

import needle as ndl
from needle.backend_ndarray import array


class Weird:
    """An object that has nothing to do with Needle."""


class HasShape:
    """One that looks like an array from afar."""

    shape = (2, 3)
    dtype = "float32"
    ndim = 2


def tensor(*shape: int, dtype: str = "float32", device=None) -> ndl.Tensor:
    return ndl.Tensor(np.random.randn(*shape), dtype=dtype, device=device)


_VALUES = [
    None, True, False, 0, 1, 3, -1, 2**62, 2**63, 2**70, -(2**63), 10**400, 0.5, 1.5, -0.0, 1e300, float("nan"),
    float("inf"), -float("inf"), 1j, "", "text", "float32", "mean", "ε" * 500, b"x", object, int, len, NotImplemented,
    Ellipsis, slice(None), slice("a"), range(2), (), [], {}, set(), {"a": 1}, {1: 2, "b": None}, {"lr": "x", "steps": [1]},
    (1,), (0, 1), (0, 0), (2, 3), (-1, -1), (3, -2), [1, 2], [1.5], (None,), [None], ("a",), [[1, 2], [3]], [[]],
    (2**70,), (2**62, 2**62), (0, 2**62, 2**62), ((1, 1), (0, 2)), ((1, -1), (0, 2)), ((0, 0), (2**62, 2**62)), (1,) * 9,
    ((1, 2, 3), (1, 2, 3)), np.float32(2), np.float64("nan"), np.int64(1), np.int8(-1), np.bool_(True), np.str_("x"),
    np.array(3), np.array(1.5), np.array("x"), np.array([1, 2]), np.array([True, False]), np.array([1.5, np.nan]),
    np.array([object()]), np.array([{}, None]), np.zeros(3, "datetime64[s]"), np.zeros(2, "complex64"), np.zeros(2, "uint16"),
    np.zeros(2, [("a", int)]), np.zeros((1,) * 9), np.dtype("float32"), np.dtype("complex64"), np.float32, ndl.float32,
    ndl.Tensor, np.ones((2, 3)), np.ones((2, 3), "int32"), np.zeros((0, 3)), lambda *_: 0,
]  # fmt: skip


def junk(rnd: random.Random):
    """One of many, drawn anew."""
    if rnd.random() < 0.65:
        return rnd.choice(_VALUES)
    other = ndl.cpu_numpy() if rnd.random() < 0.2 else None
    return rnd.choice([
        Weird, HasShape, ndl.cpu, ndl.cpu_numpy, lambda: iter((1, 0)), lambda: (i for i in (0, 1)),
        lambda: tensor(device=other), lambda: tensor(3, device=other), lambda: tensor(2, 3, device=other),
        lambda: tensor(3, 2, 3, device=other), lambda: tensor(1, 4, 4, 2, device=other), lambda: tensor(0, 3, device=other),
        lambda: tensor(*(1,) * 8), lambda: tensor(2, 3, dtype="float64", device=other), lambda: tensor(2, 3, dtype="bool"),
        lambda: tensor(2, 3, dtype="float16"), lambda: tensor(2, 3, dtype="int32", device=other), lambda: tensor(dtype="int64"),
        lambda: tensor(2, dtype="uint8"), lambda: ndl.ops.broadcast_to(tensor(1), (2, 3)), lambda: ndl.Parameter([1.0]),
        lambda: array(np.ones((2, 3)), device=other), lambda: array(3), lambda: array(np.zeros((2, 3), bool)),
        lambda: ndl.ops.split(tensor(2, 3)), lambda: [tensor(2, 3)], lambda: [tensor(2, 3), tensor(2, 3, device=other)],
        lambda: [tensor(2, 3), None], lambda: (tensor(2, 3), tensor(3)), lambda: ndl.nn.ReLU(), lambda: ndl.nn.Linear(3, 2),
        lambda: ndl.optim.SGD([ndl.Parameter([1.0])]), lambda: ndl.no_grad(), lambda: np.random.randn(300),
        lambda: tensor(300), lambda: [0.5] * 500, lambda: {f"name {i}": np.ones(3) for i in range(300)},
    ])()  # fmt: skip

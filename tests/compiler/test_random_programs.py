"""Random programs: replays leave the bits of eager calls, with every combination of passes.

NEEDLE_RANDOM_PROGRAMS=N tests N programs instead of a few.
"""

import itertools
import os
import random

import numpy as np
import pytest

import needle as ndl
from needle import ops
from needle.compiler.passes import PASSES
from tests.devices import devices

UNARY = [ops.relu, ops.exp, ops.tanh, ops.sigmoid, ops.sin, ops.cos, ops.negate, ops.abs, ops.gelu, ops.sign, ops.erf]
BINARY = [ops.add, ops.subtract, ops.multiply, ops.divide, ops.maximum, ops.minimum]
SHAPES = [(4, 6), (6,), (1, 6), (4, 1), (), (2, 4, 6), (4, 6), (4, 6)]


def random_step(rng, values):
    """A function of the values so far, Tensors of several shapes, that appends another one."""
    kind = rng.choice(["unary"] * 4 + ["binary"] * 5 + ["number"] * 3 + ["shape", "reduce", "matmul", "linear", "where",
                                       "softmax", "index", "constant", "cast", "copy", "stack"])  # fmt: skip
    i, j = rng.randrange(len(values)), rng.randrange(len(values))
    x, y = values[i], values[j]
    number = rng.choice([0.5, 2, -1.5, 3.0, 0.0])
    if kind == "unary":
        function = rng.choice(UNARY)
        return lambda v: function(v[i])
    if kind == "binary":
        function = rng.choice(BINARY)
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            return None
        return lambda v: function(v[i], v[j])
    if kind == "number":
        return rng.choice([lambda v: v[i] * number, lambda v: number - v[i], lambda v: v[i] / (number + 4)])
    if kind == "shape":
        axes = rng.sample(range(x.ndim), x.ndim)
        return rng.choice(
            [
                lambda v: v[i].reshape((-1,)),
                lambda v: v[i].permute(axes),
                lambda v: ops.flip(v[i], 0) if x.ndim else v[i],
            ]
        )
    if kind == "reduce":
        axis = rng.choice([None, *range(x.ndim)])
        return lambda v: v[i].sum(axis)
    if kind == "matmul":
        return (lambda v: v[i] @ v[j].T) if x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1] else None
    if kind == "linear":
        return (lambda v: ops.relu(ops.linear(v[i], v[0], v[1]))) if x.ndim == 2 and x.shape[1] == 6 else None
    if kind == "where":
        return (lambda v: ops.where(v[i] > number, v[j], number)) if x.shape == y.shape else None
    if kind == "softmax":
        return (lambda v: ops.softmax(v[i])) if x.ndim else None
    if kind == "index":
        return (lambda v: v[i][1:]) if x.ndim and x.shape[0] > 2 else None
    if kind == "constant":
        return lambda v: ndl.Tensor(np.full((6,), number, np.float32), device=v[0].device, requires_grad=False) * 2
    if kind == "stack":
        return (lambda v: ops.stack([v[i], v[j] * number, v[i]], axis=0)) if x.shape == y.shape and x.ndim < 3 else None
    if kind == "cast":
        return lambda v: v[i].astype("float64").astype("float32")
    return lambda v: ops.multiply(v[i], v[i]) + ops.multiply(v[i], v[i])  # twice the same


def random_program(rng, device):
    """A function of two leaves and an argument, and whether it has a backward pass."""
    sizes = [(6, 6), (6,), rng.choice(SHAPES)]
    values = [ndl.Tensor(np.random.default_rng(0).standard_normal(size), device=device) for size in sizes]
    steps = []
    for _ in range(rng.randint(2, 14)):
        step = random_step(rng, values)
        if step is not None:
            with ndl.no_grad():
                value = step(values)
            if value.size <= 10_000:
                values.append(value)
                steps.append(step)
    kept = rng.sample(range(len(values)), rng.randint(1, min(3, len(values))))
    weights = [ndl.Parameter(values[0].numpy(), device=device), ndl.Parameter(values[1].numpy(), device=device)]
    has_backward = rng.random() < 0.6

    def program(x):
        all_values = [*weights, x]
        for step in steps:
            all_values.append(step(all_values))
        if has_backward:
            for weight in weights:
                weight.grad = None
            total = sum((all_values[k].sum() for k in kept), ndl.Tensor(0.0, device=device))
            if total.requires_grad:
                total.backward()
                for weight in weights:
                    if weight.grad is not None:
                        weight.cached_data[...] = (weight * 0.5 - weight.grad.detach() * 0.01).cached_data
        return tuple(all_values[k] for k in kept)

    return program, weights, sizes[2]


def bytes_of(tensor):
    """The bytes of a Tensor, in which all NaNs are one: which of two a sum is depends on where it is in memory."""
    values = tensor.numpy()
    return np.where(np.isnan(values), np.float32("nan"), values).tobytes()


def bits(program, weights, size, device):
    """What four calls leave behind."""
    rng, before = np.random.default_rng(5), [weight.numpy() for weight in weights]
    left = []
    for _ in range(4):
        x = ndl.Tensor(rng.standard_normal(size), device=device, requires_grad=False)
        left += [bytes_of(value) for value in program(x)]
        left += [(bytes_of(w), None if w.grad is None else bytes_of(w.grad)) for w in weights]
    for weight, values in zip(weights, before):
        weight.cached_data[...], weight.grad = values, None
    return left


COMBINATIONS = [combination for n in range(len(PASSES) + 1) for combination in itertools.combinations(PASSES, n)]


@pytest.mark.parametrize("device", devices(), ids=repr)
def test_random_programs_leave_the_same_bits(device, monkeypatch):
    count = int(os.environ.get("NEEDLE_RANDOM_PROGRAMS", 60))
    replayed = 0
    for seed in range(count):
        rng = random.Random(seed)
        program, weights, size = random_program(rng, device)
        expected = bits(program, weights, size, device)
        monkeypatch.setenv("NEEDLE_JIT_PASSES", ",".join(PASSES if seed % 2 else rng.choice(COMBINATIONS)))
        jitted = ndl.jit(program)
        assert bits(jitted, weights, size, device) == expected, f"program {seed}"
        for compiled in jitted.programs():
            assert compiled.program.peak_memory() <= compiled.stats["peak memory before"], f"program {seed}"
        replayed += bool(jitted.programs())
    assert replayed >= 0.9 * count

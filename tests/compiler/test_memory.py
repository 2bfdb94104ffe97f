"""Memory: a replay needs no more than the function does, and says so if there is too little."""

import os
import subprocess
import sys

import pytest

import needle as ndl
from needle import nn, optim


def peak(function, *arguments):
    """The most bytes in arrays during a call, in the state that several calls leave."""
    for _ in range(4):
        function(*arguments)
    ndl.reset_peak_memory()
    function(*arguments)
    return ndl.memory_stats()["peak"]


def training(width, depth, jitted):
    """The peak of a step, of which gradients are most."""
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())]
    model = nn.Sequential(*layers)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x):
        optimizer.reset_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = ndl.Tensor(ndl.default_device().ones(8, width), requires_grad=False)
    before = ndl.memory_stats()["current"]
    return peak(ndl.jit(step) if jitted else step, x) - before


@pytest.mark.parametrize("depth", [1, 4])
def test_the_peak_of_a_step(depth):
    assert training(256, depth, jitted=True) <= 1.02 * training(256, depth, jitted=False)  # 2 % for the pool's rounding


OUT_OF_MEMORY = """
import resource
import numpy as np
import needle as ndl
from needle import nn, ops, optim
from needle.errors import OutOfMemoryError

def run(wrap):
    ndl.manual_seed(1)
    weight = nn.Parameter(ndl.Tensor(np.linspace(0, 1, 4096, dtype=np.float32).reshape(4096, 1)))
    optimizer = optim.Adam([weight], lr=0.1)

    def step(x):
        optimizer.reset_grad()
        loss = ops.tanh(ops.dropout(weight, 0.5) @ x).sum()  # of 4096 x 4096, 64 MiB
        loss.backward()
        optimizer.step()
        return loss

    step, x = wrap(step), ndl.Tensor(np.ones((1, 4096), np.float32), requires_grad=False)
    seen = [step(x).numpy().tobytes() for _ in range(4)]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, limits[1]))
    try:
        step(x)
    except OutOfMemoryError:
        seen += [weight.numpy().tobytes(), weight.grad is None, optimizer.steps]
    resource.setrlimit(resource.RLIMIT_AS, limits)
    assert len(seen) == 7, "there was enough memory"
    return [*seen, step(x).numpy().tobytes(), weight.numpy().tobytes(), getattr(step, "stats", {}).get("replays")]

eager, jitted = run(lambda step: step), run(ndl.jit)
assert eager[:-1] == jitted[:-1], [a == b for a, b in zip(eager, jitted)]
assert jitted[-1] >= 2
"""


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="AddressSanitizer has most of the address space for itself")
def test_too_little_memory_leaves_what_it_leaves_without():
    environment = os.environ | {"NEEDLE_MEMORY_POOL": "off", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

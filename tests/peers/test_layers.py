"""Every layer of needle.nn beside PyTorch's, with the same weights: results, buffers and all gradients."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
import torch

from needle import nn
from needle.autograd import Tensor
from tests.peers import layer_table
from tests.peers.comparison import Precision, mismatches, rounded, run_needle, run_torch
from tests.peers.draws import DRAWS

LAYERS = layer_table.LAYERS + layer_table.RECURRENT + layer_table.ATTENTION
CALLS = [(peer, dtype, draw) for peer in LAYERS for dtype in peer.dtypes for draw in peer.draws]


def entry_of(theirs: torch.nn.Module, name: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The parameter or buffer of that name and its gradient; with a number in brackets, one third of its rows."""
    name, _, third = name.partition("[")
    value = dict([*theirs.named_parameters(), *theirs.named_buffers()])[name]
    parts = (value.detach(), value.grad)
    return tuple(part.unflatten(0, (3, -1))[int(third[0])] if third and part is not None else part for part in parts)


def copy_weights(peer, ours: nn.Module, theirs: torch.nn.Module) -> None:
    """Gives both the same random weights and buffers: variances stay positive."""
    generator = np.random.default_rng(2)
    for name, value in ours.named_parameters() + ours.named_buffers():
        array = generator.uniform(0.5, 1.5, value.shape)
        array = array if "var" in name else array * generator.choice([-1, 1], value.shape)
        if "prenorm_" in name:  # where PyTorch has one for all three
            array = np.linspace(0.5, 1, value.size).reshape(value.shape)
        array = rounded(array, str(value.dtype)) / 2
        value.data = Tensor(array, dtype=value.dtype)
        their_name, array = peer.as_torch(name, array)
        entry_of(theirs, their_name)[0].copy_(torch.from_numpy(np.array(array)))


def assert_same(name, mine, other, exact, dtype, precision):
    assert mine.shape == other.shape, name
    wrong = mismatches(mine, other, exact, dtype, precision)
    if wrong.any():  # without pytest's rewriting, which would print all arrays
        raise AssertionError(f"{name}: {mine[wrong][:5]}, PyTorch's {other[wrong][:5]}")


@pytest.mark.parametrize("peer, dtype, draw", CALLS, ids=lambda value: str(value))
@pytest.mark.parametrize("kept", [False, True], ids=["graph freed", "graph kept"])
def test_results_buffers_and_gradients(peer, dtype, draw, kept):
    generator = np.random.default_rng(zlib.crc32(f"{peer}{dtype}{draw}".encode()))
    for case in peer.cases:
        operands = [
            operand(generator) if callable(operand) else rounded(DRAWS[draw](generator, operand, dtype), dtype)
            for operand in case
        ]
        ours, theirs, exact = peer.build(dtype), peer.theirs().to(getattr(torch, dtype)), peer.theirs().double()
        for module in (theirs, exact):
            copy_weights(peer, ours, module)
        for module in (ours, theirs, exact):
            module.train(peer.training)
        compare_layers(peer, operands, dtype, ours, theirs, exact, kept)


def compare_layers(peer, operands, dtype, ours, theirs, exact, kept):
    met = run_needle(as_function(ours, Tensor), operands, dtype, kept, transposed=False)
    others = [run_torch(as_function(theirs, torch.Tensor), operands, dtype)]
    others.append(run_torch(as_function(exact, torch.Tensor), operands, "float64"))
    assert (met.names, met.dtypes) == (others[0].names, others[0].dtypes)
    for name, mine, *arrays in zip(met.names, met.arrays, *(other.arrays for other in others)):
        assert_same(name, mine, *arrays, dtype, peer.precision)
    total: dict[str, np.ndarray] = {}  # parameters of ours that are one in PyTorch have parts of its gradient
    for name, parameter in ours.named_parameters():
        name, grad = peer.as_torch(name, parameter.grad.numpy())
        total[name] = total.get(name, 0) + grad
    for name, grad in total.items():
        arrays = [entry_of(module, name)[1].double().numpy() for module in (theirs, exact)]
        assert_same(name, grad, *arrays, dtype, peer.precision)
    for name, buffer in ours.named_buffers():
        name, array = peer.as_torch(name, buffer.numpy())
        arrays = [entry_of(module, name)[0].double().numpy() for module in (theirs, exact)]
        assert_same(name, array, *arrays, dtype, Precision(8, 8))


def as_function(layer, kind):
    """A layer whose state is a pair gets it as one."""

    def function(*inputs):
        paired = re.match("LSTM", type(layer).__name__) and len(inputs) == 3
        return _tensors(layer(inputs[0], inputs[1:]) if paired else layer(*inputs), kind)

    return function


def _tensors(results, kind):
    """Without what is no tensor, such as the state that a Transformer passes on."""
    results = results if isinstance(results, tuple) else (results,)
    return [_tensors(entry, kind) if isinstance(entry, tuple) else entry for entry in results if entry is not None]


def test_every_layer_is_compared():
    assert {peer.layer for peer in LAYERS} == set(nn.__all__) - {"Module", "Parameter"}

"""Every operation of needle.ops beside PyTorch's: values, dtypes and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from torch.nn import functional

from needle import ops
from tests.peers import elementwise_table, op_table
from tests.peers.comparison import EPSILON, FLOATING, compare, rounded, run_needle, run_torch
from tests.peers.draws import specials

ELEMENTWISE = elementwise_table.UNARY + elementwise_table.BINARY + elementwise_table.BESIDE_NUMBERS
SHAPED = [
    *elementwise_table.OTHERS,
    *op_table.REDUCTIONS,
    *op_table.SOFTMAX,
    *op_table.MOVES,
    *op_table.PRODUCTS,
    *op_table.IMAGES,
    *op_table.NORMS,
    *op_table.RECURRENT,
]
CALLS = [(peer, dtype, draw) for peer in ELEMENTWISE + SHAPED for dtype in peer.dtypes for draw in peer.draws]


@pytest.mark.parametrize("peer, dtype, draw", CALLS, ids=lambda value: str(value))
def test_values_and_gradients(peer, dtype, draw):
    peer.check(dtype, draw)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("peer", elementwise_table.UNARY + elementwise_table.BESIDE_NUMBERS, ids=str)
def test_special_values_of_one_operand(peer, dtype):
    values = specials(dtype)
    for operand in (values, np.tile(values, 5)):  # one at a time or in vectors, as kernels may tell apart
        compare(peer.ours, peer.theirs, [operand], dtype, peer.precision)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("peer", elementwise_table.BINARY, ids=str)
def test_special_values_of_two_operands(peer, dtype):
    values = specials(dtype)
    operands = [np.repeat(values, len(values)), np.tile(values, len(values))]
    compare(peer.ours, peer.theirs, operands, dtype, peer.precision)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("p", [0.0, 0.25, 0.5])
def test_dropout(p, dtype):
    """Masks are random. Where PyTorch and Needle keep an element both give the same, and as often."""
    values = rounded(np.linspace(1, 2, 10_000), dtype)
    ours = run_needle(lambda a: ops.dropout(a, p), [values], dtype, kept=False, transposed=False)
    theirs = run_torch(lambda a: functional.dropout(a, p), [values], dtype)
    assert ours.dtypes == theirs.dtypes
    for mine, other in zip(ours.arrays, theirs.arrays):
        both = (mine != 0) & (other != 0)
        np.testing.assert_allclose(mine[both], other[both], rtol=2 * EPSILON[dtype])
        assert abs((mine != 0).mean() - (other != 0).mean()) < 0.03


def test_every_operation_is_compared():
    functions = {name for name in ops.__all__ if name.islower() and getattr(ops, name).__name__ == name}
    assert {peer.op for peer in ELEMENTWISE + SHAPED} | {"dropout"} == functions

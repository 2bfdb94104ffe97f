"""Recurrent layers on the GPU: more rows, units and depth than a block's tiles have."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)

STEPS, ROWS, UNITS = 3, 37, 141  # 4 * 141 units deep are five tiles of float32


def on_both(kernel, dtype, inputs, outputs, *after):
    """The outputs on the CPU and on the GPU, in turn; what is not given of an output is NaN."""
    results = []
    for device in (ndl.cpu(), ndl.cuda()):
        operands = [nd.array(values, dtype, device=device) for values in (*inputs, *outputs)]
        call(device, kernel, *operands, *after)
        results.append([operand.numpy() for operand in operands])
    for expected, actual in zip(*results):
        tolerance = {"float32": 2e-5, "float64": 1e-13}[dtype]
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def numbers(*shape, scale=1.0):
    return np.random.uniform(-scale, scale, shape)


def states(first):
    """Room for the states of all steps, of which only the first is given."""
    return np.concatenate([first[None], np.full((STEPS, *first.shape), np.nan)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("relu", [False, True])
def test_rnn(relu, dtype):
    W_hh = numbers(UNITS, UNITS, scale=0.1)
    inputs = [numbers(STEPS, ROWS, UNITS), W_hh, numbers(UNITS)]
    on_both("rnn", dtype, inputs, [states(numbers(ROWS, UNITS))], relu)
    inputs = [numbers(STEPS, ROWS, UNITS), numbers(STEPS + 1, ROWS, UNITS), W_hh]
    outputs = [np.full((STEPS, ROWS, UNITS), np.nan), np.full((ROWS, UNITS), np.nan)]
    on_both("rnn_backward", dtype, inputs, outputs, relu)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lstm(dtype):
    W_hh = numbers(UNITS, 4 * UNITS, scale=0.1)
    inputs = [numbers(STEPS, ROWS, 4 * UNITS), W_hh, numbers(4 * UNITS)]
    on_both("lstm", dtype, inputs, [states(numbers(ROWS, UNITS)) for _ in ("hidden", "cells")])
    inputs = [
        numbers(STEPS, ROWS, UNITS),
        numbers(ROWS, UNITS),
        numbers(STEPS, ROWS, 4 * UNITS, scale=0.5) + 0.5,
        numbers(STEPS + 1, ROWS, UNITS),
        W_hh,
    ]
    outputs = [np.full(shape, np.nan) for shape in ((STEPS, ROWS, 4 * UNITS), (ROWS, UNITS), (ROWS, UNITS))]
    on_both("lstm_backward", dtype, inputs, outputs)


def test_a_sequence_without_steps_hands_the_gradients_on():
    grad_cell, grad_h0, grad_c0 = (nd.array(numbers(2, 3), "float32", device=ndl.cuda()) for _ in range(3))
    nothing = [nd.empty((0, 2, width), "float32", ndl.cuda()) for width in (3, 12, 12)]
    cells, W_hh = nd.array(numbers(1, 2, 3), "float32", device=ndl.cuda()), ndl.cuda().ones(3, 12)
    call(ndl.cuda(), "lstm_backward", nothing[0], grad_cell, nothing[1], cells, W_hh, nothing[2], grad_h0, grad_c0)
    assert (grad_h0.numpy() == 0).all()
    np.testing.assert_array_equal(grad_c0.numpy(), grad_cell.numpy())

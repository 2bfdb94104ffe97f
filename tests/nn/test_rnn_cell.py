"""Recurrent cells against their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Parameter, Tensor, find_topo_sort
from needle.errors import ShapeError


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def pre_activations(cell: nn.RNNCell | nn.LSTMCell, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    total = x @ cell.W_ih.numpy() + h @ cell.W_hh.numpy()
    return total if cell.bias_ih is None else total + cell.bias_ih.numpy() + cell.bias_hh.numpy()


@pytest.mark.parametrize("cell_type, gates", [(nn.RNNCell, 1), (nn.LSTMCell, 4)])
def test_initial_weights_are_uniform_in_the_order_of_the_attributes(cell_type, gates, device):
    np.random.seed(3)
    cell = cell_type(3, 4, device=device, dtype="float64")
    np.random.seed(3)
    bound = np.sqrt(1 / 4)
    shapes = {"W_ih": (3, gates * 4), "W_hh": (4, gates * 4), "bias_ih": (gates * 4,), "bias_hh": (gates * 4,)}
    assert [name for name, _ in cell.named_parameters()] == list(shapes)
    for name, shape in shapes.items():
        expected = np.random.rand(*shape) * 2 * bound - bound
        np.testing.assert_allclose(getattr(cell, name).numpy(), expected, rtol=1e-12, err_msg=name)


def test_a_cell_without_bias_has_two_parameters(device):
    cell = nn.LSTMCell(3, 4, bias=False, device=device)
    assert [name for name, _ in cell.named_parameters()] == ["W_ih", "W_hh"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_cell(nonlinearity, given, bias, device):
    cell = nn.RNNCell(3, 5, bias, nonlinearity, device=device, dtype="float64")
    x, h = np.random.randn(2, 3), np.random.randn(2, 5) if given else np.zeros((2, 5))
    state = Tensor(h, device=device, dtype="float64") if given else None
    a = pre_activations(cell, x, h)
    expected = np.maximum(a, 0) if nonlinearity == "relu" else np.tanh(a)
    out = cell(Tensor(x, device=device, dtype="float64"), state)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_lstm_cell(given, bias, device):
    cell = nn.LSTMCell(3, 5, bias, device=device, dtype="float64")
    x = np.random.randn(2, 3)
    h, c = (np.random.randn(2, 5) if given else np.zeros((2, 5)) for _ in range(2))
    states = tuple(Tensor(state, device=device, dtype="float64") for state in (h, c)) if given else None
    i, f, g, o = np.split(pre_activations(cell, x, h), 4, axis=1)
    expected_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    expected_h = sigmoid(o) * np.tanh(expected_c)
    new_h, new_c = cell(Tensor(x, device=device, dtype="float64"), states)
    np.testing.assert_allclose(new_h.numpy(), expected_h, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(new_c.numpy(), expected_c, rtol=1e-12, atol=1e-14)


def test_shapes_that_do_not_fit_are_named(device):
    cell = nn.LSTMCell(3, 5, device=device)
    with pytest.raises(ShapeError, match=r"LSTMCell\(input_size=3, hidden_size=5\): an input of shape \(2, 4\)"):
        cell(Tensor(np.zeros((2, 4)), device=device))
    x, good, bad = (Tensor(np.zeros((2, width)), device=device) for width in (3, 5, 6))
    with pytest.raises(ShapeError, match=r"c of shape \(2, 6\): expected \(2, 5\)"):
        cell(x, (good, bad))
    with pytest.raises(ShapeError, match=r"RNNCell.*: h of shape \(2, 6\): expected \(2, 5\)"):
        nn.RNNCell(3, 5, device=device)(x, bad)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="RNNCell: nonlinearity 'sine': expected 'tanh' or 'relu'"):
        nn.RNNCell(3, 5, nonlinearity="sine")
    with pytest.raises(ValueError, match="LSTMCell: hidden_size of 0: expected a whole number of 1 or more"):
        nn.LSTMCell(3, 0)


@pytest.mark.parametrize("cell_type", [nn.RNNCell, nn.LSTMCell])
def test_a_step_is_one_operation_in_one_dtype_and_promotes_in_several(cell_type, device):
    cell = cell_type(3, 4, device=device)
    wide = Tensor(np.random.rand(2, 3), device=device, dtype="float64")
    outputs = [cell(x)[0] if cell_type is nn.LSTMCell else cell(x) for x in (wide, wide.astype("float32"))]
    assert [x.dtype for x in outputs] == ["float64", "float32"]
    np.testing.assert_allclose(outputs[1].numpy(), outputs[0].numpy(), rtol=1e-5)
    nodes = find_topo_sort([outputs[1]])
    assert sum(type(node.op).__name__ in ("RNN", "LSTM") for node in nodes) == 1
    assert not any(type(node.op).__name__ in ("Tanh", "Sigmoid", "MatMul") for node in nodes)
    cell.W_ih = Parameter(cell.W_ih, dtype="float64")
    h = cell(wide.astype("float32"))
    assert (h if cell_type is nn.RNNCell else h[0]).dtype == "float64"

"""Recurrent layers over sequences, which are one operation each, against their cells in small operations."""

from __future__ import annotations

import numpy as np
import pytest

from needle import nn, ops
from needle.autograd import Tensor
from needle.errors import ShapeError

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def by_cells(model: nn.RNN | nn.LSTM, X: Tensor, states: list[Tensor] | None):
    """What the model computes, layer by layer and step by step: outputs, and the last states stacked over layers."""
    is_lstm = isinstance(model, nn.LSTM)
    steps, last = list(ops.split(X)), []
    for layer, cell in enumerate(model.lstm_cells if is_lstm else model.rnn_cells):
        state = None
        if states is not None:
            state = (states[0][layer], states[1][layer]) if is_lstm else states[0][layer]
        outputs = []
        for x in steps:
            state = cell(x, state)
            outputs.append(state[0] if is_lstm else state)
        steps = outputs
        last.append(state if is_lstm else (state,))
    return ops.stack(steps), [ops.stack(list(parts)) for parts in zip(*last)]


def weighted_sum(tensors: list[Tensor]) -> Tensor:
    """A scalar to which every element contributes with a weight of its own."""
    random = np.random.default_rng(5)
    terms = [
        ops.sum(t * Tensor(random.normal(size=t.shape), device=t.device, dtype=t.dtype, requires_grad=False))
        for t in tensors
    ]
    return terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [True, False], ids=["given states", "zeros"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kind", ["lstm", "rnn tanh", "rnn relu"])
def test_a_sequence_is_its_cells_step_by_step(kind, bias, given, dtype, device):
    layers, batch, hidden = 2, 3, 6
    options = {"num_layers": layers, "bias": bias, "device": device, "dtype": dtype}
    model = nn.LSTM(4, hidden, **options) if kind == "lstm" else nn.RNN(4, hidden, nonlinearity=kind[4:], **options)
    X = Tensor(np.random.randn(5, batch, 4), device=device, dtype=dtype)
    count = 2 if kind == "lstm" else 1
    states = None
    if given:
        states = [Tensor(np.random.randn(layers, batch, hidden), device=device, dtype=dtype) for _ in range(count)]
    leaves = [X, *model.parameters(), *(states or [])]

    found = []
    for by_cell in (True, False):
        if by_cell:
            outputs, last = by_cells(model, X, states)
        else:
            outputs, last = model(X, None if states is None else tuple(states) if count == 2 else states[0])
            last = list(last) if count == 2 else [last]
        weighted_sum([outputs, *last]).backward()
        found.append([t.numpy() for t in [outputs, *last]] + [leaf.grad.numpy() for leaf in leaves])
    assert found[1][0].shape == (5, batch, hidden) and found[1][1].shape == (layers, batch, hidden)
    for expected, actual in zip(*found):
        tolerance = TOLERANCE[dtype] * max(1, np.abs(expected).max())
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=tolerance)


def test_the_state_carries_a_sequence_on(device):
    model = nn.LSTM(3, 4, 2, device=device, dtype="float64")
    X = Tensor(np.random.randn(7, 2, 3), device=device, dtype="float64")
    whole, (h, c) = model(X)
    first, state = model(X[:3])
    second, (h_2, c_2) = model(X[3:], state)
    np.testing.assert_allclose(ops.concatenate([first, second], 0).numpy(), whole.numpy(), rtol=1e-12)
    np.testing.assert_allclose(h_2.numpy(), h.numpy(), rtol=1e-12)
    np.testing.assert_allclose(c_2.numpy(), c.numpy(), rtol=1e-12)


def test_states_that_are_not_used_get_no_gradient_and_x_may_need_none(device):
    model = nn.LSTM(3, 4, device=device)
    X = Tensor(np.random.randn(2, 2, 3), device=device, requires_grad=False)
    outputs, (h, c) = model(X)
    outputs.sum().backward()
    assert X.grad is None
    assert all(parameter.grad.shape == parameter.shape for parameter in model.parameters())


def test_inputs_that_are_views(device):
    model = nn.LSTM(3, 4, device=device, dtype="float64")
    X = Tensor(np.random.randn(2, 5, 3), device=device, dtype="float64")
    h, c = (Tensor(np.random.randn(4, 1, 1), device=device, dtype="float64") for _ in range(2))
    views = X.permute((1, 0, 2)), tuple(state.broadcast_to((4, 2, 1)).permute((2, 1, 0)) for state in (h, c))
    copies = (
        Tensor(views[0].numpy(), device=device, dtype="float64"),
        tuple(Tensor(state.numpy(), device=device, dtype="float64") for state in views[1]),
    )
    np.testing.assert_array_equal(model(*views)[0].numpy(), model(*copies)[0].numpy())


def test_dropout_is_between_layers_and_only_in_training(device):
    def model(dropout: float) -> nn.LSTM:
        np.random.seed(0)
        return nn.LSTM(3, 50, 2, dropout=dropout, device=device)

    X = Tensor(np.random.randn(6, 2, 3), device=device)
    dropped, plain = model(0.4), model(0.0)
    first, second = dropped(X), dropped(X)
    assert not np.array_equal(first[0].numpy(), second[0].numpy())
    for states in zip(first[1], second[1], plain(X)[1]):  # the first layer and its input are the same in all three
        np.testing.assert_array_equal(states[0].numpy()[0], states[1].numpy()[0])
        np.testing.assert_array_equal(states[0].numpy()[0], states[2].numpy()[0])
    np.testing.assert_array_equal(dropped.eval()(X)[0].numpy(), plain(X)[0].numpy())


def test_shapes_that_do_not_fit_are_named(device):
    model = nn.LSTM(3, 4, 2, device=device)
    X = Tensor(np.zeros((5, 2, 3)), device=device)
    good, bad = (Tensor(np.zeros((2, 2, width)), device=device) for width in (4, 5))
    with pytest.raises(ShapeError, match=r"num_layers=2\): c0 of shape \(2, 2, 5\): expected \(2, 2, 4\)"):
        model(X, (good, bad))
    with pytest.raises(ShapeError, match=r"RNN.*: h0 of shape \(2, 2, 5\): expected \(1, 2, 4\)"):
        nn.RNN(3, 4, device=device)(X, bad)
    for shape in ((2, 3), (5, 2, 4), (0, 2, 3)):
        with pytest.raises(ShapeError, match=r"an input of shape .*: expected \(T, B, 3\) with T of 1 or more"):
            model(Tensor(np.zeros(shape), device=device))


def test_states_that_are_no_pair_or_no_tensor_are_named(device):
    X, h = (Tensor(np.zeros((2, 2, width)), device=device) for width in (3, 4))
    with pytest.raises(TypeError, match=r"LSTM\(.*: a state that is no pair but Tensor: expected \(h, c\)"):
        nn.LSTM(3, 4, 2, device=device)(X, h)
    with pytest.raises(TypeError, match=r"LSTMCell\(.*: a state that is no pair but Tensor"):
        nn.LSTMCell(3, 4, device=device)(X[0], h[0])
    with pytest.raises(TypeError, match=r"RNN\(.*: h0 is of type tuple: expected a Tensor"):
        nn.RNN(3, 4, 2, device=device)(X, (h, h))


def test_the_operation_names_shapes_that_do_not_fit(device):
    shapes = [(5, 2, 3), (3, 16), (4, 16), (15,), (2, 4), (2, 4)]
    with pytest.raises(ShapeError, match=r"lstm: shapes .*\(15,\).*: expected x \(T, B, I\).*bias \(4H,\)"):
        ops.lstm(*(Tensor(np.zeros(shape), device=device) for shape in shapes))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="LSTM: num_layers of 0: expected a whole number of 1 or more"):
        nn.LSTM(3, 4, 0)
    with pytest.raises(ValueError, match="expected 0 <= p < 1"):
        nn.LSTM(3, 4, dropout=1.0)
    with pytest.raises(ValueError, match="nonlinearity 'sine'"):
        nn.RNN(3, 4, nonlinearity="sine")

"""Old graphs over changed arrays: a gradient is that of the values which the forward pass saw, or an error."""

from __future__ import annotations

import numpy as np
import pytest

import needle as ndl
from needle import nn, ops
from needle.autograd import Parameter
from needle.errors import GradientError, ShapeError


def parameter(device, *values: float) -> Parameter:
    return Parameter(list(values), device=device)


def by_step(w):
    w.grad = ops.ones_like(w)
    ndl.optim.SGD([w], lr=0.5).step()


def by_adam(w):
    w.grad = ops.ones_like(w)
    ndl.optim.Adam([w], lr=0.5).step()


def by_loading(w):
    module = nn.Module()
    module.w = w
    module.load_state_dict({"w": np.full(w.shape, 7.0)})


def by_data(w):
    w.data = ndl.Tensor(np.full(w.shape, 7.0), device=w.device)


def by_operator(w):
    with ndl.no_grad():
        w -= 0.5


def by_writing(w):
    w.cached_data[0] = 7.0


def by_writing_into_a_view(w):
    w.cached_data[:1][...] = 7.0


def by_moving(w):
    module = nn.Module()
    module.w = w
    module.to(dtype="float64")


WAYS = [by_step, by_adam, by_loading, by_data, by_operator, by_writing, by_writing_into_a_view, by_moving]

# Functions of w whose gradient needs w, or their own result, and those that need neither.
NEEDS = {
    "w * w": lambda w: w * w,
    "log": ops.log,
    "views": lambda w: ops.exp(w[:1]) * w[:1],
    "power": lambda w: w**3,
    "maximum": lambda w: ops.maximum(w, 1.0),
    "matmul of views": lambda w: ops.reshape(w, (1, -1)) @ ops.reshape(w, (-1, 1)),
    "layer_norm": lambda w: ops.layer_norm(ops.reshape(w, (1, -1)), w, w),
    "linear of views": lambda w: ops.linear(ops.reshape(w, (1, -1)), ops.reshape(w, (-1, 1)), w[:1]),
    "softmax_cross_entropy of a view": lambda w: ops.softmax_cross_entropy(
        ops.reshape(w, (1, -1)), ndl.Tensor([1], device=w.device)
    ),
}
NEEDS_NOTHING = {
    "w + w": lambda w: w + w,
    "3 w": lambda w: 3 * w,
    "exp": ops.exp,  # only its result
    "sum": ops.sum,
    "relu": ops.relu,
    "where": lambda w: ops.where(ndl.Tensor([True, False, True], device=w.device), w, 0.0),
    "times data": lambda w: w * ndl.Tensor([1.0, 2.0, 3.0], device=w.device, requires_grad=False),
    "through a matrix": lambda w: (
        ops.reshape(w, (1, -1)) @ ndl.Tensor([[1.0], [2.0], [3.0]], device=w.device, requires_grad=False)
    ),
}


def total(function, w):
    return ops.sum(function(w))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NEEDS)
def test_a_needed_array_that_changed_is_an_error(name, way, device):
    """Unless a view keeps the array that was there, when another takes its place: then the gradient is right."""
    for create_graph in (False, True):
        w = parameter(device, 3.0, 1.5, 0.5)
        total(NEEDS[name], w).backward()
        expected = w.grad.numpy()
        loss = total(NEEDS[name], w)
        way(w)
        if way in (by_data, by_moving) and "view" in name:
            loss.backward(create_graph=create_graph)
            np.testing.assert_array_equal(w.grad.numpy(), expected)
        else:
            with pytest.raises(GradientError, match="changed in place"):
                loss.backward(create_graph=create_graph)
        total(NEEDS[name], w).backward()  # a new graph is as good as ever


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NEEDS_NOTHING)
def test_what_is_not_needed_may_change(name, way, device):
    w = parameter(device, 3.0, 1.5, 0.5)
    total(NEEDS_NOTHING[name], w).backward()
    expected = w.grad.numpy()
    loss = total(NEEDS_NOTHING[name], w)
    way(w)
    loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), expected)


def test_the_example_of_two_losses(device):
    w = parameter(device, 3.0)
    optimizer = ndl.optim.SGD([w], lr=1.0)
    a, b = (2 * w).sum(), (w * w).sum()
    a.backward()
    optimizer.step()
    with pytest.raises(GradientError, match=r"operand 0 of EWiseMul, of shape \(1,\)|operand 1 of EWiseMul"):
        b.backward()


def test_a_changed_result_is_an_error_where_the_gradient_needs_it(device):
    w = parameter(device, 3.0)
    for change in (lambda y: setattr(y, "data", ndl.Tensor([1.0], device=device)),
                   lambda y: y.cached_data.__setitem__(0, 1.0)):  # fmt: skip
        y, z = ops.exp(w), w + 1
        change(y)
        change(z)
        with pytest.raises(GradientError, match="the result of Exp"):
            y.backward()
        z.backward()
        assert w.grad.numpy() == [1.0]


def test_a_kept_graph_leads_to_the_leaf_after_other_operands_changed(device):
    w, v = parameter(device, 2.0), parameter(device, 5.0)
    y = ops.exp(w) + v * 1.0
    loss = (y * y).sum()
    by_step(v)
    loss.backward(create_graph=True)
    first = w.grad
    first.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 4 * np.exp(4.0) + 2 * 5 * np.exp(2.0), 1e-5)


def test_running_statistics_may_follow_while_a_graph_waits(device):
    """The batch's own statistics are what its gradient needs; those of an evaluation are the running ones."""
    norm, x = nn.BatchNorm1d(3, device=device), parameter(device, *np.arange(12.0)).reshape((4, 3))
    first = norm(x).sum()
    norm(x * 2)
    first.backward()
    evaluated = norm.eval()(x).sum()
    norm.train()(x)
    with pytest.raises(GradientError, match="changed in place"):
        evaluated.backward()


def test_clipping_changes_gradients_that_another_graph_does_not_need(device):
    w = parameter(device, 3.0, 4.0)
    loss = (w * w).sum()
    loss.backward(create_graph=True)
    kept = (w.grad * w.grad).sum()
    ndl.optim.SGD([w]).clip_grad_norm(1.0)
    kept.backward()
    np.testing.assert_allclose(w.grad.numpy(), [24.0, 32.0])


def test_in_place_operators(device):
    w = parameter(device, 3.0, 4.0)
    other, array = w, w.cached_data
    with ndl.no_grad():
        w -= 0.5 * ops.ones_like(w)
        w *= 2
        w += 1
        w /= 2
        w **= 2
    assert w is other and w.cached_data is array and w.is_leaf() and w.requires_grad
    np.testing.assert_array_equal(w.numpy(), [9.0, 16.0])
    with ndl.no_grad(), pytest.raises(ShapeError, match=r"\+=: a result of shape \(2, 2\)"):
        w += np.ones((2, 2))
    with pytest.raises(GradientError, match=r"-=: of a Parameter: expected it within no_grad"):
        w -= 1.0
    x = ndl.Tensor([1.0], device=device)
    y = x
    y += 1  # recorded: a new tensor, whose gradient goes to x
    y.backward()
    assert x.numpy() == [1.0] and x.grad.numpy() == [1.0]


def test_results_of_recurrent_layers(device):
    """The gradient reads what lies in the result's memory."""
    for layer in (nn.RNN(2, 3, device=device), nn.LSTM(2, 3, device=device)):
        out = layer(ndl.Tensor(np.ones((2, 1, 2)), device=device))[0]
        array = out.realize_cached_data()
        array[array > 0] = 0
        with pytest.raises(GradientError, match="changed in place"):
            out.sum().backward()


def test_an_operation_that_is_called_twice(device):
    """What the gradient needs lies on the result, not on the operation."""
    x, other = (ndl.Tensor(values, device=device) for values in ([[1.0, 2.0, 4.0]], [[9.0, 0.0, 3.0]]))
    vectors = [ndl.Tensor(values, device=device) for values in ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])]
    for op in (ops.LayerNorm(1e-5), ops.BatchNorm(1e-5)):
        inputs = (
            (x, *vectors) if isinstance(op, ops.LayerNorm) else (ops.reshape(x, (3, 1)), vectors[0][:1], vectors[1][:1])
        )
        others = (other, *inputs[1:]) if isinstance(op, ops.LayerNorm) else (ops.reshape(other, (3, 1)), *inputs[1:])
        gradients = []
        for calls in ((inputs,), (inputs, others)):
            out = [op(*call) for call in calls][0]
            gradients.append(ndl.gradients((out * out).sum(), [inputs[0]])[0].numpy())
        np.testing.assert_array_equal(*gradients)


def test_data_that_is_a_broadcast_is_copied(device):
    """Its elements lie in one place, so that a step would write all of them into that."""
    w = parameter(device, 0.0, 0.0, 0.0)
    w.data = ops.broadcast_to(ndl.Tensor([1.0], device=device), (3,))
    w.grad = ndl.Tensor([0.0, 1.0, 2.0], device=device)
    ndl.optim.SGD([w], lr=1.0).step()
    assert w.numpy().tolist() == [1.0, 0.0, -1.0]
    broadcast = ndl.NDArray([0.0], device=device).broadcast_to((3,))
    for index in (slice(None), [0, 1], 0):
        with pytest.raises(ShapeError, match="setitem: .* expected no broadcast"):
            broadcast[index] = 7.0

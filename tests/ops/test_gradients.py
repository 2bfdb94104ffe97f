"""Every operation's gradient, and its gradient's gradient, by finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest

from needle import ops
from needle.autograd import Tensor, gradients
from tests.ops.gradient_cases import CASES, normal
from tests.ops.gradient_check import check_gradients


@pytest.mark.parametrize("name", CASES)
def test_gradient(name, device):
    function, *arrays = CASES[name]
    check_gradients(function, arrays, device)


@pytest.mark.parametrize(
    "function, array",
    [
        (lambda a: ops.linear(a, a, a[0]), normal(3, 3)),
        (lambda a: ops.linear(a, a, ops.reshape(a[:1], 2)), normal(2, 2)),
        (lambda a: ops.layer_norm(a, a[0], a[0]) ** 2, normal(2, 3)),
        (lambda a: ops.rnn(ops.reshape(a, (1, 2, 2)), a, a, a[0], a), normal(2, 2)),
    ],
)
def test_gradient_of_an_operand_that_stands_in_several_places(function, array, device):
    check_gradients(function, [array], device)


def test_gradient_of_one_tensor_as_both_states(device):
    shapes = ((2, 2, 3), (3, 8), (2, 8), (8,), (2, 2))
    arrays = [normal(*shape) for shape in shapes]
    check_gradients(lambda *inputs: sum(map(ops.sum, ops.lstm(*inputs, inputs[-1]))) ** 2, arrays, device)


def test_dropout_gradient_is_its_mask(device):
    x = Tensor(np.ones((50, 20)), device=device)
    out = ops.dropout(x, 0.25)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.numpy())
    assert set(np.unique(out.numpy())) == {np.float32(0), np.float32(1 / 0.75)}


def test_a_bias_that_requires_no_gradient_gets_none(device, monkeypatch):
    x, weight, bias = (Tensor(np.ones(shape), device=device) for shape in ((1, 3, 3, 2), (1, 1, 2, 4), (4,)))
    bias.requires_grad = False
    out, sums = ops.conv(x, weight, 1, 0, bias), []
    monkeypatch.setattr(Tensor, "sum", lambda *args: sums.append(args))
    out.backward(ops.ones_like(out))
    assert weight.grad is not None and bias.grad is None and not sums


def test_add_relu_takes_what_add_takes(device):
    x = Tensor([[-3.0, 1.0]], device=device)
    for other in (1.0, np.float32(1), np.ones((2, 1), np.float32)):
        for out in (ops.add_relu(x, other), ops.add_relu(other, x)):
            np.testing.assert_array_equal(out.numpy(), ops.relu(ops.add(x, other)).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_a_quotient_of_zero_by_the_smallest_number(dtype, device):
    """d(a/b)/db = -(a/b)/b is 0, though 1/b is infinite."""
    smallest = {"float32": 2.0**-149, "float64": 2.0**-1074, "bfloat16": 2.0**-133, "float16": 2.0**-24}[dtype]
    a, b = Tensor([0.0], device=device, dtype=dtype), Tensor([smallest], device=device, dtype=dtype)
    ops.divide(a, b).backward()
    assert b.grad.item() == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_second_derivative_of_gelu_far_from_zero(dtype, device):
    """p(a) (2 - a^2) is 0 where the density p is, though a^2 may be infinite, as of 300 in float16."""
    x = Tensor([-np.inf, -300.0, 0.0, 300.0, 1e20, np.inf], dtype=dtype, device=device)
    (grad,) = gradients(ops.gelu(x).sum(), [x])
    (second,) = gradients(grad.sum(), [x])
    np.testing.assert_allclose(second.numpy().astype("float64"), [0, 0, 2 / np.sqrt(2 * np.pi), 0, 0, 0], rtol=0.01)

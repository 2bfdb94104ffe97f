"""Whether there is a gradient, and of what layout; and other state that a function may find in another form."""

import numpy as np
import pytest

import needle as ndl
from needle import nn
from tests.compiler.scenarios import numbers, refused, same_bits


@same_bits
def test_gradients_that_are_added_up_by_hand(jit, see):
    model = nn.Linear(4, 3)

    def f(x):
        old = [p.grad for p in model.parameters()]
        (model(x) ** 2).mean().backward()
        for p, g in zip(model.parameters(), old):
            if g is not None:
                p.grad = p.grad + g

    f = jit(f)
    for i in range(20):
        if i % 5 == 0:
            model.weight.grad = model.bias.grad = None
        f(numbers(2, 4, seed=i))
        see(model.weight.grad, model.bias.grad)


@same_bits
def test_a_gradient_that_is_reset_more_and_more_rarely(jit, see):
    w = ndl.Parameter(np.ones(3, np.float32))

    def f(x):
        old = w.grad
        (w * x).sum().backward()
        if old is not None:
            w.grad = w.grad + old

    f = jit(f)
    for i in range(12):
        if i in (0, 1, 2, 7):
            w.grad = None
        f(numbers(3, seed=i))
        see(w.grad)


@same_bits
def test_a_branch_on_a_gradient(jit, see):
    w = ndl.Parameter(np.ones(3, np.float32))
    f = jit(lambda x: x * 1 if w.grad is None else x * 2)
    for i in range(12):
        w.grad = numbers(3) if i % 8 < 4 else None
        see(f(numbers(2, seed=i)))


@same_bits
def test_a_branch_on_the_gradient_of_an_argument(jit, see):
    f = jit(lambda w, x: x * 1 if w.grad is None else x * 2)
    for i in range(12):
        w = numbers(3, requires_grad=True)
        w.grad = numbers(3) if i % 8 < 4 else None
        see(f(w, numbers(2, seed=i)))


@same_bits
def test_a_state_of_changing_layouts(jit, see):
    state = numbers(3, 4)
    f = jit(lambda y: state * y)
    for i in range(12):
        state.data = numbers(3, 4, seed=i) if i % 2 else ndl.permute(numbers(4, 3, seed=i), (1, 0))
        see(f(numbers(3, 4, seed=i)))


@refused("with a gradient")
def test_a_new_tensor_that_is_returned_with_its_gradient(jit, see):
    def f(x):
        w = ndl.Tensor(np.ones(3, np.float32), requires_grad=True)
        (w * x).sum().backward(create_graph=False)
        return w, w.grad

    f = jit(f)
    for i in range(4):
        f(numbers(3, seed=i))


def change_entry(trees, x):
    trees["w"] = trees["w"] + x
    return trees


def change_order(trees, x):
    trees["list"][0], trees["list"][1] = trees["list"][1], trees["list"][0]
    return x * 1


def drop(trees, x):
    trees["list"].pop()
    return x * 1


def note(trees, x):
    trees["done"] = True
    return x * 1


@pytest.mark.parametrize("function", [change_entry, change_order, drop, note])
def test_a_list_or_dict_that_is_an_argument_changes(function):
    trees = {"w": numbers(3), "list": [numbers(3), numbers(3, seed=1)]}
    jitted = ndl.jit(function)
    with pytest.raises(ndl.JitError, match="changes a (dict|list) that is an argument.*expected"):
        for i in range(4):
            jitted(trees, numbers(3, seed=i))

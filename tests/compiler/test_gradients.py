"""Gradients: what `grad` holds after a call, of parameters, arguments and Tensors, and gradients of gradients."""

import numpy as np

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import numbers, refused, same_bits


def inputs(count, *shape, **options):
    return [numbers(*shape, seed=i, **options) for i in range(count)]


@same_bits
def test_gradients_are_there_after_a_call(jit, see):
    linear = nn.Linear(3, 2)

    def step(x):
        linear.weight.grad = linear.bias.grad = None
        loss = (linear(x) ** 2).sum()
        loss.backward()
        return loss

    step = jit(step)
    for x in inputs(6, 4, 3):
        see(step(x), linear.weight.grad, linear.bias.grad)


@same_bits
def test_gradients_are_none_after_a_call(jit, see):
    linear = nn.Linear(3, 2)

    def step(x):
        (linear(x) ** 2).sum().backward()
        grad = linear.weight.grad * 2
        linear.weight.grad = linear.bias.grad = None
        return grad

    step = jit(step)
    for x in inputs(6, 4, 3):
        see(step(x), linear.weight.grad, linear.bias.grad)


@same_bits
def test_gradients_accumulate(jit, see):
    linear = nn.Linear(3, 2)
    step = jit(lambda x: (linear(x) ** 2).sum().backward())
    for i, x in enumerate(inputs(14, 4, 3)):
        if i % 7 == 0:
            linear.weight.grad = linear.bias.grad = None
        step(x)
        see(linear.weight.grad, linear.bias.grad)


@same_bits
def test_gradients_are_reset_outside_at_first_and_accumulate_later(jit, see):
    linear = nn.Linear(3, 2)
    step = jit(lambda x: (linear(x) ** 2).sum().backward())
    for i, x in enumerate(inputs(10, 4, 3)):
        if i < 5:
            linear.weight.grad = linear.bias.grad = None
        step(x)
        see(linear.weight.grad, linear.bias.grad)


@same_bits
def test_accumulation_and_steps_alternate(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.Adam(linear.parameters(), lr=0.01)
    add, update = jit(lambda x: (linear(x) ** 2).sum().backward()), jit(optimizer.step)
    for i, x in enumerate(inputs(16, 4, 3)):
        if i % 2 == 0:
            optimizer.reset_grad()
        add(x)
        if i % 2:
            update()
        see(linear.parameters(), linear.weight.grad)


@same_bits
def test_accumulation_inside(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.SGD(linear.parameters(), lr=0.1, momentum=0.9)

    def step(batches):
        optimizer.reset_grad()
        for x in batches:
            ((linear(x) ** 2).sum() / len(batches)).backward()
        optimizer.clip_grad_norm(0.5)
        optimizer.step()

    step = jit(step)
    for i in range(12):
        step(inputs(2 + i % 2, 4, 3))
        see(linear.parameters(), linear.weight.grad)


@same_bits
def test_clip_grad_norm_returns_the_norm(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.SGD(linear.parameters(), lr=0.1)

    def step(x):
        optimizer.reset_grad()
        (linear(x) ** 2).sum().backward()
        norm = optimizer.clip_grad_norm(0.01)
        optimizer.step()
        return norm

    step = jit(step)
    for x in inputs(6, 4, 3):
        see(step(x), linear.parameters())


@same_bits
def test_gradients_of_arguments(jit, see):
    f = jit(lambda x: (x**2).sum().backward())
    for x in inputs(7, 3, requires_grad=True):
        f(x)
        see(x.grad)


@same_bits
def test_gradients_of_one_argument_in_every_call(jit, see):
    f, x = jit(lambda x: (x**2).sum().backward()), numbers(3, requires_grad=True)
    for i in range(7):
        f(x)
        see(x.grad)
        if i % 2:
            x.grad = None


@same_bits
def test_gradients_of_arguments_of_which_some_have_one(jit, see):
    f = jit(lambda x: (x**2).sum().backward())
    for i, x in enumerate(inputs(12, 3, requires_grad=True)):
        if i >= 6:
            x.grad = numbers(3, seed=99)
        f(x)
        see(x.grad)


@same_bits
def test_gradients_of_arguments_and_parameters(jit, see):
    linear = nn.Linear(3, 2)

    def f(x):
        linear.weight.grad = None
        (linear(x) ** 2).sum().backward()

    f = jit(f)
    for x in inputs(7, 4, 3, requires_grad=True):
        linear.bias.grad = None
        f(x)
        see(x.grad, linear.weight.grad, linear.bias.grad)


@same_bits
def test_gradients_that_are_returned(jit, see):
    def f(x):
        y = x.detach() * 1
        y.requires_grad = True
        (y**3).sum().backward()
        return y.grad

    f = jit(f)
    for x in inputs(6, 3):
        see(f(x))


@same_bits
def test_gradients_of_gradients(jit, see):
    w = ndl.Parameter(numbers(3))

    def f(x):
        w.grad = None
        y = x.detach()
        y.requires_grad = True
        (y**3 * w).sum().backward(create_graph=True)
        penalty = (y.grad**2).sum()
        w.grad = None
        penalty.backward()
        return penalty

    f = jit(f)
    for x in inputs(7, 3):
        see(f(x), w.grad)


@same_bits
def test_a_gradient_of_another_dtype_or_layout(jit, see):
    w = ndl.Parameter(numbers(3, 3))

    def f(x):
        w.grad = None
        ((w.transpose() @ x).astype("float64") ** 2).sum().backward()

    f = jit(f)
    for x in inputs(6, 3, 3):
        f(x)
        see(w.grad)


@same_bits
def test_a_gradient_is_set_by_hand(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.SGD(linear.parameters(), lr=0.1)

    def step(x):
        linear.weight.grad = x
        linear.bias.grad = ndl.Tensor([[1.0, 2.0]])
        optimizer.step()

    step = jit(step)
    for x in inputs(6, 3, 2):
        step(x)
        see(linear.parameters(), linear.weight.grad)


@same_bits
def test_gradients_change_between_backward_and_step(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.SGD(linear.parameters(), lr=0.1)

    def backward(x):
        optimizer.reset_grad()
        (linear(x) ** 2).sum().backward()

    backward, step = jit(backward), jit(optimizer.step)
    for i, x in enumerate(inputs(8, 4, 3)):
        backward(x)
        linear.weight.grad = linear.weight.grad * float(i)
        if i == 6:
            linear.bias.grad = None
        step()
        see(linear.parameters())


@refused("requires_grad was True and is False")
def test_requires_grad_changes_inside(jit, see):
    linear = nn.Linear(3, 2)

    def step(x):
        linear.weight.requires_grad = False
        linear.bias.grad = linear.weight.grad = None
        (linear(x) ** 2).sum().backward()

    step = jit(step)
    for x in inputs(8, 4, 3):
        linear.weight.requires_grad = True
        step(x)
        see(linear.weight.requires_grad, linear.weight.grad, linear.bias.grad)


@refused("no argument|kept by something")
def test_a_graph_that_was_made_outside(jit, see):
    w = numbers(3, requires_grad=True)
    f = jit(lambda y: (y**2).sum().backward())
    for x in inputs(6, 3):
        f(w * x)
        see(w.grad)
        w.grad = None


@same_bits
def test_two_optimizers(jit, see):
    first, second = nn.Linear(3, 3), nn.Linear(3, 2)
    optimizers = [optim.SGD(first.parameters(), lr=0.1), optim.Adam(second.parameters(), lr=0.01)]

    def step(x):
        for optimizer in optimizers:
            optimizer.reset_grad()
        (second(first(x)) ** 2).sum().backward()
        for optimizer in optimizers:
            optimizer.step()

    step = jit(step)
    for i, x in enumerate(inputs(8, 4, 3)):
        optimizers[1].lr = 0.01 * i
        step(x)
        see(first.parameters(), second.parameters())


@same_bits
def test_numpy_gradients_are_held(jit, see):
    linear = nn.Linear(3, 2)

    def step(x):
        linear.weight.grad = linear.bias.grad = None
        (linear(x) ** 2).sum().backward()

    step = jit(step)
    views = []
    for x in inputs(6, 4, 3):
        step(x)
        views.append(np.asarray(linear.weight.grad.cached_data))
    see(views)

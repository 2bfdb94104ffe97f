"""autocast and GradScaler: casts, the scale, steps that are skipped."""

import pytest

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import numbers, refused, same_bits


def inputs(count, *shape):
    return [numbers(*shape, seed=i) for i in range(count)]


@same_bits
def test_autocast_outside(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i, x in enumerate(inputs(20, 4, 3)):
        with ndl.autocast("bfloat16" if i % 4 < 2 else "float16", enabled=i % 2 == 0):
            see(f(x))


@same_bits
def test_autocast_inside(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.SGD(linear.parameters(), lr=0.1)

    def step(x):
        optimizer.reset_grad()
        with ndl.autocast("bfloat16"):
            loss = (linear(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step = jit(step)
    for x in inputs(7, 4, 3):
        see(step(x), linear.parameters())


@same_bits
def test_a_cast_that_was_made_outside_is_not_used_inside(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    with ndl.autocast("bfloat16"):
        for i, x in enumerate(inputs(9, 4, 3)):
            see(linear(x), f(x))
            linear.weight.data = numbers(3, 2, seed=i)


@same_bits
def test_no_grad_inside_and_autocast_as_a_decorator(jit, see):
    linear = nn.Linear(3, 2)

    @ndl.autocast("bfloat16")
    def f(x):
        with ndl.no_grad():
            y = linear(x)
        return y, linear(x)

    f = jit(f)
    for x in inputs(6, 4, 3):
        see(f(x))


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("unscale", [False, True])
def test_a_scaler(optimizer, unscale):
    @same_bits
    def scenario(jit, see):
        linear = nn.Linear(3, 2)
        sgd = optimizer(linear.parameters(), lr=0.01)
        scaler = ndl.amp.GradScaler(init_scale=2.0**8, growth_interval=3)

        def step(x):
            sgd.reset_grad()
            with ndl.autocast("float16"):
                loss = (linear(x) ** 2).mean()
            scaler.scale(loss).backward()
            if unscale:
                scaler.unscale_(sgd)
                sgd.clip_grad_norm(1.0)
            scaler.step(sgd)
            scaler.update()
            return loss

        step = jit(step)
        for i, x in enumerate(inputs(16, 4, 3)):
            see(step(x * 1e5 if i in (1, 6, 7, 11) else x), linear.parameters(), scaler.get_scale(), sgd.steps)

    scenario()


@same_bits
def test_a_scaler_whose_scale_is_loaded_between_calls(jit, see):
    linear = nn.Linear(3, 2)
    sgd = optim.SGD(linear.parameters(), lr=0.01)
    scaler = ndl.amp.GradScaler(init_scale=2.0**8, growth_interval=2)

    def step(x):
        sgd.reset_grad()
        scaler.scale((linear(x) ** 2).mean()).backward()
        scaler.step(sgd)
        scaler.update()

    step, start = jit(step), scaler.state_dict()
    for i, x in enumerate(inputs(9, 4, 3)):
        if i == 6:
            scaler.load_state_dict(start)
        step(x)
        see(linear.parameters(), scaler.get_scale(), scaler.state_dict())


@same_bits
def test_a_scaler_that_is_not_enabled(jit, see):
    linear = nn.Linear(3, 2)
    sgd, scaler = optim.SGD(linear.parameters(), lr=0.01), ndl.amp.GradScaler(enabled=False)

    def step(x):
        sgd.reset_grad()
        scaler.scale((linear(x) ** 2).mean()).backward()
        scaler.step(sgd)
        scaler.update()
        return scaler.get_scale()

    step = jit(step)
    for x in inputs(6, 4, 3):
        see(step(x), linear.parameters())


@same_bits
def test_a_scaler_whose_growth_changes(jit, see):
    linear = nn.Linear(3, 2)
    sgd = optim.SGD(linear.parameters(), lr=0.01)
    scaler = ndl.amp.GradScaler(init_scale=2.0**8, growth_interval=2)

    def step(x):
        sgd.reset_grad()
        scaler.scale((linear(x) ** 2).mean()).backward()
        scaler.step(sgd)
        scaler.update()

    step = jit(step)
    for i, x in enumerate(inputs(12, 4, 3)):
        scaler.growth_factor = 2.0 if i < 6 else 4.0
        step(x)
        see(linear.parameters(), scaler.get_scale())


@same_bits
def test_two_optimizers_and_one_scaler(jit, see):
    first, second = nn.Linear(3, 3), nn.Linear(3, 2)
    optimizers = [optim.Adam(first.parameters(), lr=0.01), optim.SGD(second.parameters(), lr=0.1)]
    scaler = ndl.amp.GradScaler(init_scale=2.0**8, growth_interval=3)

    def step(x):
        for optimizer in optimizers:
            optimizer.reset_grad()
        with ndl.autocast("float16"):
            loss = (second(first(x)) ** 2).mean()
        scaler.scale(loss).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        return loss

    step = jit(step)
    for i, x in enumerate(inputs(10, 4, 3)):
        see(step(x * 1e5 if i in (1, 6) else x), first.parameters(), second.parameters(), scaler.get_scale())


@refused("depends on results of this very call")
def test_two_steps_of_a_scaler_in_one_call(jit, see):
    linear = nn.Linear(3, 2)
    sgd = optim.SGD(linear.parameters(), lr=0.01)
    scaler = ndl.amp.GradScaler(init_scale=2.0**8, growth_interval=2)

    def steps(x):
        for _ in range(2):
            sgd.reset_grad()
            scaler.scale((linear(x) ** 2).mean()).backward()
            scaler.step(sgd)
            scaler.update()

    steps = jit(steps)
    for x in inputs(6, 4, 3):
        steps(x)
        see(linear.parameters())


@same_bits
def test_accumulation_with_a_scaler(jit, see):
    linear = nn.Linear(3, 2)
    sgd = optim.SGD(linear.parameters(), lr=0.01)
    scaler = ndl.amp.GradScaler(init_scale=2.0**8, growth_interval=2)

    def backward(x):
        with ndl.autocast("float16"):
            loss = (linear(x) ** 2).mean()
        scaler.scale(loss).backward()

    def step():
        scaler.step(sgd)
        scaler.update()
        sgd.reset_grad()

    backward, step = jit(backward), jit(step)
    for i, x in enumerate(inputs(18, 4, 3)):
        backward(x * 1e5 if i == 7 else x)
        if i % 3 == 2:
            step()
        see(linear.parameters(), linear.weight.grad, scaler.get_scale())

"""Programs of whole models, and of assignments to Tensors in every order: the same bits and the same sharing of memory."""

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import numbers, same_bits


def labels(*values):
    return ndl.Tensor(np.array(values), requires_grad=False)


@same_bits
def test_a_convolutional_network(jit, see):
    layers = nn.Conv(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    model, loss_function = nn.Sequential(*layers), nn.SoftmaxLoss()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.reset_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = jit(step)
    for i in range(6):
        see(step(numbers(2, 3, 8, 8, seed=i), labels(i % 3, 1)), model.state_dict())


@same_bits
def test_a_recurrent_network_with_its_state(jit, see):
    model = nn.LSTM(3, 4, num_layers=2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, h, c):
        optimizer.reset_grad()
        y, (h, c) = model(x, (h, c))
        (y**2).sum().backward()
        optimizer.clip_grad_norm(0.1)
        optimizer.step()
        return h.detach(), c.detach()

    step, h, c = jit(step), ndl.zeros_like(numbers(2, 2, 4)), ndl.zeros_like(numbers(2, 2, 4))
    for i in range(7):
        h, c = step(numbers(5, 2, 3, seed=i), h, c)
        see(h, c, model.state_dict())


@same_bits
def test_an_embedding(jit, see):
    model = nn.Embedding(5, 3)
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    def step(indices):
        optimizer.reset_grad()
        (model(indices) ** 2).sum().backward()
        optimizer.step()

    step = jit(step)
    for i in range(6):
        step(labels([i % 5, 1], [2, i % 3]))
        see(model.state_dict())


@same_bits
def test_two_models_and_one_optimizer(jit, see):
    models = nn.Linear(3, 3), nn.Linear(3, 3)
    optimizer = optim.Adam([p for model in models for p in model.parameters()], lr=0.01)

    def step(model, x):
        optimizer.reset_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()

    step = jit(step)
    for i in range(14):
        step(models[i % 2 if i < 8 else 0], numbers(4, 3, seed=i))
        see([model.state_dict() for model in models], optimizer.steps)


@same_bits
def test_an_adversarial_pair_of_steps(jit, see):
    generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
    optimizers = [optim.Adam(model.parameters(), lr=0.05) for model in (generator, critic)]

    def step(noise, real):
        fake = generator(noise)
        optimizers[1].reset_grad()
        (critic(fake.detach()).mean() - critic(real).mean()).backward()
        optimizers[1].step()
        optimizers[0].reset_grad()
        (-critic(fake).mean()).backward()
        optimizers[0].step()
        for weight in critic.parameters():
            weight.data = ndl.minimum(ndl.maximum(weight.data, -0.1), 0.1)

    step = jit(step)
    for i in range(7):
        step(numbers(4, 2, seed=i), numbers(4, 3, seed=i + 50))
        see(generator.state_dict(), critic.state_dict(), [p.grad for p in critic.parameters()])


@same_bits
def test_data_becomes_an_argument(jit, see):
    buffer = numbers(3)

    def f(x):
        buffer.data = x

    f = jit(f)
    for i in range(6):
        x = numbers(3, seed=i)
        f(x)
        x.cached_data[...] = 5.0
        see(buffer, x)


@same_bits
def test_two_tensors_exchange_their_data(jit, see):
    a, b = numbers(3, seed=1), numbers(3, seed=2)

    def f():
        a.data, b.data = b.detach(), a.detach()

    f = jit(f)
    for _ in range(8):
        f()
        see(a, b)


@same_bits
def test_data_and_gradient_are_exchanged(jit, see):
    w = ndl.Parameter(numbers(3))
    w.grad = numbers(3, seed=3)

    def f():
        w.data, w.grad = w.grad.detach(), w.detach()

    f = jit(f)
    for _ in range(8):
        f()
        see(w, w.grad)


@same_bits
def test_a_step_by_hand(jit, see):
    w = ndl.Parameter(numbers(3))

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        w.data = w.detach() - w.grad * 0.1

    f = jit(f)
    for i in range(8):
        f(numbers(3, seed=i))
        see(w, w.grad)


@same_bits
def test_gradients_of_two_parameters_share_memory_as_without(jit, see):
    a, b = ndl.Parameter(numbers(3)), ndl.Parameter(numbers(3, seed=1))

    def f(x):
        a.grad = b.grad = None
        (a + b + x).sum().backward()

    f = jit(f)
    for i in range(8):
        f(numbers(3, seed=i))
        a.grad.cached_data[...] = float(i)
        see(a.grad, b.grad)


@pytest.mark.parametrize("in_place", [False, True])
def test_earlier_data_of_a_parameter_is_held(in_place):
    @same_bits
    def scenario(jit, see):
        w, held = ndl.Parameter(numbers(3)), []

        def f(x):
            if in_place:
                w.cached_data[...] = (w.detach() * 2 + x).cached_data
            else:
                w.data = w.detach() * 2 + x

        f = jit(f)
        for i in range(8):
            held.append(w.detach())
            f(numbers(3, seed=i))
            see(held)

    scenario()


@same_bits
def test_a_cache_is_written_at_a_place_that_is_an_argument(jit, see):
    cache = ndl.Tensor(np.zeros((8, 3), np.float32), requires_grad=False)

    def f(x, place):
        cache.cached_data[place] = x.cached_data
        return cache[:4].sum(0)

    f = jit(f)
    for i in range(12):
        see(f(numbers(3, seed=i), i % 3), cache)


@same_bits
def test_a_layer_is_built_in_the_first_call(jit, see):
    layers = {}

    def f(x):
        if "linear" not in layers:
            layers["linear"] = nn.Linear(3, 2)
        return layers["linear"](x)

    f = jit(f)
    for i in range(8):
        see(f(numbers(4, 3, seed=i)))


@same_bits
def test_masks_are_kept_by_size(jit, see):
    masks = {}

    def mask(n):
        if n not in masks:
            masks[n] = ndl.Tensor(np.tril(np.ones((n, n), np.float32)), requires_grad=False)
        return masks[n]

    f = jit(lambda x: x * mask(len(x)))
    for i in range(18):
        see(f(numbers(2 + i % 3, 2 + i % 3, seed=i)))


@same_bits
def test_an_exception_is_caught_inside(jit, see):
    def f(x, y):
        try:
            return x + y
        except ndl.ShapeError:
            return x

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i), numbers(2 + i % 2, seed=i)))


@same_bits
def test_arrays_without_elements(jit, see):
    f = jit(lambda x: (x.sum(0), x * 2, ndl.concatenate([x, x], 0), x.reshape(3, 0)))
    for _ in range(6):
        see(f(numbers(0, 3)))


@same_bits
def test_many_temporaries_share_memory(jit, see):
    f = jit(lambda x: sum((x * k) @ (x + k) for k in range(1, 30)))
    for i in range(6):
        see(f(numbers(5, 5, seed=i)))


@same_bits
def test_numbers_of_the_generator_inside(jit, see):
    generator = ndl.backend_ndarray.random
    make = ndl.Tensor.make_const
    f = jit(lambda x: x + make(generator.normal((3,))) + make(generator.uniform((3,))))
    for i in range(6):
        see(f(numbers(3, seed=i)))

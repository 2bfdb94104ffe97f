"""Modes and settings that change between calls: training, rates, threads, precision."""

import numpy as np
import pytest
import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import numbers, refused, same_bits


class MyDropout(nn.Dropout):
    pass


class MyNorm(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x) * 2


class MySGD(optim.SGD):
    pass


def inputs(count, *shape):
    return [numbers(*shape, seed=i) for i in range(count)]


@pytest.mark.parametrize("layer", [nn.Dropout, nn.BatchNorm1d, MyDropout, MyNorm])
def test_train_and_eval_within_a_sequential(layer):
    check_modes(layer, alone=False)


@pytest.mark.parametrize("layer", [nn.Dropout, nn.BatchNorm1d])
def test_train_and_eval(layer):
    check_modes(layer, alone=True)


@pytest.mark.parametrize("layer", [MyDropout, MyNorm])
def test_train_and_eval_of_a_subclass(layer):
    check_modes(layer, alone=True)


def check_modes(layer, alone):
    @same_bits
    def scenario(jit, see):
        model = layer(4) if issubclass(layer, nn.BatchNorm1d) else layer(0.5)
        model = model if alone else nn.Sequential(nn.Linear(4, 4), model)
        f = jit(lambda x: model(x))
        for i, x in enumerate(inputs(20, 5, 4)):
            if i % 5 == 0:
                model.train(i % 2 == 0)
            see(f(x), model.state_dict())

    scenario()


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout, MyDropout],
)
def test_the_rate_of_dropout_changes(layer):
    @same_bits
    def scenario(jit, see):
        dropout = layer(0.5)
        f = jit(lambda x: dropout(x))
        for i, x in enumerate(inputs(10, 5, 4)):
            dropout.p = 0.5 if i < 5 else 0.1
            see(f(x))

    scenario()


@pytest.mark.parametrize(
    "optimizer",
    [optim.SGD, MySGD],
)
def test_the_momentum_of_an_optimizer_changes(optimizer):
    @same_bits
    def scenario(jit, see):
        w = ndl.Parameter(np.ones(3, np.float32))
        sgd = optimizer([w], lr=0.1, momentum=0.5)

        def step(x):
            sgd.reset_grad()
            (w * x).sum().backward()
            sgd.step()

        step = jit(step)
        for i, x in enumerate(inputs(10, 3)):
            sgd.momentum = 0.5 if i < 5 else 0.9
            step(x)
            see(w)

    scenario()


@same_bits
def test_evaluation_between_steps(jit, see):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.reset_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    def evaluate(x):
        with ndl.no_grad():
            return model(x)

    step, evaluate = jit(step), jit(evaluate)
    for x in inputs(8, 4, 3):
        model.train()
        see(step(x))
        model.eval()
        see(evaluate(x), model.state_dict())


@refused("training was False and is True")
def test_the_mode_is_set_inside(jit, see):
    model = nn.Dropout(0.5)

    def train(x):
        model.train()
        return model(x)

    def evaluate(x):
        model.eval()
        return model(x)

    train, evaluate = jit(train), jit(evaluate)
    for x in inputs(8, 4, 3):
        see(train(x), model.training, evaluate(x), model.training)


@same_bits
def test_the_number_of_threads_changes(jit, see):
    before = ndl.get_num_threads()
    linear = nn.Linear(64, 64)
    f = jit(lambda x: linear(x).sum())
    try:
        for i, x in enumerate(inputs(8, 256, 64)):
            ndl.set_num_threads(1 if i < 5 else 2)
            see(f(x))
    finally:
        ndl.set_num_threads(before)


@same_bits
def test_the_precision_of_matrix_products_changes(jit, see):
    before = ndl.get_float32_matmul_precision()
    linear = nn.Linear(64, 64)
    f = jit(lambda x: linear(x))
    try:
        for i, x in enumerate(inputs(9, 64, 64)):
            ndl.set_float32_matmul_precision("highest" if i < 5 else "high")
            see(f(x))
    finally:
        ndl.set_float32_matmul_precision(before)

"""Arithmetic with live numbers, and where else a learning rate or a loss scale may go inside a function."""

import collections
import functools

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import numbers, refused, same_bits


class Log:
    """An object with an attribute that code sets."""


def rates(f, optimizer, see, count=8):
    """Sees results of calls at other learning rates."""
    for i in range(count):
        optimizer.lr = 0.1 * (i + 1)
        see(f(numbers(3, seed=i)))


def an_optimizer():
    return optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1)


@same_bits
def test_operators(jit, see):
    sgd = an_optimizer()
    f = jit(
        lambda x: (x * sgd.lr, x + sgd.lr * 2, x - 1 / sgd.lr, x * 2**sgd.lr, -sgd.lr * x, abs(sgd.lr) / x, x**sgd.lr)
    )
    rates(f, sgd, see)


@same_bits
def test_the_rate_after_a_schedule_in_the_same_call(jit, see):
    sgd = an_optimizer()
    schedule = optim.StepLR(sgd, 2, 0.5)

    def f(x):
        schedule.step()
        return x * sgd.lr

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i)), schedule.last_step)


@same_bits
def test_a_tensor_is_filled_with_the_rate(jit, see):
    sgd = an_optimizer()
    rates(jit(lambda x: x + ndl.init.constant(3, c=sgd.lr)), sgd, see)


@same_bits
def test_the_greater_of_a_tensor_and_the_rate(jit, see):
    sgd = an_optimizer()
    rates(jit(lambda x: (ndl.maximum(x, sgd.lr), ndl.minimum(sgd.lr, x))), sgd, see)


@same_bits
def test_integers_times_the_rate(jit, see):
    sgd = an_optimizer()
    f = jit(lambda x: x.astype("int32") * sgd.lr)
    for i in range(8):
        sgd.lr = [0.1, 1.0, 2.0, 0.5][i % 4]
        see(f(numbers(3, seed=i)))


@refused("may change from call to call")
def test_a_tensor_of_a_list_with_the_rate(jit, see):
    sgd = an_optimizer()
    rates(jit(lambda x: x * ndl.Tensor([sgd.lr, 2.0, 3.0])), sgd, see)


USES = {
    "min of Python": lambda x, rate: x * min(rate, 0.3),
    "comparison with a Tensor": lambda x, rate: x > rate,
    "a number of NumPy": lambda x, rate: x * np.float32(rate),
    "int": lambda x, rate: x * int(rate),
    "round": lambda x, rate: x * round(rate, 1),
    "if": lambda x, rate: x * 2 if rate else x,
    "a key of a dict": lambda x, rate: x * {0.1: 2.0}.get(rate, 3.0),
}


@pytest.mark.parametrize("use", [name for name in USES if name != "a key of a dict"])
def test_uses_of_the_value_as_it_is_now(use):
    @refused("may change from call to call", line_of=USES[use])
    def scenario(jit, see):
        sgd = an_optimizer()
        rates(jit(lambda x: USES[use](x, sgd.lr)), sgd, see)

    scenario()


def test_the_rate_as_a_key():
    @refused("may change from call to call", line_of=USES["a key of a dict"])
    def scenario(jit, see):
        sgd = an_optimizer()
        rates(jit(lambda x: USES["a key of a dict"](x, sgd.lr)), sgd, see)

    scenario()


@pytest.mark.parametrize("text", [str, repr, "{:}".format, "%s".__mod__], ids=["str", "repr", "format", "percent"])
def test_the_rate_as_text(text):
    @refused("may change from call to call")
    def scenario(jit, see):
        sgd = an_optimizer()
        rates(jit(lambda x: (x * 2, text(sgd.lr))), sgd, see)

    scenario()


@pytest.mark.parametrize(
    "store", [dict.update, lambda log, rate: log.setdefault("rates", []).append(rate)], ids=["dict", "list"]
)
def test_the_rate_is_stored(store):
    @refused("kept by something|changes what it depends on")
    def scenario(jit, see):
        sgd, log = an_optimizer(), {}

        def f(x):
            store(log, {"rate": sgd.lr} if store is dict.update else sgd.lr)
            return x * 2

        f = jit(f)
        for i in range(6):
            f(numbers(3, seed=i))
            see(float(np.sum(log.get("rate", log.get("rates")))))

    scenario()


@refused("kept by something|changes what it depends on")
def test_the_scale_is_stored_in_an_attribute(jit, see):
    scaler, log = ndl.amp.GradScaler(), Log()

    def f(x):
        log.scale = scaler.get_scale()
        return x * 2

    f = jit(f)
    for i in range(6):
        f(numbers(3, seed=i))
        see(float(log.scale))


@refused("kept by something")
def test_a_number_that_was_computed_from_the_rate_is_hidden_deep(jit, see):
    sgd, log = an_optimizer(), collections.deque()

    def f(x):
        log.append((x.shape, [1 - 2 * sgd.lr]))
        return x * 2

    rates(jit(f), sgd, see)


@same_bits
def test_the_rate_is_stored_for_a_while(jit, see):
    sgd, log = an_optimizer(), Log()
    log.rate = 0.0

    def f(x):
        log.rate = sgd.lr
        y = x * log.rate
        log.rate = 0.0
        return y

    rates(jit(f), sgd, see)


@refused("may change from call to call")
def test_an_array_of_numpy_times_the_rate(jit, see):
    sgd, ones = an_optimizer(), np.ones(3, np.float32)
    rates(jit(lambda x: x * ndl.Tensor(ones * sgd.lr)), sgd, see)


@refused("in the next")
def test_the_steps_of_an_optimizer_are_returned(jit, see):
    model = nn.Linear(3, 2)
    adam = optim.Adam(model.parameters(), lr=0.1)

    def f(x):
        adam.reset_grad()
        (model(x) ** 2).sum().backward()
        adam.step()
        return adam.steps

    f = jit(f)
    for i in range(6):
        see(f(numbers(4, 3, seed=i)))


@same_bits
def test_a_partial_of_a_rate(jit, see):
    sgd = an_optimizer()
    scaled = functools.partial(lambda k, x: x * k * sgd.lr, 2.0)
    rates(jit(lambda x: scaled(x)), sgd, see)

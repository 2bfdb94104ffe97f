"""The object that `jit` returns: as a module, in other modules, in other jitted functions, copied, switched off."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import bits, numbers, refused, same_bits

SCALE = 2.0


@same_bits
def test_a_jitted_module(jit, see):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    f = jit(model)
    for i in range(16):
        f.train(i % 8 < 4)
        see(f(numbers(4, 3, seed=i)), model.training, f.training, f.state_dict())


@same_bits
def test_an_attribute_of_a_jitted_module_is_set(jit, see):
    f = jit(nn.Dropout(0.5))
    for i in range(12):
        f.training = i % 2 == 0
        f.p = 0.5 if i < 6 else 0.1
        see(f(numbers(4, 3, seed=i)))


@same_bits
def test_a_parameter_of_a_jitted_module_is_replaced(jit, see):
    f = jit(nn.Linear(3, 2))
    for i in range(10):
        if i == 5:
            f.weight = ndl.Parameter(numbers(3, 2, seed=8))
        see(f(numbers(4, 3, seed=i)))


@same_bits
def test_a_jitted_module_within_a_module(jit, see):
    model = nn.Sequential(jit(nn.Linear(3, 3)), nn.Linear(3, 2))
    see(len(model.parameters()))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for i in range(6):
        optimizer.reset_grad()
        with ndl.no_grad():
            see(model(numbers(4, 3, seed=i)))
        model.eval()
        see(model.state_dict())


@same_bits
def test_a_jitted_module_within_a_jitted_function(jit, see):
    model = jit(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)))
    f = jit(lambda x: model(x) * 2)
    for i in range(16):
        model.train(i % 8 < 4)
        see(f(numbers(4, 3, seed=i)))


@same_bits
def test_a_jitted_function_within_a_jitted_function(jit, see):
    scale = 2.0

    def inner(x):
        return x * scale * SCALE

    inner = jit(inner)
    outer = jit(lambda x: inner(x) + 1)
    for i in range(15):
        scale = 2.0 if i < 5 else 3.0
        globals()["SCALE"] = 2.0 if i < 10 else 3.0
        see(outer(numbers(3, seed=i)))


@same_bits
def test_a_function_that_calls_itself(jit, see):
    def f(x, depth):
        return x if depth == 0 else f(x * 2, depth - 1) + 1

    f = jit(f)
    for i in range(8):
        see(f(numbers(3, seed=i), 2 + i % 2))


@same_bits
def test_a_jitted_function_twice(jit, see):
    f = jit(jit(lambda x: x * 2))
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_a_jitted_function_as_an_argument(jit, see):
    inner, f = jit(lambda x: x * 2), jit(lambda g, x: g(x) + 1)
    for i in range(6):
        see(f(inner, numbers(3, seed=i)))


def test_check_compares_every_call():
    """`check=True` finds what the walk over Python's values may overlook: here an attribute in a slot."""

    class Hidden:
        __slots__ = ("scale",)

    hidden = Hidden()
    hidden.scale = 2.0
    f = ndl.jit(lambda x: x * hidden.scale, check=True)
    for i in range(4):
        f(numbers(3, seed=i))
    hidden.scale = 3.0
    try:
        result = f(numbers(3))
    except ndl.JitError:
        return
    assert bits(result) == bits(numbers(3) * 3.0)


def test_off(monkeypatch):
    calls = 0

    def f(x):
        nonlocal calls
        calls += 1
        return x * float(x.sum())

    f = ndl.jit(f)
    monkeypatch.setenv("NEEDLE_JIT", "off")
    for i in range(6):
        x = numbers(3, seed=i)
        assert bits(f(x)) == bits(x * float(x.sum()))
    assert calls == 6 and not f.programs()


@same_bits
def test_off_between_calls(jit, see):
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    def step(x):
        optimizer.reset_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()

    step = jit(step)
    for i in range(12):
        os.environ["NEEDLE_JIT"] = "off" if 4 <= i < 8 else "on"
        step(numbers(4, 3, seed=i))
        see(model.parameters(), optimizer.steps)
    del os.environ["NEEDLE_JIT"]


def test_another_value_of_the_variable_is_an_error(monkeypatch):
    monkeypatch.setenv("NEEDLE_JIT", "0ff")
    with pytest.raises(ValueError, match="NEEDLE_JIT.*expected"):
        ndl.jit(lambda x: x * 2)(numbers(3))


def test_names_and_documentation_are_those_of_the_function():
    def f(x):
        """Doubles."""
        return x * 2

    jitted = ndl.jit(f)
    assert (jitted.__name__, jitted.__doc__, jitted.__wrapped__) == ("f", "Doubles.", f)
    assert "f" in repr(jitted) and "jit" in repr(jitted).lower()


@pytest.mark.parametrize("thing", [None, 3, "f", numbers(3)], ids=["None", "number", "text", "Tensor"])
def test_what_cannot_be_called(thing):
    with pytest.raises(TypeError, match="jit: a .*expected a function"):
        ndl.jit(thing)


@pytest.mark.filterwarnings("ignore:coroutine")
def test_coroutines_and_generators_are_refused():
    async def coroutine(x):
        return x

    def generator(x):
        yield x

    for f in (coroutine, generator):
        with pytest.raises((TypeError, ndl.JitError), match="expected"):
            ndl.jit(f)(numbers(3))


def test_a_copy_is_independent():
    model = nn.Linear(3, 2)
    f = ndl.jit(model)
    for i in range(4):
        f(numbers(4, 3, seed=i))
    other = copy.deepcopy(f)
    other.weight.cached_data[...] = 0.0
    x = numbers(4, 3)
    assert bits(other(x)) != bits(f(x)) == bits(model(x))


def test_it_can_be_pickled():
    f = ndl.jit(nn.Linear(3, 2))
    for i in range(4):
        f(numbers(4, 3, seed=i))
    x = numbers(4, 3)
    assert bits(pickle.loads(pickle.dumps(f))(x)) == bits(f(x))


@pytest.mark.parametrize("provider", ["native", "onednn"])
def test_another_provider_of_kernels(provider):
    """The same bits as eager, in a process of its own, since the provider is chosen at the start."""
    code = """
import needle as ndl
from needle import nn
from tests.compiler.scenarios import bits, numbers
linear = nn.Linear(64, 64)
f = ndl.jit(lambda x: linear(x))
for i in range(5):
    x = numbers(64, 64, seed=i)
    assert bits(f(x)) == bits(linear(x))
"""
    environment = {**os.environ, "NEEDLE_CPU_KERNELS": provider, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@same_bits
def test_the_default_device_changes(jit, see):
    f = jit(lambda: ndl.Tensor([1.0, 2.0]) * 2)
    for _ in range(6):
        result = f()
        see(result, str(result.device))


@refused("all different: os.environ.*NEEDLE_TEST_SCALE")
def test_the_environment_changes_in_every_call(jit, see):
    def f(x):
        return x * float(os.environ["NEEDLE_TEST_SCALE"])

    f = jit(f)
    for i in range(16):
        os.environ["NEEDLE_TEST_SCALE"] = str(i + 1)
        see(f(numbers(3, seed=i)))


@same_bits
def test_an_array_of_numpy_is_used_as_an_operand(jit, see):
    f = jit(lambda x: x * np.float32(2) + np.array(3.0))
    for i in range(6):
        see(f(numbers(3, seed=i)))

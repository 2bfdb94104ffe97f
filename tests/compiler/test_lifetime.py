"""Lifetime: what a jitted function keeps alive, and what dies with it; processes that fork."""

import dataclasses
import gc
import os
import signal
import threading
import warnings
import weakref

import pytest

import needle as ndl
from needle import nn, optim
from tests.compiler.scenarios import bits, numbers


def in_use():
    """Bytes of memory of arrays on the CPU."""
    gc.collect()
    return ndl.memory_stats()["current"]


def trained(model):
    """A jitted step of training, called so often that it is replayed."""
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @ndl.jit
    def step(x):
        optimizer.reset_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    for i in range(5):
        step(numbers(8, 64, seed=i))
    return step


def test_the_model_dies_with_the_function():
    model = nn.Linear(64, 64)
    died, step = weakref.ref(model), trained(model)
    del model, step
    gc.collect()
    assert died() is None


def test_memory_is_freed_with_the_function():
    trained(nn.Linear(64, 64))
    before = in_use()
    step = trained(nn.Linear(64, 64))
    assert in_use() > before
    del step
    assert in_use() == before


def test_calls_keep_no_results_and_arguments():
    linear = nn.Linear(64, 64)
    f = ndl.jit(lambda x: linear(x))
    for i in range(4):
        f(numbers(8, 64, seed=i))
    before = in_use()
    for i in range(50):
        f(numbers(8, 64, seed=i))
    assert in_use() == before


def test_replays_free_memory_without_the_garbage_collector():
    """A cycle of references in a replay would hold its arrays for a while, and memory would not be used again."""
    step = trained(nn.Linear(64, 64))
    before = in_use()
    gc.disable()
    try:
        for i in range(20):
            step(numbers(8, 64, seed=i))
        assert ndl.memory_stats()["current"] == before
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:.*(forms|recorded in)")
def test_a_recorded_call_keeps_no_arguments():
    """A form that was met once: its argument need not live on."""
    f = ndl.jit(lambda x: x * 2)
    f(numbers(3))
    before = in_use()
    for i in range(20):
        f(numbers(1000 + i))
    assert in_use() < before + 4 * 4000


@dataclasses.dataclass
class Batch:
    x: ndl.Tensor


@pytest.mark.filterwarnings("ignore:.*(forms|recorded in)")
def test_objects_as_arguments_are_not_kept():
    f = ndl.jit(lambda batch: batch.x * 2)
    f(Batch(numbers(3)))
    before = in_use()
    for i in range(50):
        f(Batch(numbers(1000, seed=i)))
    assert in_use() < before + 10 * 4000


def test_an_instance_whose_method_is_jitted_dies():
    class Model:
        def __init__(self):
            self.linear = nn.Linear(3, 2)

        @ndl.jit
        def forward(self, x):
            return self.linear(x)

    model = Model()
    for i in range(4):
        model.forward(numbers(4, 3, seed=i))
    died = weakref.ref(model)
    del model
    gc.collect()
    assert died() is None


@pytest.mark.filterwarnings("ignore:.*(forms|recorded in)")
def test_a_new_object_at_the_address_of_a_dead_one_is_another_argument():
    f = ndl.jit(lambda batch, k: batch.x * k)
    for i in range(200):
        x = numbers(3, seed=i)
        assert bits(f(Batch(x), 2)) == bits(x * 2)


def test_a_state_that_never_stays_is_an_error_at_last():
    settings = Batch(numbers(3))
    f = ndl.jit(lambda x: x * settings.x)
    with pytest.raises(ndl.JitError, match="test_lifetime.py:.*settings.x is another object.*expected"):
        for i in range(60):
            settings.x = numbers(3, seed=i)
            f(numbers(3, seed=i))


def test_an_exception_while_recording_leaves_nothing():
    def f(x):
        y = x * 2
        raise ValueError(y.shape)

    f = ndl.jit(f)
    before = in_use()
    for i in range(5):
        with pytest.raises(ValueError):
            f(numbers(1000, seed=i))
    assert in_use() == before


@pytest.mark.parametrize("calls_before", [0, 1, 4])
def test_fork(calls_before):
    linear = nn.Linear(64, 64)
    f = ndl.jit(lambda x: linear(x).sum(0))

    def results(first, last):
        return [bits(f(numbers(32, 64, seed=i))) for i in range(first, last)]

    expected = [bits(linear(numbers(32, 64, seed=i)).sum(0)) for i in range(10)]
    assert results(0, calls_before) == expected[:calls_before]
    child = os.fork()
    if child == 0:
        os._exit(0 if results(calls_before, 10) == expected[calls_before:] else 1)
    assert results(calls_before, 10) == expected[calls_before:]
    assert os.waitpid(child, 0)[1] == 0


def test_fork_while_another_thread_records():
    """The child has no thread that would ever release the recorder's lock."""
    recording, forked = threading.Event(), threading.Event()

    def slow(x):
        recording.set()
        forked.wait(30)
        return x * 2

    thread = threading.Thread(target=lambda: ndl.jit(slow)(numbers(3)))
    thread.start()
    recording.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        f = ndl.jit(lambda x: x * 3)
        os._exit(0 if all(bits(f(numbers(3, seed=i))) == bits(numbers(3, seed=i) * 3) for i in range(5)) else 1)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_arguments_without_weak_references_are_forgotten_with_their_forms():
    class Slotted:
        __slots__ = ("scale",)

        def __init__(self, scale):
            self.scale = scale

    f = ndl.jit(lambda x, of: x * of.scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(100):
            f(numbers(3), Slotted(i))
    gc.collect()
    assert sum(isinstance(of, Slotted) for of in gc.get_objects()) <= 40

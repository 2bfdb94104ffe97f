"""Values of Tensors that Python reads inside: a replay could not repeat what it does with them, so they are errors."""

import numpy as np
import pytest

import needle as ndl
from tests.compiler.scenarios import numbers, refused, same_bits


READS = {
    "item": lambda y: y.sum().item(),
    "float": lambda y: float(y.sum()),
    "int": lambda y: int(y.sum()),
    "bool": lambda y: bool(y.sum()),
    "if": lambda y: 1 if y.sum() > 0 else 2,
    "while": lambda y: [None for _ in iter(lambda: bool(y.sum() > 1e9), False)],
    "and": lambda y: y.sum() and 1,
    "not": lambda y: not y.sum(),
    "assert": lambda y: y.sum() == y.sum() or 1,
    "max of Python": lambda y: max(y[0], y[1]),
    "sorted": lambda y: sorted(y),
    "in": lambda y: 2.0 in y,
    "str": lambda y: str(y),
    "repr": lambda y: repr(y),
    "format": lambda y: f"{y.sum():.3f}",
    "print": lambda y: print(y),
    "numpy": lambda y: y.numpy(),
    "np.asarray": lambda y: np.asarray(y),
    "tolist": lambda y: y.numpy().tolist(),
    "index of a list": lambda y: [1, 2, 3][y.argmax()],
    "range": lambda y: range(y.argmax()),
    "host_view": lambda y: y.cached_data.host_view(),
    "DLPack": lambda y: np.from_dlpack(y.cached_data),
    "begin_read": lambda y: y.sum().begin_read(),
    "a mask as an index": lambda y: y[y > 0],
    "shape by a value": lambda y: y[: int(y.argmax())],
    "another device": lambda y: y.to(ndl.cpu_numpy()),
}


@pytest.mark.parametrize("argument", [False, True], ids=["made inside", "argument"])
@pytest.mark.parametrize("name", READS)
def test_a_value_is_read(name, argument):
    read = READS[name]

    @refused("host reads|one device", line_of=read)
    def scenario(jit, see):
        f = jit(lambda x: read(x if argument else x * 2))
        for i in range(5):
            f(numbers(3, seed=i))
            see(i)

    scenario()


@same_bits
def test_what_is_known_without_values(jit, see):
    def f(x):
        rows = [row * i for i, row in enumerate(x)]
        first, *_ = x
        facts = x.shape, len(x), x.ndim, x.size, x.dtype is ndl.float32, x.device == ndl.cpu(), x is not None
        return sum(rows) + first * len(x), facts

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, 2, seed=i)))


@same_bits
def test_an_assertion_of_pytest(jit, see):
    """pytest rewrites it, so that the code names modules of pytest."""

    def f(x):
        assert x.shape == (3, 2)
        return x * 2

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, 2, seed=i)))


@same_bits
def test_masks_and_indices_without_reading(jit, see):
    def f(x, index):
        y = ndl.where(x > 0, x, x * 0.1)
        return y, x[index], ndl.gather(x, index), x[[0, 2]], x[np.array([1, 1])], x[::-1], x.argmax(0), (x > 0).sum()

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, 2, seed=i), ndl.Tensor([i % 3, 1], dtype="int32", requires_grad=False)))


@same_bits
def test_a_constant_is_read(jit, see):
    def f(x):
        k = ndl.Tensor([2.0, 3.0])
        return x * k.numpy()[1] + float(k.sum().shape == ())

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, seed=i)))


@refused("host reads")
def test_a_constant_that_was_overwritten_is_read(jit, see):
    def f(x):
        k = ndl.Tensor([0.0])
        k.cached_data[...] = x[:1].cached_data
        return x * k.item()

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, seed=max(i - 2, 0))))


@refused("host reads")
def test_a_constant_of_a_numpy_array_that_changes_is_read(jit, see):
    array = np.array([2.0], np.float32)

    def f(x):
        return x * ndl.Tensor(array).item()

    f = jit(f)
    for i in range(8):
        array[0] = 2.0 if i < 4 else 3.0
        see(f(numbers(3, seed=i)))


@same_bits
def test_parts_of_a_tensor_change_in_place(jit, see):
    def f(x):
        y = (x * 2).detach()
        y.cached_data[1:] = (x[1:] + 1).cached_data
        y.cached_data[0] = 7.0
        return y

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_an_argument_changes_in_place(jit, see):
    def f(x):
        x.cached_data[1:] = (x[:-1] * 2).cached_data

    f = jit(f)
    for i in range(8):
        x = numbers(4, seed=i)
        f(x)
        see(x)


@same_bits
def test_the_data_of_an_argument_is_rebound(jit, see):
    def f(x):
        x.data = x.detach() * 2

    f = jit(f)
    for i in range(8):
        x = numbers(4, seed=i)
        f(x)
        see(x)


@same_bits
def test_a_tensor_is_read_between_calls(jit, see):
    total = numbers(3)

    def f(x):
        total.data = total.detach() + x

    f = jit(f)
    for i in range(8):
        f(numbers(3, seed=i))
        see(total.numpy(), float(total.sum()))

"""Forms of call: layouts, shapes, devices, memory that arguments share, and how many programs there are."""

import dataclasses
import warnings
import pytest
import needle as ndl
from needle import nn
from tests.compiler.scenarios import Run, numbers, refused, same_bits


@dataclasses.dataclass
class Pair:
    a: ndl.Tensor
    scale: float


@same_bits
def test_the_same_tensor_twice(jit, see):
    def f(a, b):
        a.cached_data[...] = (a + 1).cached_data
        return a * 10 + b

    f = jit(f)
    for i in range(16):
        a, b = numbers(3, seed=i), numbers(3, seed=i + 9)
        see(f(a, a if i % 2 else b), a)


@same_bits
def test_views_of_one_another(jit, see):
    def f(a, b):
        a.cached_data[...] = (a * 2).cached_data
        return a + b

    f = jit(f)
    for i in range(24):
        x = numbers(4, seed=i)
        views = x.detach()[:3], [x.detach()[1:], x.detach()[:3], numbers(4, seed=i + 9)[1:]][i % 3]
        see(f(*views), *views, x)


@same_bits
def test_an_argument_that_is_a_parameter_at_first(jit, see):
    model = nn.Linear(3, 3, bias=False)
    f = jit(lambda w: model.weight * 10 + w)
    for i in range(12):
        see(f(model.weight if i < 4 else ndl.Parameter(numbers(3, 3, seed=i))))


@same_bits
def test_an_argument_that_shares_memory_with_a_parameter_at_first(jit, see):
    model = nn.Linear(3, 3, bias=False)
    f = jit(lambda w: model.weight * 10 + w)
    for i in range(12):
        see(f(model.weight.detach() if i < 4 else numbers(3, 3, seed=i)))


@same_bits
def test_an_argument_that_begins_to_share_memory_with_a_parameter(jit, see):
    model = nn.Linear(3, 3, bias=False)

    def f(w):
        model.weight.cached_data[...] = (model.weight * 2).cached_data
        return w + 1

    f = jit(f)
    for i in range(12):
        see(f(numbers(3, 3, seed=i) if i < 4 else model.weight.detach()), model.weight)


@same_bits
def test_a_result_is_the_next_argument(jit, see):
    f, x = jit(lambda x, y: (x[1:] * 1, ndl.concatenate([x[1:], y], 0))), numbers(5)
    for i in range(7):
        part, x = f(x, numbers(1, seed=i))
        see(part, x)


@pytest.mark.filterwarnings("ignore:.*called in 9 forms")
@same_bits
def test_other_shapes_and_dtypes(jit, see):
    f = jit(lambda x: x * 2 + 1)
    for i in range(24):
        see(f(numbers(*[(3,), (4,), (1, 3), (0,), (), (2, 3)][i % 6], seed=i)))
        see(f(numbers(3, seed=i).astype(["float64", "int32", "float16", "bool"][i % 4])))


@same_bits
def test_other_layouts(jit, see):
    f = jit(lambda x: (x * 2, x.sum(0), x @ x, x.reshape(9)))
    for i in range(30):
        x = numbers(6, 6, seed=i)
        see(
            f(
                [
                    x[:3, :3],
                    x[:3, :3].transpose(),
                    x[1:4, 2:5],
                    x[::2, 1::2],
                    x[5:2:-1, :3],
                    ndl.flip(x, (0, 1))[:3, :3],
                ][i % 6]
            )
        )


@same_bits
def test_broadcast_arguments(jit, see):
    f = jit(lambda x: x * 2 + x)
    for i in range(10):
        see(f(numbers(1, 3, seed=i).broadcast_to((4, 3)) if i % 2 else numbers(4, 3, seed=i)))


@same_bits
def test_other_devices(jit, see):
    f = jit(lambda x: x * 2 + ndl.Tensor([1.0, 2.0, 3.0], device=x.device))
    for i in range(12):
        see(f(numbers(3, seed=i, device=[ndl.cpu(), ndl.cpu_numpy()][i % 2])))


@refused("one device")
def test_two_devices_in_one_call(jit, see):
    f = jit(lambda x, y: (x * 2, y * 2))
    for i in range(6):
        see(f(numbers(3, seed=i, device=ndl.cpu()), numbers(3, seed=i, device=ndl.cpu_numpy())))


def test_many_forms_give_one_warning_that_says_what_differs():
    def scenario(jit, see):
        f = jit(lambda x, k: x * k)
        for i in range(60):
            see(f(numbers(3, seed=i), float(i // 3)))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got, expected = Run(scenario, with_jit=True), Run(scenario, with_jit=False)
    assert got.seen == expected.seen
    [warning] = caught
    assert warning.filename == __file__
    assert "argument 1" in str(warning.message) or "7.0" in str(warning.message)


def test_programs_of_a_function_are_bounded():
    f = ndl.jit(lambda x, k: x * k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(200):
            f(numbers(3, seed=i), float(i // 2))
    assert len(f.programs()) < 100


def test_a_call_that_is_recorded_anew_each_time_gives_a_warning():
    f = ndl.jit(lambda pair: pair.a * pair.scale)
    with pytest.warns(Warning, match="recorded in 32 calls and replayed in 0: an argument that is an object.*expected"):
        for i in range(40):
            f(Pair(numbers(3, seed=i), 2.0))

"""Arguments: what may be one, and arguments that look alike."""

import collections
import dataclasses
import enum
import functools
import numpy as np
import pytest
import needle as ndl
from needle import nn
from tests.compiler.scenarios import numbers, refused, same_bits


Batch = collections.namedtuple("Batch", "images labels")


class Mode(enum.Enum):
    PLUS = 1
    MINUS = 2


@dataclasses.dataclass
class Pair:
    a: ndl.Tensor
    scale: float


@same_bits
def test_plain_arguments_that_are_equal_but_not_the_same(jit, see):
    f = jit(lambda x, k: (x.astype("int32") * k, k))
    for i in range(20):
        see(f(numbers(3, seed=i), [1, 1.0, True, np.float32(1)][i % 4]))


@same_bits
def test_zero_and_minus_zero(jit, see):
    f = jit(lambda x, k: x * k)
    for i in range(10):
        see(f(numbers(3, seed=i), 0.0 if i < 5 else -0.0))


@same_bits
def test_not_a_number_and_infinity(jit, see):
    f = jit(lambda x, k: x * k)
    for i in range(16):
        see(f(numbers(3, seed=i), [float("nan"), float("inf"), -float("inf")][i % 3]))


@same_bits
def test_keys_of_a_dict_that_are_equal_but_not_the_same(jit, see):
    f = jit(lambda entries: {key: x * 2 for key, x in entries.items()})
    for i in range(15):
        see(f({[1, True, 1.0][i % 3]: numbers(3, seed=i)}))


@same_bits
def test_strings_none_and_bools(jit, see):
    f = jit(lambda x, how, bias=None: (x + 1 if how == "plus" else x - 1) if bias is None else x + bias)
    for i in range(20):
        see(f(numbers(3, seed=i), ["plus", "minus", True, None][i % 4]))
        see(f(numbers(3, seed=i), "plus", bias=numbers(3, seed=9)))


@same_bits
def test_keywords_and_defaults(jit, see):
    f = jit(lambda x, y=2.0, *rest, z, **more: x * y + z - sum(more.values()) + len(rest))
    for i in range(6):
        x = numbers(3, seed=i)
        see(f(x, z=x), f(x, 3.0, z=x), f(x, x, 1, 2, z=x, a=x, b=x), f(x, x, 1, 2, z=x, b=x, a=x * 2), f(z=x, x=x))


@same_bits
def test_nested_trees(jit, see):
    f = jit(lambda tree: {"sum": tree["a"][0] + tree["a"][1]["b"], "tree": (tree["a"], [tree["k"]])})
    for i in range(6):
        see(f({"a": [numbers(3, seed=i), {"b": numbers(3, seed=i + 1)}], "k": 3}))


@same_bits
def test_a_named_tuple(jit, see):
    f = jit(lambda batch: Batch(batch.images * 2, batch.labels))
    for i in range(6):
        see(f(Batch(numbers(3, seed=i), numbers(3, seed=i + 9))))


@same_bits(replays=False)
def test_an_ordered_dict(jit, see):
    f = jit(lambda entries: sum(entries.values()))
    for i in range(6):
        see(f(collections.OrderedDict(a=numbers(3, seed=i), b=numbers(3, seed=i + 9))))


@same_bits
def test_an_enumeration(jit, see):
    f = jit(lambda x, mode: x + 1 if mode is Mode.PLUS else x - 1)
    for i in range(10):
        see(f(numbers(3, seed=i), Mode(1 + i % 2)))


@same_bits
def test_an_object_whose_attributes_change(jit, see):
    f, pair = jit(lambda x, pair: x * pair.a * pair.scale), Pair(numbers(3, seed=9), 2.0)
    for i in range(12):
        if i == 4:
            pair.a = numbers(3, seed=10)
        if i == 8:
            pair.scale = 3.0
        see(f(numbers(3, seed=i), pair))


@same_bits(replays=False)
def test_a_new_object_in_every_call(jit, see):
    f = jit(lambda pair: pair.a * pair.scale)
    for i in range(6):
        see(f(Pair(numbers(3, seed=i), 2.0)))


@same_bits
def test_a_model_as_an_argument(jit, see):
    f, models = jit(lambda model, x: model(x)), [nn.Linear(3, 2), nn.Linear(3, 2)]
    for i in range(12):
        see(f(models[i % 2], numbers(4, 3, seed=i)))


@refused("whose values would be frozen: expected a Tensor")
def test_a_numpy_array_as_an_argument(jit, see):
    f = jit(lambda x, array: x * array)
    for i in range(6):
        see(f(numbers(3, seed=i), np.full(3, i, np.float32)))


@same_bits(replays=False)
def test_a_slice_and_a_range_as_arguments(jit, see):
    f = jit(lambda x, part, steps: sum(x[part] * k for k in steps))
    for i in range(8):
        see(f(numbers(5, seed=i), slice(i % 2, 3 + i % 2), range(i % 3 + 1)))


@same_bits(replays=False)
def test_a_generator_as_an_argument(jit, see):
    f = jit(lambda batches: sum(batches))
    for i in range(6):
        see(f(numbers(3, seed=i + k) for k in range(3)))


@same_bits
def test_arguments_that_require_a_gradient_or_not(jit, see):
    f = jit(lambda x, y: (x * y).detach())
    for i in range(12):
        see(f(numbers(3, seed=i, requires_grad=i % 2 == 0), numbers(3, seed=i + 9)))


@same_bits
def test_within_no_grad_and_without(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: linear(x))
    for i in range(12):
        with ndl.no_grad() if i % 2 else np.errstate():
            see(f(numbers(4, 3, seed=i)))


@same_bits
def test_functions_of_every_kind(jit, see):
    class Doubler:
        def __call__(self, x):
            return x * 2

    functions = [
        jit(f) for f in (ndl.exp, Doubler(), functools.partial(lambda k, x: x * k, 3.0), nn.ReLU(), lambda x: -x)
    ]
    for i in range(6):
        see(*[f(numbers(3, seed=i)) for f in functions])


@same_bits
def test_methods_of_several_instances(jit, see):
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @jit
        def __call__(self, x):
            return self.twice(x) * self.scale

        @jit
        def twice(self, x, k=2):
            return x * k

    models = [Model(2.0), Model(3.0)]
    for i in range(12):
        see(models[i % 2](numbers(3, seed=i)), models[i % 2].twice(numbers(3, seed=i)))


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_static_and_class_methods(kind):
    @same_bits
    def scenario(jit, see):
        class Model:
            f = kind(jit(lambda *args: args[-1] * 2))

        for i in range(6):
            see(Model.f(numbers(3, seed=i)), Model().f(numbers(3, seed=i)))

    scenario()


@same_bits
def test_numbers_of_numpy_that_are_equal_and_not_the_same(jit, see):
    f = jit(lambda x, number: x / number)
    for i in range(12):
        see(f(numbers(3, seed=i), np.float32(0.0 if i % 2 else -0.0)))
    for i in range(4):
        see(f(numbers(3, seed=i), np.float32("nan")))
    assert getattr(f, "stats", {"recordings": 6})["recordings"] == 6

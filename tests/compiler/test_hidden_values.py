"""Values that are hard to find from a function's code, and that change between calls: right, or a JitError."""

import collections
import contextvars
import functools
import itertools
import operator
import os
import random
import sys
import threading
import types
import weakref
from os import getenv
from random import random as draw

import numpy as np
import pytest

import needle as ndl
from tests.compiler.scenarios import calls, numbers, refused, same_bits, set_to

BIG = np.ones(1 << 19, np.float32)  # 2 MiB
OBJECTS = np.array([2.0, None], object)
VARIABLE = contextvars.ContextVar("VARIABLE", default=2.0)
LOCAL = threading.local()
FACTOR = 2.0


class Base:
    scale = 2.0


class Derived(Base):
    def __init__(self):
        self.spare = None


class Slots:
    __slots__ = ("__hidden",)

    def __init__(self):
        self.__hidden = 2.0

    def set(self, value):
        self.__hidden = value

    def get(self):
        return self.__hidden


class Described:
    """A descriptor that keeps its value elsewhere."""

    value = 2.0

    def __get__(self, instance, owner):
        return self.value


class WithDescriptor:
    scale = Described()


class Meta(type):
    @property
    def scale(cls):
        return cls.hidden_scale


class WithMeta(metaclass=Meta):
    hidden_scale = 2.0


@same_bits
def test_an_attribute_that_hides_that_of_a_base_class(jit, see):
    derived = Derived()
    calls(jit(lambda x: x * derived.scale), see, set_to(Derived, "scale", 3.0))
    del Derived.scale


@same_bits
def test_an_attribute_that_hides_that_of_the_class_in_place_of_another(jit, see):
    derived = Derived()

    def change():
        del derived.spare
        derived.scale = 3.0

    calls(jit(lambda x: x * derived.scale), see, change)


@same_bits
def test_a_global_that_is_missing_at_first(jit, see):
    globals().pop("LATER", None)

    def f(x):
        try:
            return x * LATER
        except NameError:
            return x

    calls(jit(f), see, set_to(globals(), "LATER", 3.0))


@same_bits
def test_a_global_that_hides_a_builtin(jit, see):
    globals().pop("round", None)
    calls(jit(lambda x: x * round(2.4)), see, set_to(globals(), "round", lambda _: 3.0))
    del globals()["round"]


@same_bits
def test_an_attribute_in_a_slot_with_a_private_name(jit, see):
    slots = Slots()
    calls(jit(lambda x: x * slots.get()), see, lambda: slots.set(3.0))


@same_bits
def test_an_attribute_behind_a_descriptor(jit, see):
    Described.value = 2.0
    holder = WithDescriptor()
    calls(jit(lambda x: x * holder.scale), see, set_to(Described, "value", 3.0))


@same_bits
def test_an_attribute_behind_a_metaclass(jit, see):
    WithMeta.hidden_scale = 2.0
    calls(jit(lambda x: x * WithMeta.scale), see, set_to(WithMeta, "hidden_scale", 3.0))


@same_bits
def test_the_class_of_an_object_changes(jit, see):
    class Other(Base):
        scale = 3.0

    base = Base()
    calls(jit(lambda x: x * base.scale), see, set_to(base, "__class__", Other))


@same_bits
def test_an_attribute_behind_attrgetter(jit, see):
    base, get = Derived(), operator.attrgetter("spare")
    base.spare = 2.0
    calls(jit(lambda x: x * get(base)), see, set_to(base, "spare", 3.0))


@same_bits
def test_a_number_behind_a_cache(jit, see):
    """The cache, not the number, decides what eager does."""
    values = {"scale": 2.0}

    @functools.lru_cache
    def scale():
        return values["scale"]

    def change():
        values["scale"] = 3.0
        scale.cache_clear()

    calls(jit(lambda x: x * scale()), see, change)


@pytest.mark.xfail(strict=True, reason="not seen: a number that Python reads from a NumPy array of more than 1 MiB")
@same_bits
def test_an_element_of_a_large_numpy_array(jit, see):
    BIG[:] = 1.0
    calls(jit(lambda x: x * BIG[-1]), see, lambda: BIG.fill(3.0))


@same_bits
def test_a_large_numpy_array_becomes_a_tensor(jit, see):
    BIG[:] = 1.0
    calls(jit(lambda x: x + ndl.Tensor(BIG)[:3]), see, lambda: BIG.fill(3.0))


@same_bits
def test_a_numpy_array_of_objects(jit, see):
    OBJECTS[0] = 2.0
    calls(jit(lambda x: x * OBJECTS[0]), see, lambda: OBJECTS.fill(3.0))


@same_bits
def test_bytes_that_change(jit, see):
    data = bytearray([2])
    calls(jit(lambda x: x * data[0]), see, lambda: data.__setitem__(0, 3))


@same_bits
def test_a_user_dict(jit, see):
    data = collections.UserDict(scale=2.0)
    calls(jit(lambda x: x * data["scale"]), see, lambda: data.update(scale=3.0))


@same_bits
def test_a_view_of_a_dict(jit, see):
    data = {"scale": 2.0}
    view = types.MappingProxyType(data)
    calls(jit(lambda x: x * view["scale"]), see, lambda: data.update(scale=3.0))


@same_bits
def test_values_of_a_dict_through_a_view(jit, see):
    data = {"scale": 2.0}
    values = data.values()
    calls(jit(lambda x: x * sum(values)), see, lambda: data.update(scale=3.0))


@same_bits
def test_a_chain_of_dicts(jit, see):
    data = {"scale": 2.0}
    chain = collections.ChainMap({}, data)
    calls(jit(lambda x: x * chain["scale"]), see, lambda: data.update(scale=3.0))


@same_bits
def test_a_variable_of_the_context(jit, see):
    VARIABLE.set(2.0)
    calls(jit(lambda x: x * VARIABLE.get()), see, lambda: VARIABLE.set(3.0))


@same_bits
def test_an_attribute_of_the_thread(jit, see):
    LOCAL.scale = 2.0
    calls(jit(lambda x: x * LOCAL.scale), see, set_to(LOCAL, "scale", 3.0))


@same_bits
def test_an_object_in_a_variable_of_the_context(jit, see):
    base = Derived()
    base.spare = 2.0
    VARIABLE.set(base)
    calls(jit(lambda x: x * VARIABLE.get().spare), see, set_to(base, "spare", 3.0))


@same_bits
def test_an_attribute_of_each_thread(jit, see):
    LOCAL.scale = 2.0
    f = jit(lambda x: x * LOCAL.scale)

    def call(scale):
        LOCAL.scale = scale
        for i in range(4):
            see(f(numbers(3, seed=i)))

    call(2.0)
    thread = threading.Thread(target=call, args=(5.0,))
    thread.start()
    thread.join()
    see(f(numbers(3)))


@same_bits
def test_an_attribute_of_the_thread_that_is_missing_at_first(jit, see):
    vars(LOCAL).clear()
    calls(jit(lambda x: x * getattr(LOCAL, "scale", 2.0)), see, set_to(LOCAL, "scale", 3.0))


@same_bits
def test_the_environment(jit, see):
    os.environ["NEEDLE_TEST_SCALE"] = "2"
    calls(
        jit(lambda x: x * float(os.environ["NEEDLE_TEST_SCALE"])), see, lambda: os.environ.update(NEEDLE_TEST_SCALE="3")
    )


@same_bits
def test_a_variable_of_the_environment_that_is_missing_at_first(jit, see):
    os.environ.pop("NEEDLE_TEST_SCALE", None)
    calls(
        jit(lambda x: x * float(os.getenv("NEEDLE_TEST_SCALE", "2"))),
        see,
        lambda: os.environ.update(NEEDLE_TEST_SCALE="3"),
    )


@same_bits
def test_a_function_of_the_environment(jit, see):
    os.environ["NEEDLE_TEST_SCALE"] = "2"
    calls(jit(lambda x: x * float(getenv("NEEDLE_TEST_SCALE"))), see, lambda: os.environ.update(NEEDLE_TEST_SCALE="3"))


@same_bits
def test_an_object_of_an_installed_package(jit, see):
    """Its class lies in site-packages, like that of a configuration library."""
    module = types.ModuleType("an_installed_package")
    module.__file__ = "/lib/site-packages/an_installed_package.py"
    exec("class Settings:\n    def __init__(self):\n        self.scale = 2.0", vars(module))
    sys.modules[module.__name__] = module
    settings = module.Settings()
    calls(jit(lambda x: x * settings.scale), see, set_to(settings, "scale", 3.0))
    del sys.modules[module.__name__]


@same_bits
def test_a_bound_method_of_a_list(jit, see):
    values = [2.0]
    get = values.__getitem__
    calls(jit(lambda x: x * get(0)), see, set_to(values, 0, 3.0))


@same_bits
def test_a_weak_reference(jit, see):
    base = Derived()
    base.spare = 2.0
    reference = weakref.ref(base)
    calls(jit(lambda x: x * reference().spare), see, set_to(base, "spare", 3.0))


@same_bits
def test_a_weak_reference_to_an_object_that_dies(jit, see):
    base = Derived()
    base.spare = 2.0
    reference = weakref.ref(base)

    def f(x):
        referent = reference()
        return x if referent is None else x * referent.spare

    f = jit(f)
    for i in range(8):
        if i == 4:
            del base
        see(f(numbers(3, seed=i)))


@same_bits
def test_a_class_that_is_made_inside(jit, see):
    globals()["FACTOR"] = 2.0

    def f(x):
        class Local:
            def __call__(self, x):
                return x * FACTOR

        return Local()(x)

    calls(jit(f), see, set_to(globals(), "FACTOR", 3.0))


RANDOM = np.random.default_rng(0)

DRAWS = {
    "random.random": lambda: random.random(),
    "from random import random": lambda: draw(),
    "np.random.rand": lambda: np.random.rand(),
    "a Generator": lambda: RANDOM.random(),
    "its bound method": RANDOM.random,
    "random.Random": random.Random(3).random,
    "a choice": lambda: random.choice([0.0, 1.0]),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_branch_on_a_random_number_of_python(name):
    """It is likely that two calls agree by chance."""
    draw_one = DRAWS[name]

    @refused("random|state|changes what it depends on")
    def scenario(jit, see):
        f = jit(lambda x: x * 2 if draw_one() < 0.9 else x)
        for i in range(60):
            see(f(numbers(3, seed=i)))

    scenario()


@refused("changes what it depends on|iterator")
def test_an_iterator_that_decides_late(jit, see):
    count = itertools.count()
    f = jit(lambda x: x * 2 if next(count) < 7 else x)
    for i in range(12):
        see(f(numbers(3, seed=i)))


@refused("changes what it depends on|iterator")
def test_a_generator_that_decides_late(jit, see):
    flags = (i < 7 for i in range(100))
    f = jit(lambda x: x * 2 if next(flags) else x)
    for i in range(12):
        see(f(numbers(3, seed=i)))


ITERATORS = {
    "iter": lambda values: iter(values),
    "enumerate": lambda values: (value for _, value in enumerate(values)),
    "zip": lambda values: map(max, zip(values, values)),
    "chain": lambda values: itertools.chain(values, values),
    "cycle": lambda values: itertools.cycle(values),
    "islice": lambda values: itertools.islice(values, 12),
    "dict": lambda values: iter({i: value for i, value in enumerate(values)}.values()),
    "product": lambda values: itertools.starmap(max, itertools.product(values, [0, 0])),
}


@pytest.mark.parametrize("kind", ITERATORS)
def test_built_in_iterators_that_decide_late(kind):
    @refused("every call changes what it depends on: .*it.* has changed")
    def scenario(jit, see):
        base = Derived()
        base.it = ITERATORS[kind]([1] * 7 + [2] * 7)
        f = jit(lambda x: x * next(base.it))
        for i in range(12):
            see(f(numbers(3, seed=i)))

    scenario()


@refused("every call changes what it depends on: flips has changed")
def test_a_generator_without_variables(jit, see):
    def flip():
        while True:
            yield random.random() < 0.99

    flips = flip()
    f = jit(lambda x: x * 2 if next(flips) else x)
    for i in range(12):
        see(f(numbers(3, seed=i)))


@same_bits
def test_an_iterator_that_goes_on_outside(jit, see):
    base = Derived()
    base.it = iter(range(100))
    f = jit(lambda x, advances=False: x * next(base.it) if advances else x * 2)
    for i in range(8):
        see(f(numbers(3, seed=i)), next(base.it))


@refused("changes what it depends on|has changed")
def test_a_default_dict_counts(jit, see):
    counts = collections.defaultdict(int)

    def f(x):
        counts[x.shape] += 1
        return x * 2

    f = jit(f)
    for i in range(8):
        f(numbers(3, seed=i))
        see(dict(counts))


@refused("changes what it depends on|has changed")
def test_a_set_grows_inside(jit, see):
    met = set()

    def f(x):
        met.add(len(met))
        return x * 2

    f = jit(f)
    for i in range(8):
        f(numbers(3, seed=i))
        see(sorted(met))

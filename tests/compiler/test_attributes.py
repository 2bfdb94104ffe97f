"""Attributes, closures and functions that a function reads, and that change between calls."""

import dataclasses
import functools
import types
from tests.compiler.scenarios import calls, same_bits, set_to


SCALE = 2.0


SETTINGS = types.SimpleNamespace(scale=2.0)


class Constants:
    scale = 2.0


@dataclasses.dataclass
class Settings:
    scale: float = 2.0


@dataclasses.dataclass(slots=True)
class Slotted:
    scale: float = 2.0


class Model:
    """What a user may write around a number that changes."""

    scale = 2.0
    shared = 2.0

    def __init__(self):
        self._scale = 2.0
        self.inner = 2.0
        self.named = 2.0
        self.listed = 2.0
        self.values = [2.0]

    @property
    def by_property(self):
        return self.inner

    @staticmethod
    def by_static_method():
        return Constants.scale

    @classmethod
    def by_class_method(cls):
        return cls.shared

    def by_method(self):
        return self._scale

    def __getitem__(self, index):
        return self.values[index]

    def __call__(self, x):
        return x * self._scale


@same_bits
def test_an_attribute_of_a_simple_namespace(jit, see):
    SETTINGS.scale = 2.0
    calls(jit(lambda x: x * SETTINGS.scale), see, set_to(SETTINGS, "scale", 3.0))


@same_bits
def test_an_attribute_of_a_dataclass(jit, see):
    settings = Settings()
    calls(jit(lambda x: x * settings.scale), see, set_to(settings, "scale", 3.0))


@same_bits
def test_an_attribute_in_a_slot(jit, see):
    settings = Slotted()
    calls(jit(lambda x: x * settings.scale), see, set_to(settings, "scale", 3.0))


@same_bits
def test_an_attribute_of_a_class(jit, see):
    Constants.scale = 2.0
    calls(jit(lambda x: x * Constants.scale), see, set_to(Constants, "scale", 3.0))


@same_bits
def test_an_attribute_that_hides_that_of_the_class(jit, see):
    model = Model()
    calls(jit(lambda x: x * model.scale), see, set_to(model, "scale", 3.0))


@same_bits
def test_a_method_that_hides_that_of_the_class(jit, see):
    model = Model()
    calls(jit(lambda x: x * model.by_method()), see, set_to(model, "by_method", lambda: 7.0))


@same_bits
def test_an_attribute_that_is_missing_at_first(jit, see):
    model = Model()
    calls(jit(lambda x: x * getattr(model, "extra", 1.0)), see, set_to(model, "extra", 3.0))


@same_bits
def test_an_attribute_by_its_name(jit, see):
    model, name = Model(), "na" + "med"
    calls(jit(lambda x: x * getattr(model, name)), see, set_to(model, name, 3.0))


@same_bits
def test_an_attribute_by_the_dict_of_an_object(jit, see):
    model = Model()
    calls(jit(lambda x: x * vars(model)["listed"]), see, set_to(model, "listed", 3.0))


@same_bits
def test_an_attribute_behind_a_method(jit, see):
    model = Model()
    calls(jit(lambda x: x * model.by_method()), see, set_to(model, "_scale", 3.0))


@same_bits
def test_an_attribute_behind_a_bound_method(jit, see):
    model = Model()
    calls(jit(model.__call__), see, set_to(model, "_scale", 3.0))


@same_bits
def test_an_attribute_behind_a_property(jit, see):
    model = Model()
    calls(jit(lambda x: x * model.by_property), see, set_to(model, "inner", 3.0))


@same_bits
def test_an_attribute_behind_a_static_method(jit, see):
    model = Model()
    Constants.scale = 2.0
    calls(jit(lambda x: x * model.by_static_method()), see, set_to(Constants, "scale", 3.0))


@same_bits
def test_an_attribute_behind_a_class_method(jit, see):
    model = Model()
    Model.shared = 2.0
    calls(jit(lambda x: x * model.by_class_method()), see, set_to(Model, "shared", 3.0))


@same_bits
def test_an_attribute_behind_an_operator(jit, see):
    model = Model()
    calls(jit(lambda x: x * model[0]), see, set_to(model.values, 0, 3.0))


@same_bits
def test_an_attribute_behind_a_callable_object(jit, see):
    model = Model()
    calls(jit(lambda x: model(x)), see, set_to(model, "_scale", 3.0))


@same_bits
def test_a_closure_of_a_helper(jit, see):
    scale = 2.0

    def helper(x):
        return x * scale

    def change():
        nonlocal scale
        scale = 3.0

    calls(jit(lambda x: helper(x)), see, change)


@same_bits
def test_two_closures_over_variables_of_one_name(jit, see):
    def make(scale):
        def set_scale(value):
            nonlocal scale
            scale = value

        return lambda x: x * scale, set_scale

    (first, set_first), (second, _) = make(2.0), make(3.0)
    calls(jit(lambda x: first(x) + second(x)), see, lambda: set_first(5.0))


@same_bits
def test_a_function_behind_a_decorator(jit, see):
    globals()["SCALE"] = 2.0

    def twice(function):
        @functools.wraps(function)
        def wrapper(x):
            return function(function(x))

        return wrapper

    calls(jit(twice(lambda x: x * SCALE)), see, set_to(globals(), "SCALE", 3.0))


@same_bits
def test_a_function_is_replaced(jit, see):
    helpers = {"f": lambda x: x * 2}
    calls(jit(lambda x: helpers["f"](x)), see, set_to(helpers, "f", lambda x: x - 1))


@same_bits
def test_the_code_of_a_function_is_replaced(jit, see):
    def helper(x):
        return x * 2

    def change():
        helper.__code__ = (lambda x: x - 1).__code__

    calls(jit(lambda x: helper(x)), see, change)


@same_bits
def test_an_attribute_of_the_function(jit, see):
    def f(x):
        return x * f.scale

    f.scale = 2.0
    inner = f
    calls(jit(f), see, set_to(inner, "scale", 3.0))


@same_bits
def test_a_default_argument(jit, see):
    def f(x, table={"scale": 2.0}):  # noqa: B006
        return x * table["scale"]

    calls(jit(f), see, set_to(f.__defaults__[0], "scale", 3.0))


@same_bits
def test_a_partial(jit, see):
    settings = {"scale": 2.0}
    f = jit(functools.partial(lambda settings, x: x * settings["scale"], settings))
    calls(f, see, set_to(settings, "scale", 3.0))

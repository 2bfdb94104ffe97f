"""Values of Python that a function reads, and that change between calls: globals, lists, dicts, NumPy arrays."""

import argparse
import collections
import numpy as np
import needle as ndl
from needle import nn
from tests.compiler.scenarios import calls, numbers, same_bits, set_to


SCALE = 2.0


MODE = "plus"


LAYERS = [1.0, 2.0]


TABLE = {"scale": 2.0}


ENABLED = {"plus"}


BY_PAIR = {(0, 1): 2.0}


LONG = [1.0] * 1001


HISTORY = collections.deque([2.0])


ARGUMENTS = argparse.Namespace(scale=2.0)


ARRAY = np.array([2.0, 3.0, 4.0], np.float32)


@same_bits
def test_a_global_number(jit, see):
    globals()["SCALE"] = 2.0
    calls(jit(lambda x: x * SCALE), see, set_to(globals(), "SCALE", 3.0))


@same_bits
def test_a_global_number_changes_its_type(jit, see):
    globals()["SCALE"] = 1
    f = jit(lambda x: x.astype("int32") + SCALE)
    calls(f, see, set_to(globals(), "SCALE", 1.0))
    calls(f, see, set_to(globals(), "SCALE", True))


@same_bits
def test_a_global_number_becomes_minus_zero(jit, see):
    globals()["SCALE"] = 0.0
    calls(jit(lambda x: x * SCALE), see, set_to(globals(), "SCALE", -0.0))


@same_bits
def test_a_global_string(jit, see):
    globals()["MODE"] = "plus"
    calls(jit(lambda x: x + 1 if MODE == "plus" else x - 1), see, set_to(globals(), "MODE", "minus"))


@same_bits
def test_an_entry_of_a_list(jit, see):
    LAYERS[:] = [1.0, 2.0]
    calls(jit(lambda x: x * LAYERS[0] + LAYERS[1]), see, set_to(LAYERS, 1, 5.0))


@same_bits
def test_a_list_grows(jit, see):
    LAYERS[:] = [1.0, 2.0]

    def f(x):
        for layer in LAYERS:
            x = x * layer + 1
        return x

    calls(jit(f), see, lambda: LAYERS.append(3.0))


@same_bits
def test_an_entry_of_a_long_list(jit, see):
    LONG[:] = [1.0] * 1001
    calls(jit(lambda x: x * LONG[1000]), see, set_to(LONG, 1000, 5.0))


@same_bits
def test_an_entry_of_a_dict(jit, see):
    TABLE["scale"] = 2.0
    calls(jit(lambda x: x * TABLE["scale"]), see, set_to(TABLE, "scale", 3.0))


@same_bits
def test_an_entry_of_a_dict_whose_keys_are_tuples(jit, see):
    BY_PAIR[0, 1] = 2.0
    calls(jit(lambda x: x * BY_PAIR[0, 1]), see, set_to(BY_PAIR, (0, 1), 3.0))


@same_bits
def test_the_order_of_a_dict(jit, see):
    parts = {"a": numbers(2, seed=8), "b": numbers(2, seed=9)}

    def reorder():
        parts["a"] = parts.pop("a")

    calls(jit(lambda x: ndl.concatenate([x, *parts.values()], 0)), see, reorder)


@same_bits
def test_a_set(jit, see):
    ENABLED.add("plus")
    calls(jit(lambda x: x + 1 if "plus" in ENABLED else x), see, ENABLED.clear)


@same_bits
def test_a_deque(jit, see):
    HISTORY[0] = 2.0
    calls(jit(lambda x: x * HISTORY[0]), see, lambda: HISTORY.appendleft(3.0))


@same_bits
def test_an_option_of_the_command_line(jit, see):
    ARGUMENTS.scale = 2.0
    calls(jit(lambda x: x * ARGUMENTS.scale), see, set_to(ARGUMENTS, "scale", 3.0))


@same_bits
def test_a_module_that_is_imported_inside(jit, see):
    from tests.compiler import constants

    constants.SCALE = 2.0

    def f(x):
        from tests.compiler import constants

        return x * constants.SCALE

    calls(jit(f), see, set_to(constants, "SCALE", 3.0))


@same_bits
def test_a_whole_module_is_replaced(jit, see):
    layers = {"layer": nn.Linear(3, 2)}
    calls(jit(lambda x: layers["layer"](x.reshape(1, 3))), see, lambda: layers.update(layer=nn.Linear(3, 4)))


@same_bits
def test_a_numpy_array_becomes_a_tensor(jit, see):
    ARRAY[:] = 2.0
    calls(jit(lambda x: x * ndl.Tensor(ARRAY)), see, lambda: ARRAY.fill(3.0))


@same_bits
def test_a_numpy_array_beside_a_tensor(jit, see):
    ARRAY[:] = 2.0
    calls(jit(lambda x: x * ARRAY), see, lambda: ARRAY.fill(3.0))


@same_bits
def test_an_element_of_a_numpy_array(jit, see):
    ARRAY[:] = 2.0
    calls(jit(lambda x: x * ARRAY[1]), see, lambda: ARRAY.fill(3.0))


@same_bits
def test_a_tensor_of_arithmetic_with_a_numpy_array(jit, see):
    ARRAY[:] = 2.0
    calls(jit(lambda x: x * ndl.Tensor(ARRAY * 2)), see, lambda: ARRAY.fill(3.0))


@same_bits
def test_a_view_of_a_numpy_array(jit, see):
    ARRAY[:] = 2.0
    calls(jit(lambda x: x * ndl.Tensor(ARRAY[:1])), see, lambda: ARRAY.fill(3.0))


@same_bits
def test_a_branch_on_a_numpy_array(jit, see):
    ARRAY[:] = 2.0
    calls(jit(lambda x: x * 2 if ARRAY.max() > 2.5 else x), see, lambda: ARRAY.fill(3.0))


@same_bits
def test_a_tensor_of_a_list(jit, see):
    LAYERS[:] = [1.0, 2.0, 3.0]
    calls(jit(lambda x: x * ndl.Tensor(LAYERS)), see, set_to(LAYERS, 1, 5.0))

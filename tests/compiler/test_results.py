"""Results: what a function may return, and that later calls leave earlier results alone."""

import collections
import numpy as np
import pytest
import needle as ndl
from needle import nn, optim
from needle.errors import GradientError, JitError
from tests.compiler.scenarios import numbers, refused, same_bits


Pair = collections.namedtuple("Pair", "a b")


@same_bits
def test_results_of_earlier_calls_do_not_change(jit, see):
    f = jit(lambda x: (x * 2, (x * 3)[1:], x.sum()))
    held = [f(numbers(4, seed=i)) for i in range(8)]
    see(held)


@same_bits
def test_gradients_of_earlier_calls_do_not_change(jit, see):
    linear = nn.Linear(3, 2)

    def step(x):
        linear.weight.grad = linear.bias.grad = None
        (linear(x) ** 2).sum().backward()

    step, held = jit(step), []
    for i in range(8):
        step(numbers(4, 3, seed=i))
        held.append((linear.weight.grad, linear.bias.grad))
    see(held)


@same_bits
def test_an_argument_is_returned(jit, see):
    f = jit(lambda x, y: [x, x * 2, y, x])
    for i in range(6):
        x, y = numbers(3, seed=i), numbers(3, seed=i + 9)
        result = f(x, y)
        see(result, result[0] is x, result[2] is y, result[3] is x)


@same_bits
def test_a_parameter_is_returned(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: (linear.weight, linear(x)))
    for i in range(8):
        weight, y = f(numbers(4, 3, seed=i))
        see(weight, y, weight is linear.weight)
        linear.weight.cached_data[...] = float(i)


@same_bits
def test_a_parameter_that_the_function_updates_is_returned(jit, see):
    linear = nn.Linear(3, 2)
    optimizer = optim.SGD(linear.parameters(), lr=0.1)

    def step(x):
        optimizer.reset_grad()
        (linear(x) ** 2).sum().backward()
        optimizer.step()
        return linear.weight

    step = jit(step)
    for i in range(8):
        see(step(numbers(4, 3, seed=i)) is linear.weight, linear.weight)


@same_bits
def test_a_copy_of_a_parameter_is_returned(jit, see):
    w = ndl.Parameter(numbers(3))

    def f(x):
        before = w.detach() * 1
        w.data = w.detach() + x
        return before

    f = jit(f)
    held = [f(numbers(3, seed=i)) for i in range(8)]
    see(held, w)


@same_bits
def test_a_view_of_a_parameter_is_returned(jit, see):
    w = ndl.Parameter(numbers(4))
    f = jit(lambda x: (w.detach()[1:], x + w))
    for i in range(8):
        view, y = f(numbers(4, seed=i))
        w.cached_data[...] = float(i)
        see(view, y)


@same_bits
def test_a_view_of_an_argument_is_returned(jit, see):
    f = jit(lambda x: (x.detach()[1:], x.reshape(2, 2), x * 2))
    for i in range(8):
        x = numbers(4, seed=i)
        views = f(x)
        x.cached_data[...] = float(i)
        see(views)


@same_bits
def test_results_that_are_views_of_one_another(jit, see):
    def f(x):
        y = (x * 2).detach()
        return y, y[1:], y.reshape(2, 2).transpose()

    f = jit(f)
    for i in range(8):
        y, part, turned = f(numbers(4, seed=i))
        y.cached_data[...] = float(i)
        see(y, part, turned)


@same_bits
def test_the_same_tensor_twice(jit, see):
    def f(x):
        y = x * 2
        return y, [y]

    f = jit(f)
    for i in range(6):
        y, [z] = f(numbers(4, seed=i))
        y.cached_data[...] = float(i)
        see(y, z, y is z)


@same_bits
def test_an_ordered_dict(jit, see):
    f = jit(lambda x: collections.OrderedDict(b=x * 2, a=x))
    for i in range(6):
        see(f(numbers(3, seed=i)))


@refused("returns a defaultdict")
def test_a_dict_of_another_type(jit, see):
    f = jit(lambda x: collections.defaultdict(list, a=x * 3))
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_named_tuples_and_empty_trees(jit, see):
    f = jit(lambda x: Pair(x * 2, {"none": None, "empty": ((), [], {}), "text": "a", "number": 1.5}))
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_a_list_that_is_returned_is_new(jit, see):
    f = jit(lambda x: [x * 2, 3])
    for i in range(6):
        result = f(numbers(3, seed=i))
        see(result)
        result.append(4)


@same_bits
def test_nothing_is_returned(jit, see):
    total = numbers(3)

    def f(x):
        total.data = total + x

    f = jit(f)
    for i in range(6):
        see(f(numbers(3, seed=i)), total)


@same_bits
def test_a_parameter_that_is_made_inside(jit, see):
    f = jit(lambda x: ndl.Parameter(x * 2))
    for i in range(6):
        see(f(numbers(3, seed=i)))


@same_bits
def test_results_require_gradients_as_without(jit, see):
    linear = nn.Linear(3, 2)
    f = jit(lambda x: (linear(x), linear(x).detach(), x * 2))
    for i in range(6):
        see([y.requires_grad for y in f(numbers(4, 3, seed=i))])


@same_bits
def test_a_result_may_change_in_place(jit, see):
    f = jit(lambda x: x * 2)
    for i in range(6):
        y = f(numbers(3, seed=i))
        y.cached_data[...] = 0.0
        see(y, f(numbers(3, seed=i)))


@same_bits
def test_constant_tensors(jit, see):
    f = jit(lambda: (ndl.Tensor([1.0, 2.0]), ndl.zeros_like(ndl.Tensor([[1.0]])), ndl.init.ones(2, 2)))
    for _ in range(6):
        result = f()
        see(result)
        result[0].cached_data[...] = 5.0


@same_bits
def test_functions_without_tensors(jit, see):
    f = jit(lambda a, b=2: {"sum": a + b, "text": str(a)})
    for i in range(9):
        see(f(i % 3), f(i % 2, b=i % 2))


@same_bits
def test_ndarrays(jit, see):
    f = jit(lambda x: (x * 2, x[1:]))
    for i in range(6):
        see(f(numbers(3, seed=i).cached_data))


@pytest.mark.parametrize(
    "result",
    [
        lambda x: {1.5, 2.5},
        lambda x: (y for y in [x]),
        lambda x: nn.ReLU(),
        lambda x: object(),
        lambda x: np.ones(3),
    ],
    ids=["set", "generator", "module", "object", "ndarray"],
)
def test_a_result_that_is_no_tree(result):
    f = ndl.jit(lambda x: [x * 2, result(x)])
    for i in range(3):
        with pytest.raises(JitError, match="returns .*expected Tensors and plain values"):
            f(numbers(3, seed=i))


def test_a_backward_pass_through_a_result_says_that_it_has_no_graph():
    linear = nn.Linear(3, 2)
    f = ndl.jit(lambda x: linear(x))
    for i in range(5):
        with pytest.raises(GradientError, match="result of a function of ndl.jit"):
            (f(numbers(4, 3, seed=i)) * 2).sum().backward()

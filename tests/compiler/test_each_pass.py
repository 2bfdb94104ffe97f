"""Each pass does what it is for. test_passes.py and test_random_programs.py hold that it leaves the bits alone."""

import pytest

import needle as ndl
from needle import nn, ops


def calls(monkeypatch, function, *shapes, passes=""):
    """The kernels that the program of a function calls with these passes."""
    monkeypatch.setenv("NEEDLE_JIT_PASSES", passes)
    jitted = ndl.jit(function)
    for _ in range(3):
        jitted(*(ndl.Tensor(ndl.default_device().ones(*shape), requires_grad=False) for shape in shapes))
    assert jitted.stats["replays"] == 1
    return [call.kernel for call in jitted.program().calls]


def test_dead_calls(monkeypatch):
    def f(x):
        ops.exp(ops.tanh(x))
        return x + 1

    assert calls(monkeypatch, f, (3,)) == ["tanh", "exp", "add"]
    assert calls(monkeypatch, f, (3,), passes="dead_calls") == ["add"]


def test_a_call_that_checks_its_operands_is_not_dead(monkeypatch):
    table = ndl.Tensor([[1.0], [2.0]])

    def f(x):
        ops.gather(table, x.astype("int64"))
        return x + 1

    assert "gather" in calls(monkeypatch, f, (1,), passes="dead_calls")


def test_repeated_calls(monkeypatch):
    def f(x, y):
        return ops.exp(x) * y + ops.exp(x) * y

    assert calls(monkeypatch, f, (3,), (3,)) == ["exp", "multiply", "exp", "multiply", "add"]
    assert calls(monkeypatch, f, (3,), (3,), passes="repeated_calls") == ["exp", "multiply", "add"]


def test_random_numbers_are_not_repeated(monkeypatch):
    def f(x):
        return ops.dropout(x, 0.5) + ops.dropout(x, 0.5)

    names = calls(monkeypatch, f, (3,), passes="repeated_calls,constants")
    assert names.count("random_dropout_mask") == 2


def test_results_have_memory_of_their_own(monkeypatch):
    names = calls(monkeypatch, lambda x: (ops.exp(x), ops.exp(x)), (3,), passes="repeated_calls")
    assert names == ["exp", "exp"]


def test_constants(monkeypatch):
    def f(x):
        return x + ops.exp(ndl.Tensor([1.0, 2.0, 3.0]) * 2)

    assert calls(monkeypatch, f, (3,)) == ["copy", "multiply", "exp", "add"]
    assert calls(monkeypatch, f, (3,), passes="constants") == ["add"]


def test_relu_becomes_part_of_a_linear_layer(monkeypatch):
    layer = nn.Linear(3, 2)
    assert calls(monkeypatch, lambda x: ops.relu(layer(x)), (4, 3)) == ["linear", "relu"]
    assert calls(monkeypatch, lambda x: ops.relu(layer(x)), (4, 3), passes="relu") == ["linear"]

    def both(x):
        y = layer(x)
        return ops.relu(y), y

    assert calls(monkeypatch, both, (4, 3), passes="relu") == ["linear", "relu"]


def test_fusion(monkeypatch):
    def chain(x, y):
        return ops.tanh(x * y + 1) - y

    assert calls(monkeypatch, chain, (3,), (3,)) == ["multiply", "add", "tanh", "subtract"]
    assert calls(monkeypatch, chain, (3,), (3,), passes="fusion") == ["fused"]

    def around_a_product(x, y):
        return ops.exp((x * 2 + 1) @ y) * 3 - x

    names = calls(monkeypatch, around_a_product, (4, 4), (4, 4), passes="fusion")
    assert names == ["fused", "matmul", "fused"]


def test_fusion_ends_in_a_sum(monkeypatch):
    def squares(x, y):
        return ((x - y) * (x - y)).sum(1)

    names = calls(monkeypatch, squares, (4, 5), (4, 5), passes="repeated_calls,fusion")
    assert names == ["fused_sum"]

    def with_a_product_before_the_sum(x, y):
        z = ops.exp(x * 2)
        return z @ y, z.sum(0)

    names = calls(monkeypatch, with_a_product_before_the_sum, (4, 4), (4, 4), passes="fusion")
    assert names == ["fused_sum", "matmul"]


def test_a_sum_of_what_changes_before_it_is_left_alone(monkeypatch):
    def f(x, y):
        z = x * 2 + 1
        product = z @ y
        z.cached_data[...] = product.cached_data
        return z.sum()

    names = calls(monkeypatch, f, (4, 4), (4, 4), passes="fusion")
    assert names == ["fused", "matmul", "copy", "sum"]


def test_a_sum_of_a_permuted_result_keeps_the_order_of_its_memory(monkeypatch):
    names = calls(monkeypatch, lambda x: (x.permute((1, 0)) * 2 + 1).sum(0), (4, 3), passes="fusion")
    assert names == ["fused", "sum"]


def test_fusion_needs_no_more_memory(monkeypatch):
    """Step by step there are at most three arrays at a time, so no more than two products may wait for each other."""

    def f(x, y):
        total = x * 2
        for _ in range(4):
            total = total + x @ y
        return total

    names = calls(monkeypatch, f, (10, 10), (10, 10), passes="fusion")
    assert names == ["matmul", "matmul", "fused", "matmul", "add", "matmul", "add"]


def test_copies(monkeypatch):
    def both(x, y):
        return ops.stack([x * 2, ops.exp(y)], axis=1)

    assert calls(monkeypatch, both, (3,), (3,)) == ["multiply", "exp", "copy", "copy"]
    assert calls(monkeypatch, both, (3,), (3,), passes="copies") == ["multiply", "exp"]
    assert calls(monkeypatch, both, (3,), (3,), passes="copies,fusion") == ["fused"]


def test_copies_of_what_is_read_elsewhere_stay(monkeypatch):
    def f(x):
        y = x * 2
        return ops.stack([y, y], axis=0), y

    assert calls(monkeypatch, f, (3,), passes="copies") == ["multiply", "copy", "copy"]


def test_fusion_leaves_calls_of_other_shapes_apart(monkeypatch):
    names = calls(monkeypatch, lambda x, y: (x * 2, y * 2), (3,), (4,), passes="fusion")
    assert names == ["multiply", "multiply"]


def test_a_wrong_name_of_a_pass_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match="NEEDLE_JIT_PASSES.*expected names of"):
        calls(monkeypatch, lambda x: x + 1, (3,), passes="fusio")


def test_figures_before_and_after(monkeypatch):
    monkeypatch.delenv("NEEDLE_JIT_PASSES", raising=False)
    f = ndl.jit(lambda x: ops.tanh(x * 2) + 1)
    for _ in range(3):
        f(ndl.Tensor(ndl.default_device().ones(1024), requires_grad=False))
    assert (f.stats["calls before"], f.stats["calls"]) == (3, 1)
    assert (f.stats["bytes before"], f.stats["bytes"]) == (6 * 4096, 2 * 4096)
    assert (f.stats["peak memory before"], f.stats["peak memory"]) == (2 * 4096, 4096)

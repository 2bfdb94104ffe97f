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

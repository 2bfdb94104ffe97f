"""One function has one gradient: with the graph kept or freed, from the kernel or from the small operations."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from needle import ops
from needle.autograd import Op, Tensor, computing, gradients
from needle.backend_ndarray import array
from needle.backend_ndarray.dtype import FLOATING
from needle.ops.cast import widened
from needle.ops.fused import FusedOp
from tests.ops.gradient_cases import CASES
from tests.targets import on_every_target

random = np.random.default_rng(7)

# What is made of the normal numbers of a case.
VALUES = {
    "plain": lambda a: a,
    "ties": np.round,
    "close": lambda a: 0.5 + a * 1e-4,  # max pooling once took values closer than 1e-3 for equal
    "large": lambda a: a * 3e3,
    "small": lambda a: a * 1e-3,
    "specials": lambda a: np.where(random.random(a.shape) < 0.3, random.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], a.shape), a),
}  # fmt: skip


def leaves_of(arrays, values: str, dtype, device, strided: bool) -> list[Tensor]:
    """A leaf for each array, if strided one whose elements lie in another order and apart."""
    leaves = []
    for a in arrays:
        with np.errstate(all="ignore"):
            a = VALUES[values](a)
            if values == "large" and dtype == "float16":
                a = a / 30  # so that the states of a recurrent layer stay in its range
            a = np.asarray(a, dtype.numpy)
        if strided:
            apart = np.zeros((*a.shape[::-1], 2), dtype.numpy)
            apart[..., 1] = a.T
            base = array(apart, dtype, device)
            view = base[..., 1].permute(tuple(reversed(range(a.ndim)))) if a.ndim else base[1]
        else:
            view = array(a, dtype, device)
        leaves.append(Tensor.make_const(view, requires_grad=True))
    return leaves


def bits(tensor: Tensor | None):
    """The dtype and the bytes of a gradient, all NaNs alike."""
    if tensor is None:
        return None
    values = tensor.numpy()
    return (
        values.dtype.name,
        values.shape,
        np.where(values != values, np.asarray(np.nan, values.dtype), values).tobytes(),
    )


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", CASES)
def test_a_kept_graph_changes_no_gradient(name, dtype, device):
    if name == "cast" and dtype != "float64":
        pytest.skip("the case is of float64")
    function, *arrays = CASES[name]
    for values in VALUES:
        for strided in (False, True):
            leaves = leaves_of(arrays, values, dtype, device, strided)
            found = []
            for create_graph in (False, True):
                out = function(*leaves)
                out.backward(ops.ones_like(out), create_graph=create_graph)
                found.append([bits(leaf.grad) for leaf in leaves])
            assert found[0] == found[1], (values, strided)
            assert all(leaf.grad.dtype is dtype for leaf in leaves if leaf.grad is not None)


def fused_nodes(function, leaves) -> list:
    """The nodes of FusedOps that `function` makes, each with inputs of its own."""
    nodes, call = [], Op.__call__

    def noted(self, *inputs):
        node = call(self, *inputs)
        if isinstance(self, FusedOp):
            nodes.append(node)
        return node

    Op.__call__ = noted
    try:
        function(*leaves)
    finally:
        Op.__call__ = call
    return nodes


FUSED = [name for name, (function, *arrays) in CASES.items() if fused_nodes(function, [Tensor(a) for a in arrays])]


def test_there_are_fused_operations():
    assert len(FUSED) >= 12


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", FUSED)
def test_the_kernel_has_the_gradient_of_the_small_operations(name, dtype):
    """On every level and provider. The small operations work in float32 for half types, as the kernels do."""
    function, *arrays = CASES[name]
    eps = max(float(ml_dtypes.finfo(dtype.numpy).eps), 0 if dtype == "float64" else float(np.finfo(np.float32).eps))
    for target, device in on_every_target():
        for values in VALUES:
            for strided in (False, True):
                for node in fused_nodes(function, leaves_of(arrays, values, dtype, device, strided)):
                    compare_with_decomposed(node, eps, dtype, values, f"{target}, {values}, strided: {strided}")


def compare_with_decomposed(node, eps: float, dtype, values: str, where: str) -> None:
    out = list(node) if isinstance(node.cached_data, tuple) else [node]
    out_grads = [Tensor.make_const(array(random.normal(size=o.shape), dtype, o.device).astype(o.dtype)) for o in out]
    with computing(recording=False):
        fused = node.op.gradient_as_tuple(out_grads if len(out) > 1 else out_grads[0], node)
    wide = [ops.reshape(widened(value), value.shape) for value in node.inputs]
    results = node.op.decompose(*wide)
    decomposed = gradients(results, wide, out_grads if len(out) > 1 else out_grads[0])
    for index, (a, e) in enumerate(zip(fused, decomposed)):
        if a is None or not node.inputs[index].requires_grad:
            continue
        a, e = a.numpy().astype(np.float64), e.numpy().astype(np.float64)
        usual = np.abs(e[np.isfinite(e)]).max(initial=1.0)
        if values == "specials":  # an infinite number on the way may be a NaN on another
            a, e = (np.where(np.isfinite(x), x, np.nan) for x in (a, e))
        if values == "close" and "norm" in type(node.op).__name__.lower():  # what is left of 0.5 is 1e-4 of it
            usual *= 1e4
        np.testing.assert_allclose(
            a,
            e,
            rtol=40 * eps,
            atol=200 * eps * usual,
            equal_nan=True,
            err_msg=f"{type(node.op).__name__} {index}: {where}",
        )

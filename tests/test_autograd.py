"""The graph, the reverse sweep and what it keeps."""

import gc
import weakref

import numpy as np
import pytest

import needle as ndl
from needle import autograd, ops
from needle.autograd import Op, Parameter, Tensor, find_topo_sort, gradients, no_grad
from needle.backend_ndarray import cpu
from needle.backend_ndarray.elementwise import add_to
from needle.errors import GradientError, ShapeError


def test_topological_order_is_depth_first_post_order(device):
    a, b = Tensor([1.0], device=device), Tensor([2.0], device=device)
    c = a * b
    d = c + a
    assert [id(node) for node in find_topo_sort([d])] == [id(a), id(b), id(c), id(d)]


def test_gradient_of_a_gradient_as_in_the_course(device):
    x2, x3 = Tensor([6], device=device), Tensor([0], device=device)
    y = x2 * x2 + x2 * x3
    y.backward()
    grad_x2, grad_x3 = x2.grad, x3.grad
    assert (grad_x2.item(), grad_x3.item()) == (12, 6)
    grad_x2.backward()
    assert (x2.grad.item(), x3.grad.item()) == (2, 1)
    grad_x3.backward()
    assert x2.grad.item() == 1


def test_a_value_used_many_times(device):
    x = Tensor([3.0], device=device)
    (x + x + x * x + x).backward()
    assert x.grad.item() == 9


def test_adjoints_that_are_shared_are_not_added_to_in_place(device):
    """out_grad goes to both operands of an addition; adding to one of them must leave the other alone."""
    for create_graph in (False, True):
        x, y = Tensor([1.0], device=device), Tensor([1.0], device=device)
        a = x * 2
        b = y * 3
        ((a + b) + a + a).backward(create_graph=create_graph)
        assert (x.grad.item(), y.grad.item()) == (6, 3)


def test_out_grad_is_not_changed(device):
    x = Tensor([1.0, 2.0], device=device)
    out_grad = Tensor([1.0, 10.0], device=device)
    (x + x).backward(out_grad)
    np.testing.assert_array_equal(x.grad.numpy(), [2, 20])
    np.testing.assert_array_equal(out_grad.numpy(), [1, 10])


def test_a_second_backward_replaces_the_gradient(device):
    x = Tensor([2.0], device=device)
    for _ in range(2):
        (x * 3).backward()
    assert x.grad.item() == 3


def test_a_graph_that_depends_on_data(device):
    for sign in (1, -1):
        x = Tensor([2.0 * sign], device=device)
        y = x * x if x.sum() > 0 else x * 5
        y.backward()
        assert x.grad.item() == (4 if sign > 0 else 5)


def test_deep_graphs_do_not_recurse(device):
    x = y = Tensor([1.0], device=device)
    for _ in range(5000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1


def test_no_grad_records_nothing(device):
    x = Tensor([1.0], device=device)
    with no_grad():
        y = x * 2
    assert not y.requires_grad and y.op is None and y.inputs == ()

    @no_grad()
    def double(tensor):
        return tensor * 2

    assert not double(x).requires_grad
    assert (x * 2).requires_grad


def test_detach_cuts_the_graph(device):
    x = Tensor([3.0], device=device)
    (x * x.detach()).backward()
    assert x.grad.item() == 3


def test_what_needs_no_gradient_gets_none(device):
    x, c = Tensor([1.0], device=device), Tensor([2.0], device=device, requires_grad=False)
    (x * c).backward()
    assert c.grad is None and x.grad.item() == 2
    with pytest.raises(GradientError, match="requires a gradient"):
        (c * 2).backward()


def test_out_grad_of_another_shape(device):
    with pytest.raises(ShapeError, match=r"out_grad of shape \(3,\): expected \(2,\)"):
        Tensor([1.0, 2.0], device=device).backward(Tensor([1.0, 1.0, 1.0], device=device))


def test_a_training_step_frees_its_graph_as_it_goes(device):
    w = Parameter(Tensor([2.0], device=device))
    hidden = w * 3
    freed = weakref.ref(hidden)
    loss = hidden * hidden
    del hidden
    loss.backward()
    gc.collect()
    assert freed() is None and w.grad.item() == 36 and w.grad.op is None
    with pytest.raises(GradientError, match="create_graph=True"):
        loss.backward()


def bytes_in_use():
    gc.collect()
    return ndl.memory_stats(cpu())["current"]


class Probe(Op):
    """The identity, which notes how much memory is in use when the backward pass reaches it."""

    def compute(self, a):
        return a

    def gradient(self, out_grad, node):
        self.bytes = bytes_in_use()
        return out_grad


def test_a_backward_pass_lets_activations_go_as_it_passes():
    nbytes, layers, probe = 4 << 16, 20, Probe()
    w = Parameter(np.ones(1 << 16), device=cpu())
    before = bytes_in_use()
    x = probe(w)
    for _ in range(layers):
        x = ops.tanh(x)
    loss = x.sum()
    del x
    assert bytes_in_use() >= before + nbytes * layers
    loss.backward()
    assert probe.bytes <= before + nbytes * 3  # of the 20 activations the last one, and adjoints


def test_adjoints_are_added_up_in_place(device, monkeypatch):
    """The first sum is a new array, as its terms may be in use elsewhere; the others are added to that one."""
    w, sums = Parameter(np.ones(3), device=device), []
    monkeypatch.setattr(autograd, "add_to", lambda total, term: (sums.append(total), add_to(total, term)))
    sum([w * 2.0 for _ in range(20)], w * 2.0).sum().backward()
    assert len(sums) == 19 and len({id(total.buffer) for total in sums}) == 1
    np.testing.assert_array_equal(w.grad.numpy(), [42, 42, 42])


def test_create_graph_keeps_it(device):
    w = Parameter(Tensor([2.0], device=device))
    loss = w * w * w
    loss.backward(create_graph=True)
    w.grad.backward(create_graph=True)
    assert w.grad.item() == 12
    loss.backward()
    assert w.grad.item() == 12


@pytest.mark.parametrize(
    ("leaves", "create_graph", "is_kept"),
    [
        ((Tensor,), None, True),
        ((Tensor, Parameter), None, False),
        ((Tensor,), False, False),
        ((Tensor, Parameter), True, True),
    ],
)
def test_the_graph_is_kept_unless_the_pass_reaches_a_parameter(leaves, create_graph, is_kept, device):
    a, b = (kind([3.0], device=device) for kind in (leaves[0], leaves[-1]))
    middle = a * b
    out = middle * middle
    out.backward(create_graph=create_graph)
    assert a.grad.item() == 54 and (a.grad.op is not None) == (middle.grad is not None) == is_kept
    if is_kept:
        out.backward(create_graph=create_graph)
        return
    expected = "an earlier backward pass freed this graph: expected create_graph=True in that pass, to keep it"
    with pytest.raises(GradientError, match=expected):
        out.backward()


def test_a_parameter_that_requires_no_gradient_is_not_reached(device):
    x, frozen = Tensor([3.0], device=device), Parameter([2.0], device=device, requires_grad=False)
    (x * x * frozen).backward()
    x.grad.backward()
    assert x.grad.item() == 4


def test_gradients_touches_no_grad(device):
    x, y = Tensor([3.0], device=device), Tensor([4.0], device=device)
    unrelated = Tensor([1.0], device=device)
    dx, dy, none = gradients(x * x * y, [x, y, unrelated])
    assert (dx.item(), dy.item(), none, x.grad) == (24, 9, None, None)


def test_split_with_unused_results(device):
    x = Tensor(np.arange(6.0).reshape(3, 2), device=device)
    parts = ops.split(x)
    assert len(parts) == 3 and [part.shape for part in parts] == [(2,)] * 3
    (parts[1] * 5 + parts[1]).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0], [6, 6], [0, 0]])


def test_gradient_as_tuple(device):
    x = Tensor([1.0, 2.0], device=device)
    y = ops.exp(x)
    (grad,) = y.op.gradient_as_tuple(Tensor([1.0, 1.0], device=device), y)
    np.testing.assert_allclose(grad.numpy(), np.exp([1, 2]), rtol=1e-6)


def test_tensor_facts_and_conversions(device):
    x = Tensor([[1, 2], [3, 4]], device=device)
    assert (x.shape, x.ndim, x.size, x.dtype, x.device, len(x)) == ((2, 2), 2, 4, "int64", device, 2)
    assert Tensor(x, dtype="float64").dtype == "float64"
    assert float(Tensor(2.5, device=device)) == 2.5 and int(Tensor(2, device=device)) == 2
    assert [row.numpy().tolist() for row in x] == [[1, 2], [3, 4]]
    assert "[[1 2]" in repr(x) and repr(device) in repr(x)
    np.testing.assert_array_equal((x @ x.T).numpy(), [[5, 11], [11, 25]])
    with pytest.raises(ShapeError):
        bool(x)


def test_data_assignment(device):
    x = Tensor([1.0, 2.0], device=device)
    x.data = x.data - 0.5 * x.data
    np.testing.assert_array_equal(x.numpy(), [0.5, 1])
    assert x.requires_grad and x.is_leaf()
    with pytest.raises(ShapeError, match=r"expected \(2,\)"):
        x.data = Tensor([1.0], device=device)


def test_numpy_operands(device):
    x = Tensor([1.0, 2.0], device=device)
    y = np.array([3.0, 4.0]) * x + np.float32(1)
    y.backward()
    np.testing.assert_array_equal(y.numpy(), [4, 9])
    np.testing.assert_array_equal(x.grad.numpy(), [3, 4])

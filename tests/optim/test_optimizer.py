"""What all optimizers share: the parameters they take, gradient clipping, saving."""

from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import cpu, cpu_numpy
from needle.config import memory_stats, reset_peak_memory
from needle.errors import CheckpointError, DeviceError, DTypeError, ShapeError
from needle.optim import SGD, Adam, AdamW, Optimizer

MAKE = {
    "SGD": SGD,
    "SGD, momentum": lambda params, **options: SGD(params, momentum=0.9, **options),
    "Adam": Adam,
    "AdamW": AdamW,
}


def parameters(device=None, dtype="float32", shapes=((3, 2), (4,), (2,))):
    """Random parameters with random gradients."""
    params = [Parameter(np.random.randn(*shape), device=device, dtype=dtype) for shape in shapes]
    for parameter in params:
        parameter.grad = Tensor(np.random.randn(*parameter.shape), device=device, dtype=dtype)
    return params


@pytest.mark.parametrize("name", MAKE)
def test_a_parameter_without_gradient_stays(name, device):
    params = parameters(device)
    params[1].grad = None
    before = [parameter.numpy() for parameter in params]
    optimizer = MAKE[name](params)
    optimizer.step()
    changed = [(parameter.numpy() != value).any() for parameter, value in zip(params, before)]
    assert changed == [True, False, True] and optimizer.steps == [1, 0, 1]


@pytest.mark.parametrize("name", MAKE)
def test_a_quadratic_is_minimized(name, device):
    """f(x) = sum(curvature * (x - target)^2) / 2"""
    target, curvature = np.random.randn(5), np.array([0.5, 1, 2, 3, 4])
    x = Parameter(np.zeros(5), device=device, dtype="float64")
    optimizer = MAKE[name]([x], lr=0.1, weight_decay=0)
    for _ in range(400):
        x.grad = Tensor(curvature * (x.numpy() - target), device=device, dtype="float64")
        optimizer.step()
    np.testing.assert_allclose(x.numpy(), target, atol=1e-3)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_updates_happen_in_place_and_keep_the_dtype(name, dtype, device):
    params = parameters(device, dtype)
    arrays = [parameter.cached_data for parameter in params]
    before = [parameter.numpy() for parameter in params]
    MAKE[name](params).step()
    for parameter, array, value in zip(params, arrays, before):
        assert parameter.cached_data is array and parameter.dtype == dtype
        assert (parameter.numpy() != value).any()


@pytest.mark.parametrize("name", MAKE)
def test_a_step_allocates_nothing_but_its_moments_at_first(name):
    params = parameters(cpu(), shapes=[(1 << 14,)] * 5)
    optimizer = MAKE[name](params)
    optimizer.step()
    reset_peak_memory(cpu())
    before = memory_stats(cpu())["current"]
    optimizer.step()
    assert memory_stats(cpu())["peak"] == memory_stats(cpu())["current"] == before


def test_all_parameters_of_a_kind_are_updated_by_one_call(device, monkeypatch):
    params = parameters(device) + parameters(device, "float64") + parameters(device)
    optimizer, calls = Adam(params), []
    update = optimizer.update
    monkeypatch.setattr(optimizer, "update", lambda *args: (calls.append((len(args[0]), args[3])), update(*args)))
    for parameter in params[6:]:
        parameter.grad, late = None, parameter.grad
    optimizer.step()
    params[8].grad = late
    optimizer.step()
    assert calls == [(3, 1), (3, 1), (3, 2), (3, 2), (1, 1)]
    assert optimizer.steps == [2] * 6 + [0, 0, 1]


@pytest.mark.parametrize("name", MAKE)
def test_parameters_that_share_memory_are_updated_one_after_another(name, device):
    whole = Tensor(np.ones(6), device=device, dtype="float64")
    params = [Parameter(np.zeros(4), device=device, dtype="float64") for _ in range(2)]
    alone = Parameter(np.ones(6), device=device, dtype="float64")
    params[0].data, params[1].data = whole[:4], whole[2:]
    grad = np.random.randn(6)
    for parameter, part in zip(params, (grad[:4], grad[2:])):
        parameter.grad = Tensor(part, device=device, dtype="float64")
    MAKE[name](params, weight_decay=0).step()
    for first, last in ((0, 4), (2, 6)):
        part = np.zeros(6)
        part[first:last] = grad[first:last]
        alone.grad = Tensor(part, device=device, dtype="float64")
        MAKE[name]([alone], weight_decay=0).step()
    np.testing.assert_allclose(whole.numpy(), alone.numpy(), rtol=1e-12)


def test_a_gradient_that_is_refused_changes_no_parameter(device):
    params = parameters(device)
    before = [parameter.numpy() for parameter in params]
    params[2].grad = Tensor(np.ones(3), device=device)
    optimizer = Adam(params)
    with pytest.raises(ShapeError, match=r"params\[2\]"):
        optimizer.step()
    assert optimizer.steps == [0, 0, 0]
    for parameter, value in zip(params, before):
        np.testing.assert_array_equal(parameter.numpy(), value)


def test_a_gradient_of_another_dtype_is_converted(device):
    x = Parameter(np.zeros(2), device=device)
    x.grad = Tensor([1.0, 2.0], device=device, dtype="float64")
    SGD([x], lr=1).step()
    np.testing.assert_array_equal(x.numpy(), np.float32([-1, -2]))


def test_gradients_are_forgotten():
    for method in ("reset_grad", "zero_grad"):
        params = parameters()
        getattr(SGD(params), method)()
        assert [parameter.grad for parameter in params] == [None] * 3


def test_params_may_be_a_generator_and_name_a_parameter_twice(device):
    x = Parameter([1.0], device=device)
    x.grad = Tensor([1.0], device=device)
    optimizer = SGD((parameter for parameter in (x, x)), lr=0.5)
    optimizer.step()
    assert len(optimizer.params) == 1 and x.item() == 0.5


@pytest.mark.parametrize(
    "params, error, message",
    [
        ([], ValueError, r"SGD: no parameters: expected .* model.parameters\(\)"),
        (Parameter([1.0]), TypeError, "SGD: params of type Parameter: expected an iterable"),
        (nn.Linear(2, 2), TypeError, "SGD: params of type Linear: expected an iterable"),
        ({"x": Parameter([1.0])}, TypeError, "SGD: params of type dict: expected an iterable"),
        ([Parameter([1.0]), "x"], TypeError, r"SGD: params\[1\] is a str: expected"),
        ([Tensor([1.0], requires_grad=False)], ValueError, r"params\[0\], of shape \(1,\), requires no gradient"),
        ([Parameter([1.0]) * 2], ValueError, r"params\[0\], of shape \(1,\), is the result of an operation"),
        ([Parameter([1, 2])], DTypeError, r"SGD: params\[0\] of dtype int64: expected a floating dtype"),
    ],
)
def test_parameters_that_cannot_be_optimized(params, error, message):
    with pytest.raises(error, match=message):
        SGD(params)


@pytest.mark.parametrize("lr", [-1, float("nan"), "fast", float("inf")])
def test_a_wrong_learning_rate(lr):
    with pytest.raises(ValueError, match=f"Adam: lr of {lr!r}: expected a number of 0 or more"):
        Adam(parameters(), lr=lr)


def test_gradients_that_do_not_fit(device):
    x = Parameter([1.0, 2.0], device=device)
    x.grad = Tensor([[1.0, 2.0]], device=device)
    with pytest.raises(ShapeError, match=r"SGD: params\[0\]: a gradient of shape \(1, 2\): expected \(2,\)"):
        SGD([x]).step()
    if device is not cpu_numpy():
        x.grad = Tensor([1.0, 2.0], device=cpu_numpy())
        with pytest.raises(DeviceError, match=r"params\[0\]: a gradient on cpu_numpy\(\): expected"):
            SGD([x]).step()
    np.testing.assert_array_equal(x.numpy(), [1, 2])


def test_a_subclass_defines_update():
    class Nothing(Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines no update"):
        Nothing(parameters(), 0.1).step()


# Clipping


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-6), ("float16", 2e-3)])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e3])
def test_clip_grad_norm(max_norm, dtype, tolerance, device):
    params = parameters(device, dtype)
    params[1].grad = None
    grads = [params[i].grad.numpy().astype(np.float64) for i in (0, 2)]
    norm = np.sqrt(sum((grad**2).sum() for grad in grads))
    met = SGD(params).clip_grad_norm(max_norm)
    assert met.shape == () and not met.requires_grad and params[1].grad is None
    np.testing.assert_allclose(float(met), norm, rtol=tolerance)
    for i, grad in zip((0, 2), grads):
        assert params[i].grad.dtype == dtype
        np.testing.assert_allclose(
            params[i].grad.numpy(), grad * min(1, max_norm / norm), rtol=tolerance, atol=1e-4 * max_norm
        )
    if max_norm == 1e3:
        for i, grad in zip((0, 2), grads):
            np.testing.assert_array_equal(params[i].grad.numpy(), grad.astype(dtype))


def test_clip_grad_norm_of_gradients_that_share_memory(device):
    """The gradients of a sum are one array for both operands, and that one is a broadcast view of a single 1."""
    a, b = Parameter(np.zeros((3, 4)), device=device), Parameter(np.zeros((3, 4)), device=device)
    (a + b).sum().backward()
    assert float(SGD([a, b]).clip_grad_norm(1.0)) == pytest.approx(np.sqrt(24), rel=1e-6)
    for parameter in (a, b):
        np.testing.assert_allclose(parameter.grad.numpy(), np.full((3, 4), 1 / np.sqrt(24)), rtol=1e-5)


def test_clip_grad_norm_changes_no_other_gradient(device):
    """Not that of a parameter which another optimizer has, nor one that is still to be differentiated."""
    a, b = Parameter(np.zeros(4), device=device), Parameter(np.zeros(4), device=device)
    x = Tensor(np.array([1.0, 2.0, 3.0, 4.0]), device=device, requires_grad=False)
    ((a + b) * x).sum().backward()
    SGD([a]).clip_grad_norm(1.0)
    np.testing.assert_array_equal(b.grad.numpy(), x.numpy())

    c = Parameter([2.0, 3.0], device=device)
    (c * c * c).sum().backward(create_graph=True)
    grad = c.grad
    SGD([c]).clip_grad_norm(1.0)
    np.testing.assert_array_equal(grad.numpy(), [12.0, 27.0])
    np.testing.assert_allclose(np.linalg.norm(c.grad.numpy()), 1.0, rtol=1e-5)


def test_clip_grad_norm_of_one_gradient_that_two_parameters_were_given(device):
    a, b = Parameter(np.zeros(2), device=device), Parameter(np.zeros(2), device=device)
    a.grad = b.grad = Tensor([3.0, 4.0], device=device)
    assert float(SGD([a, b]).clip_grad_norm(1.0)) == pytest.approx(np.sqrt(50), rel=1e-6)
    np.testing.assert_allclose(a.grad.numpy(), np.array([3.0, 4.0]) / np.sqrt(50), rtol=1e-5)


def test_clip_grad_norm_of_gradients_that_are_views_of_one_array(device):
    a, b, c = (Parameter(np.zeros(4), device=device) for _ in range(3))
    both = Tensor(np.full(8, 2.0), device=device, requires_grad=False)
    a.grad, b.grad, c.grad = both[:4], both[4:], both[0].broadcast_to(4)
    SGD([a, b, c]).clip_grad_norm(1.0)
    for parameter in (a, b, c):
        np.testing.assert_allclose(parameter.grad.numpy(), np.full(4, 1 / np.sqrt(12)), rtol=1e-5)


def test_clip_grad_norm_leaves_what_backward_was_given(device):
    a = Parameter(np.zeros(4), device=device)
    out_grad = Tensor(np.full((2, 2), 7.0), device=device)
    a.reshape((2, 2)).backward(out_grad)
    SGD([a]).clip_grad_norm(0.1)
    np.testing.assert_array_equal(out_grad.numpy(), np.full((2, 2), 7.0))


def test_clip_grad_norm_of_half_precision_does_not_overflow(device):
    x = Parameter(np.zeros(100), device=device, dtype="float16")
    x.grad = Tensor(np.full(100, 1000.0), device=device, dtype="float16")
    assert float(SGD([x]).clip_grad_norm(1.0)) == pytest.approx(1e4)
    np.testing.assert_allclose(x.grad.numpy(), np.full(100, 0.1), rtol=1e-3)


def test_clip_grad_norm_without_gradients():
    assert float(SGD([Parameter([1.0])]).clip_grad_norm(1.0)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clip_grad_norm_shows_what_is_not_finite(bad, device):
    x = Parameter([1.0, 2.0], device=device)
    x.grad = Tensor([bad, 1.0], device=device)
    norm = SGD([x]).clip_grad_norm(1.0)
    np.testing.assert_equal(float(norm), bad)
    assert not np.isfinite(x.grad.numpy()).all()


def test_clip_grad_norm_to_a_wrong_norm():
    with pytest.raises(ValueError, match="SGD: max_norm of -1: expected a number of 0 or more"):
        SGD(parameters()).clip_grad_norm(-1)


# Saving


def run(optimizer, grads):
    for step in grads:
        for parameter, grad in zip(optimizer.params, step):
            parameter.grad = None if grad is None else Tensor(grad, device=parameter.device, dtype=parameter.dtype)
        optimizer.step()


@pytest.mark.parametrize("name", MAKE)
def test_a_saved_optimizer_goes_on_with_the_same_bits(name, device):
    values = [np.random.randn(3, 2), np.random.randn(4)]
    grads = [[np.random.randn(3, 2), None if i < 2 else np.random.randn(4)] for i in range(6)]

    def make(values):
        return MAKE[name]([Parameter(value, device=device, dtype="float32") for value in values], lr=0.05)

    whole = make(values)
    run(whole, grads)
    for stop in (1, 3):  # the second parameter has been updated only after the later one
        first = make(values)
        run(first, grads[:stop])
        state = first.state_dict()
        second = make([parameter.numpy() for parameter in first.params])
        second.lr = 123.0
        second.load_state_dict(state)
        assert second.lr == 0.05 and second.steps == first.steps
        run(second, grads[stop:])
        for a, b in zip(whole.params, second.params):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_what_a_state_dict_holds(device):
    params = parameters(device)[:2]
    params[1].grad = None
    optimizer = Adam(params, lr=0.1)
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state) == ["lr", "steps", "first_moment.0", "second_moment.0"]
    assert state["lr"] == 0.1 and state["steps"] == [1, 0]
    np.testing.assert_allclose(state["first_moment.0"], 0.1 * params[0].grad.numpy(), rtol=1e-5)
    state["first_moment.0"][...] = 7
    assert optimizer.state_dict()["first_moment.0"].max() < 7


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda state: state.pop("second_moment.1"),
            "Adam.load_state_dict: missing second_moment.1: expected",
        ),
        (lambda state: state.update({"velocity.0": 1}), "load_state_dict: unexpected velocity.0: expected"),
        (lambda state: state.pop("lr"), "missing lr: expected"),
        (lambda state: state.pop("steps"), "steps of 0 parameters: expected 3"),
        (lambda state: state.update({"first_moment.1": np.zeros(5)}), r"first_moment.1: shape \(5,\): expected \(4,\)"),
    ],
)
def test_the_state_of_another_optimizer(change, message):
    params = parameters()
    optimizer = Adam(params)
    optimizer.step()
    before = optimizer.state_dict()
    state = {name: value if name == "steps" else value * 2 for name, value in before.items()}
    change(state)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", MAKE)
def test_an_infinite_parameter_stays_infinite_without_weight_decay(name, dtype, device):
    x = Parameter([np.inf, -np.inf, 1.0], device=device, dtype=dtype)
    optimizer = MAKE[name]([x], weight_decay=0.0)
    for _ in range(2):
        x.grad = Tensor([1.0, 1.0, 1.0], device=device, dtype=dtype)
        optimizer.step()
    assert x.numpy()[0] == np.inf and x.numpy()[1] == -np.inf and x.numpy()[2] <= 1

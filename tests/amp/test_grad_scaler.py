"""Loss scaling: how the scale grows and shrinks, which steps are skipped, and what goes on after a resumption."""

import copy
import functools
import math
import pickle

import numpy as np
import pytest

import needle as ndl
from needle import nn, ops
from needle.amp import GradScaler, autocast
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.pending_read import PendingRead
from needle.checkpoint import load_state, restore_training_state, save_state, training_state
from needle.errors import CheckpointError, DTypeError, GradientError


def parameter(grad, device=None) -> Parameter:
    made = Parameter(np.ones(len(grad)), device=device)
    made.grad = Tensor(grad, device=device)
    return made


def steps(scaler: GradScaler, *grads: float) -> list[float]:
    """The scale after a step with each of the gradients."""
    scales = []
    for grad in grads:
        scaler.step(ndl.optim.SGD([parameter([float(grad)])]))
        scaler.update()
        scales.append(scaler.get_scale())
    return scales


def test_the_scale_grows_after_good_steps_in_a_row_and_shrinks_after_one_that_is_not():
    scaler = GradScaler(init_scale=8.0, growth_interval=3)
    inf, nan = math.inf, math.nan
    assert steps(scaler, 1, 1, 1) == [8, 8, 16]
    assert steps(scaler, 1, 1, inf) == [16, 16, 8]
    assert steps(scaler, 1, 1, 1, 1, 1, 1) == [8, 8, 16, 16, 16, 32]
    assert steps(scaler, nan, -inf, 1) == [16, 8, 8]
    scaler = GradScaler(init_scale=10.0, growth_factor=3.0, backoff_factor=0.1, growth_interval=1)
    assert steps(scaler, 1, inf) == [30, pytest.approx(3)]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_step_is_skipped_whole(bad, device):
    good, other = parameter([1.0, 2.0], device), parameter([3.0, bad], device)
    optimizer = ndl.optim.Adam([good, other], lr=0.1)
    before = optimizer.state_dict()
    scaler = GradScaler()
    scaler.step(optimizer)
    assert optimizer.state_dict() == before  # no moments, no counted step
    assert good.numpy().tolist() == other.numpy().tolist() == [1, 1]
    scaler.update()
    other.grad = Tensor([3.0, 4.0], device=device)
    scaler.step(optimizer)
    assert optimizer.steps == [1, 1] and (good.numpy() < 1).all() and (other.numpy() < 1).all()


def test_gradients_are_unscaled_once(device):
    p = Parameter([1.0, 2.0], device=device)
    optimizer = ndl.optim.SGD([p], lr=1.0)
    scaler = GradScaler(init_scale=1024.0)
    scaled = scaler.scale((p * p).sum())
    assert scaled.item() == 1024 * 5
    scaled.backward()
    assert p.grad.numpy().tolist() == [2048, 4096]
    scaler.unscale_(optimizer)
    assert p.grad.numpy().tolist() == [2, 4]
    norm = optimizer.clip_grad_norm(1.0)
    assert norm.item() == pytest.approx(math.sqrt(20))
    scaler.step(optimizer)
    np.testing.assert_allclose(p.numpy(), [1 - 2 / math.sqrt(20), 2 - 4 / math.sqrt(20)], rtol=1e-5)


def test_a_gradient_that_others_hold_stays_as_it_is():
    p = Parameter([3.0])
    (p * p).sum().backward(create_graph=True)
    held = p.grad
    GradScaler(init_scale=2.0).unscale_(ndl.optim.SGD([p]))
    assert p.grad.item() == 3 and held.item() == 6


def test_clipping_after_an_overflow_leads_to_a_skipped_step():
    p = parameter([math.inf, 1.0])
    optimizer = ndl.optim.SGD([p])
    scaler = GradScaler()
    scaler.unscale_(optimizer)
    optimizer.clip_grad_norm(1.0)
    scaler.step(optimizer)
    scaler.update()
    assert p.numpy().tolist() == [1, 1] and scaler.get_scale() == 2.0**15


def test_two_optimizers_of_which_one_overflows():
    p, q = parameter([1.0]), parameter([math.nan])
    scaler = GradScaler()
    scaler.step(first := ndl.optim.SGD([p]))
    scaler.step(second := ndl.optim.SGD([q]))
    scaler.update()
    assert (first.steps, second.steps) == ([1], [0]) and scaler.get_scale() == 2.0**15


def test_nothing_waits_until_the_next_scale(device, monkeypatch):
    waits = []

    def watch(owner, name, is_wait):
        before = getattr(owner, name)

        def watched(value, *args):
            if is_wait(value):
                waits.append(name)
            return before(value, *args)

        monkeypatch.setattr(owner, name, watched)

    watch(PendingRead, "item", lambda pending: not pending.ready())
    for name in ("item", "numpy", "host_view", "__bool__", "__float__"):
        watch(NDArray, name, lambda array: not array.device.is_host)
    model = nn.Sequential(nn.Linear(4, 8, device=device), nn.ReLU(), nn.Linear(8, 2, device=device))
    x = Tensor(np.ones((3, 4)), device=device)
    optimizer, scaler = ndl.optim.Adam(model.parameters()), GradScaler(init_scale=256.0)
    for _ in range(3):
        optimizer.reset_grad()
        with autocast("float16"):
            loss = model(x).sum()
        scaled = scaler.scale(loss)
        waits.clear()
        scaled.backward()
        scaler.unscale_(optimizer)
        optimizer.clip_grad_norm(1.0)
        scaler.step(optimizer)
        scaler.update()
        assert waits == []
    assert scaler.get_scale() == 256 and optimizer.steps == [3] * 4


class OldSGD(ndl.optim.Optimizer):
    """Its `update` has no `only_if_finite`."""

    def update(self, parameters, grads, moments, step):
        for parameter, grad in zip(parameters, grads):
            parameter[...] = parameter - self.lr * grad


class OldStep(ndl.optim.SGD):
    def step(self):
        super().step()


class WrappedStep(ndl.optim.SGD):
    """It is said to have SGD's parameters, but has none."""

    @functools.wraps(ndl.optim.SGD.step)
    def step(self):
        super().step()


class OldUpdate(ndl.optim.Adam):
    """SGD, in a subclass whose base class supports the condition."""

    update = OldSGD.update


class CountsSteps:
    """A mixin, no Optimizer itself."""

    def step(self):
        super().step()


class MixedIn(CountsSteps, ndl.optim.SGD):
    pass


class StepWithoutSuper(ndl.optim.SGD):
    """It would ignore the condition."""

    def step(self):
        for p in self.params:
            p.data = p.detach() - self.lr * p.grad.detach()
        self.steps = [count + 1 for count in self.steps]


class StepOverOldUpdate(OldUpdate):
    """What it says is true of its `step`, but not of the `update` that it inherits."""

    supports_only_if_finite = True

    def step(self, only_if_finite=None):
        return super().step(only_if_finite)


class UpdateInItsPlace(ndl.optim.SGD):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        update = self.update
        self.update = lambda parameters, grads, moments, step: update(parameters, grads, moments, step)


class StepInItsPlace(ndl.optim.SGD):
    """As who counts the steps of an optimizer that exists already."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        step = self.step
        self.step = lambda: step()


class StepOfASchedule(ndl.optim.SGD):
    """PyTorch's schedules replace an optimizer's step in this way."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        step = self.step
        self.step = functools.wraps(step)(lambda *arguments, **settings: step(*arguments, **settings))


class SetsSteps(ndl.optim.SGD):
    def step(self, only_if_finite=None):
        self.steps = list(self.steps)
        return super().step(only_if_finite)


class SaysSo(SetsSteps):
    supports_only_if_finite = True
    step = SetsSteps.step


class Inherits(SaysSo):
    """It redefines neither."""


READ_BEFORE_THE_STEP = [
    OldSGD, OldStep, WrappedStep, OldUpdate, MixedIn, StepWithoutSuper, StepOverOldUpdate, UpdateInItsPlace,
    StepInItsPlace, StepOfASchedule, SetsSteps,
]  # fmt: skip
DECIDED_BY_THE_DEVICE = [ndl.optim.SGD, SaysSo, Inherits]


@pytest.mark.parametrize("kind", READ_BEFORE_THE_STEP + DECIDED_BY_THE_DEVICE)
def test_optimizers_of_all_kinds_skip(kind, device):
    p = parameter([1.0, math.nan], device)
    optimizer, scaler = kind([p], lr=0.5), GradScaler()
    for grad, value in (([1.0, math.nan], [1, 1]), ([1.0, 2.0], [0.5, 0]), ([math.inf, 1.0], [0.5, 0])):
        p.grad = Tensor(grad, device=device)
        scaler.scale(Tensor(1.0, device=device))
        p.grad = p.grad * scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        assert p.numpy().tolist() == value
    assert optimizer.steps == [1] and scaler.get_scale() == 2.0**14


@pytest.mark.parametrize("kind", [*READ_BEFORE_THE_STEP, *DECIDED_BY_THE_DEVICE, ndl.optim.Adam, ndl.optim.AdamW])
def test_who_decides_on_a_step(kind):
    optimizer, scaler = kind([parameter([1.0])], lr=0.5), GradScaler()
    step, conditions = optimizer.step, []

    def watched(only_if_finite=None):
        conditions.append(only_if_finite is not None)
        return step() if only_if_finite is None else step(only_if_finite)

    is_able = optimizer.can_step_only_if_finite()
    optimizer.step, optimizer.supports_only_if_finite = watched, is_able
    scaler.step(optimizer)
    assert conditions == [kind not in READ_BEFORE_THE_STEP]


def test_an_object_with_a_step_of_its_own_can_say_that_it_takes_the_condition(device):
    optimizer = UpdateInItsPlace([parameter([1.0], device)])
    assert not optimizer.can_step_only_if_finite()
    optimizer.update = functools.partial(ndl.optim.SGD.update, optimizer)
    optimizer.supports_only_if_finite = True
    assert optimizer.can_step_only_if_finite()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_parameters_of_other_dtypes(dtype, device):
    p = Parameter(np.ones(3), device=device, dtype=dtype)
    optimizer, scaler = ndl.optim.Adam([p], lr=0.5), GradScaler(init_scale=4.0)
    for grads in ([4.0, 4.0, math.inf], [4.0, 4.0, 4.0]):
        p.grad = Tensor(grads, device=device, dtype=dtype)
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.steps == [1] and scaler.get_scale() == 2 and (abs(p.numpy().astype(float) - 0.5) < 0.01).all()


def test_a_skipped_step_does_not_count_whoever_looks(device):
    """Adam's corrections depend on how many steps there were."""

    def trained(grads, look):
        p = Parameter(np.ones(2), device=device)
        optimizer, scaler = ndl.optim.Adam([p], lr=0.1), GradScaler(init_scale=1.0, growth_interval=100)
        for grad in grads:
            p.grad = Tensor([grad * scaler.get_scale(), 1.0 * scaler.get_scale()], device=device)
            scaler.step(optimizer)
            scaler.update()
            if look:
                assert optimizer.state_dict()["steps"] == optimizer.steps
        return p.numpy().tolist(), optimizer.steps

    whole = trained([2.0, 3.0, 4.0], look=False)
    assert trained([math.inf, 2.0, math.nan, math.nan, 3.0, 4.0, math.inf], look=False) == whole
    assert trained([math.inf, 2.0, math.nan, math.nan, 3.0, 4.0, math.inf], look=True) == whole


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda scaler: pickle.loads(pickle.dumps(scaler))])
def test_a_copy_knows_what_became_of_the_last_step(copied, device):
    p = parameter([math.nan], device)
    optimizer, scaler = ndl.optim.SGD([p]), GradScaler(init_scale=4.0)
    scaler.step(optimizer)
    scaler.update()
    assert copied(scaler).get_scale() == scaler.get_scale() == 2


def test_without_gradients_there_is_nothing_to_skip():
    scaler = GradScaler()
    scaler.step(ndl.optim.SGD([Parameter([1.0])]))
    scaler.update()
    assert scaler.get_scale() == 2.0**16


def test_not_enabled_it_is_a_plain_step():
    p = parameter([math.inf])
    optimizer, scaler = ndl.optim.SGD([p]), GradScaler(enabled=False)
    loss = Tensor(2.0)
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1 and not scaler.is_enabled()
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert optimizer.steps == [1] and scaler.state_dict() == {}
    scaler.load_state_dict({})


# float16 for real


def small_model(device):
    model = nn.Sequential(nn.Linear(8, 16, device=device), nn.ReLU(), nn.Linear(16, 3, device=device))
    x = Tensor(np.random.randn(32, 8), device=device, requires_grad=False)
    labels = Tensor(np.random.randint(0, 3, 32), device=device, dtype="int64", requires_grad=False)
    return model, lambda: nn.SoftmaxLoss()(model(x), labels)


def train_step(loss, optimizer, scaler) -> float:
    optimizer.reset_grad()
    with autocast("float16"):
        value = loss()
    scaler.scale(value).backward()
    scaler.unscale_(optimizer)
    optimizer.clip_grad_norm(5.0)
    scaler.step(optimizer)
    scaler.update()
    return value.item()


def test_scaling_saves_gradients_that_float16_would_lose(device):
    x = Tensor([[1e-4]], device=device, requires_grad=False)

    def gradient(scale: float) -> float:
        w = Parameter([[1.0]], device=device)
        scaler = GradScaler(init_scale=scale)
        with autocast("float16"):
            loss = (x @ w).sum() * 1e-4
        scaler.scale(loss).backward()
        scaler.unscale_(ndl.optim.SGD([w]))
        return w.grad.item()

    assert gradient(1.0) == 0
    assert gradient(2.0**16) == pytest.approx(1e-8, rel=1e-2)


def test_a_scale_that_is_too_large_comes_down_and_training_goes_on(device):
    model, loss = small_model(device)
    optimizer, scaler = ndl.optim.Adam(model.parameters(), lr=0.01), GradScaler(init_scale=2.0**30)
    losses = [train_step(loss, optimizer, scaler) for _ in range(60)]
    assert 2.0**10 < scaler.get_scale() < 2.0**30 and 20 < optimizer.steps[0] < 60
    assert losses[-1] < 0.7 * losses[0] and all(map(math.isfinite, losses))


def test_gradients_that_no_scale_makes_finite_are_an_error():
    scaler = GradScaler()
    with pytest.raises(GradientError, match="GradScaler: gradients are infinite or NaN even with a loss scaled by"):
        steps(scaler, *[math.nan] * 40)


def test_a_resumed_run_is_the_run_that_was_not_stopped(device, tmp_path):
    def new():
        ndl.manual_seed(0)
        model, loss = small_model(device)
        scaler = GradScaler(init_scale=2.0**18, growth_interval=4)
        return model, loss, ndl.optim.Adam(model.parameters(), lr=0.01), scaler

    model, loss, optimizer, scaler = new()
    for step in range(12):
        train_step(loss, optimizer, scaler)
        if step == 5:
            save_state(tmp_path / "state", training_state(model, optimizer, scaler=scaler))
    whole = [p.numpy().tobytes() for p in model.parameters()], scaler.state_dict(), optimizer.steps

    model, loss, optimizer, scaler = new()
    restore_training_state(load_state(tmp_path / "state"), model, optimizer, scaler=scaler)
    assert scaler.get_scale() != 2.0**18
    for _ in range(6):
        train_step(loss, optimizer, scaler)
    assert whole == ([p.numpy().tobytes() for p in model.parameters()], scaler.state_dict(), optimizer.steps)


def test_state(tmp_path):
    scaler = GradScaler(init_scale=4.0, growth_factor=3.0, backoff_factor=0.25, growth_interval=7)
    steps(scaler, 1, 1)
    state = scaler.state_dict()
    assert state == {
        "scale": 4.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7, "growth_tracker": 2
    }  # fmt: skip
    other = GradScaler()
    other.load_state_dict(state)
    assert other.state_dict() == state and steps(other, 1, 1, 1, 1, 1) == [4, 4, 4, 4, 12]
    for wrong, scaler in ((state, GradScaler(enabled=False)), ({}, other), ({"scale": 1.0}, other)):
        with pytest.raises(CheckpointError, match="GradScaler.load_state_dict"):
            scaler.load_state_dict(wrong)
    with pytest.raises(CheckpointError, match="a training state without scaler"):
        model = nn.Linear(1, 1)
        restore_training_state(training_state(model), model, scaler=other)


# Mistakes


def test_calls_out_of_order():
    optimizer, scaler = ndl.optim.SGD([parameter([1.0])]), GradScaler()
    with pytest.raises(GradientError, match=r"update: expected step\(optimizer\) before it"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(GradientError, match="unscale_: the gradients of this optimizer are unscaled"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GradientError, match="step: this optimizer has made its step"):
        scaler.step(optimizer)
    scaler.update()
    scaler.step(optimizer)


def test_float16_parameters_are_refused():
    model = nn.Linear(2, 2, dtype="float16")
    model(Tensor(np.ones((1, 2)), dtype="float16")).sum().backward()
    with pytest.raises(DTypeError, match=r"unscale_: params\[0\] of dtype float16: expected float32"):
        GradScaler().step(ndl.optim.SGD(model.parameters()))


@pytest.mark.parametrize(
    "setting",
    [
        {"init_scale": 0.0}, {"init_scale": math.inf}, {"growth_factor": 1.0}, {"backoff_factor": 1.0},
        {"backoff_factor": 0.0}, {"growth_interval": 0}, {"init_scale": math.nan},
    ],
)  # fmt: skip
def test_settings_out_of_range(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"GradScaler: .*{name}( of |=)"):
        GradScaler(**setting)


def test_the_scale_stays_finite(device):
    scaler = GradScaler(init_scale=2.0**1023, growth_interval=1)
    parameter = Parameter([1.0], dtype="float64", device=device)
    optimizer = ndl.optim.SGD([parameter], lr=1.0)
    for _ in range(3):
        parameter.grad = ops.zeros_like(parameter)
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 2.0**1023

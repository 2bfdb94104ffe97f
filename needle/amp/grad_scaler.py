"""Dynamic loss scaling (Micikevicius et al. 2018, Mixed Precision Training).

The smallest float16 number is 2^-24, and many gradients are that small or smaller. Multiplying the loss by a large
scale multiplies its gradients by that scale, so that float16 can represent them; in float32 they are divided by the
scale again. If the scale is too large, some gradient becomes infinite or NaN: the step is skipped and the scale halved.
After many good steps it is doubled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from needle import ops
from needle.autograd import Tensor, require_tensors
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.arguments import as_float, flag, whole
from needle.backend_ndarray.dtype import float16, float32, float64, promote_types
from needle.backend_ndarray.elementwise import multiply_by
from needle.backend_ndarray.pending_read import PendingRead
from needle.backend_ndarray.recording import act, live
from needle.errors import CheckpointError, DTypeError, GradientError, short
from needle.optim.optimizer import Optimizer, total_of_squares
from needle.state_dict import check_names

SMALLEST_SCALE = 2.0**-16


class GradScaler:
    """Scales a loss, and makes an optimizer's step if the gradients are finite.

        optimizer.reset_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)          # only if something uses the gradients before the step:
        optimizer.clip_grad_norm(max_norm)
        scaler.step(optimizer)
        scaler.update()

    `update` multiplies the scale by `backoff_factor` if a step was skipped, and by `growth_factor` after
    `growth_interval` steps in a row without a skip. If `enabled` is False, `scale` returns the loss unchanged and
    `step` just calls the optimizer's step.

    The sum of squares of all gradients is computed on their device; it tells whether they are finite, and the device
    skips the step by it. The host reads it only when it needs the next scale, at the next `scale`. By then the device
    has the next forward pass to do, so neither stands still. (For an optimizer that does not support
    this, see `Optimizer.can_step_only_if_finite`, the host reads the number before the step.)
    """

    live_attributes = ("_scale", "_good_steps", "_unscaled", "_undecided")

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        # NaN, for what is no number, fails every comparison.
        scale, growth, backoff = (_float_or_nan(x) for x in (init_scale, growth_factor, backoff_factor))
        if not (0 < scale < math.inf and 1 < growth < math.inf and 0 < backoff < 1):
            raise ValueError(
                f"GradScaler: init_scale={short(init_scale)}, growth_factor={short(growth_factor)}, "
                f"backoff_factor={short(backoff_factor)}: expected a finite number above 0, a finite one above 1, and one between 0 and 1"
            )
        self.growth_factor = growth
        self.backoff_factor = backoff
        self.growth_interval = whole("GradScaler", "growth_interval", growth_interval, 1, ValueError)
        self._enabled = flag("GradScaler", "enabled", enabled)
        self._scale = scale
        self._good_steps = 0  # in a row, since the last change of the scale
        self._unscaled: dict[int, _Unscaled] = {}  # by the optimizer's id, since the last update
        # The sums of squares of the last update until it is decided by them whether its steps were made, else None
        self._undecided: list[PendingRead] | None = None

    def is_enabled(self) -> bool:
        """Whether scaling is enabled."""
        return self._enabled

    def get_scale(self) -> float:
        """The current factor for a loss."""
        return live(self._read_scale) if self._enabled else 1.0  # type: ignore[return-value]  # a Live while recording

    def _read_scale(self) -> float:
        self._decide()
        return self._scale

    def scale(self, loss: Tensor) -> Tensor:
        """loss * get_scale(), in float32 or wider"""
        require_tensors("scale", loss)
        return ops.cast(loss, promote_types(loss.dtype, float32)) * self.get_scale() if self._enabled else loss

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, in place; otherwise `step` does so.

        Raises GradientError if called twice before an `update`, and DTypeError for float16 parameters, whose unscaled
        gradients would underflow.
        """
        if not self._enabled:
            return
        _check_optimizer("unscale_", optimizer)
        if id(optimizer) in self._unscaled:
            raise GradientError("unscale_: the gradients of this optimizer are unscaled since the last update()")
        for index, parameter in enumerate(optimizer.params):
            if parameter.dtype is float16:
                raise DTypeError(
                    f"unscale_: params[{index}] of dtype float16: expected float32, as autocast leaves parameters"
                )
        scale, grads = self.get_scale(), optimizer.grads_in_own_memory()
        for grad in grads:
            multiply_by(grad, 1 / scale)
        self._unscaled[id(optimizer)] = _Unscaled(optimizer, grads)

    def step(self, optimizer: Optimizer) -> None:
        """optimizer.step(), unless a gradient is infinite or NaN.

        Raises GradientError if called twice before an `update`, and whatever `unscale_` raises.
        """
        _check_optimizer("step", optimizer)
        if not self._enabled:
            optimizer.step()
            return
        if id(optimizer) not in self._unscaled:
            self.unscale_(optimizer)
        unscaled = self._unscaled[id(optimizer)]
        if unscaled.has_stepped:
            raise GradientError("step: this optimizer has made its step since the last update()")
        unscaled.has_stepped = True
        if unscaled.squares is None:
            optimizer.step()
        elif optimizer.can_step_only_if_finite():
            optimizer.step(only_if_finite=unscaled.squares)
        elif math.isfinite(unscaled.squares.item()):
            optimizer.step()

    def update(self) -> None:
        """Chooses the scale of the next step; call it after the steps of all optimizers.

        Raises GradientError if there was no `step` since the last `update`, or if the scale has become so small that it
        cannot be the cause of infinite gradients; on a GPU, the next `scale` or `get_scale` may raise the latter.
        """
        if not self._enabled:
            return
        if not self._unscaled:
            raise GradientError("update: expected step(optimizer) before it")
        squares = [unscaled.squares for unscaled in self._unscaled.values() if unscaled.squares is not None]
        act(self._decide_later, *squares)
        self._unscaled.clear()

    def _decide_later(self, *squares: NDArray) -> None:
        self._decide()
        self._undecided = [number.begin_read() for number in squares]
        if all(pending.ready() for pending in self._undecided):
            self._decide()

    def _decide(self) -> None:
        """Reads whether the steps before the last `update` were skipped, and chooses the scale."""
        if self._undecided is None:
            return
        is_good = all([math.isfinite(pending.item()) for pending in self._undecided])
        self._undecided = None
        self._good_steps = self._good_steps + 1 if is_good else 0
        if not is_good:
            self._scale *= self.backoff_factor
        elif self._good_steps == self.growth_interval:
            grown = self._scale * self.growth_factor
            self._scale = grown if math.isfinite(grown) else self._scale
            self._good_steps = 0
        if self._scale < SMALLEST_SCALE:
            raise GradientError(
                f"GradScaler: gradients are infinite or NaN even with a loss scaled by {self._scale:g}: expected "
                "finite ones; the loss itself may not be finite, or an activation be beyond float16's 65504"
            )

    def __getstate__(self) -> dict[str, Any]:
        """For `copy` and `pickle`: the state after waiting for pending reads, which cannot be copied.

        Raises GradientError between `unscale_` or `step` and `update`: a copy would not know which gradients are
        already unscaled, and would divide them again.
        """
        if self._unscaled:
            raise GradientError("GradScaler: met a copy within a step: expected one before unscale_ or after update()")
        self._decide()
        return self.__dict__ | {"_unscaled": {}, "_undecided": None}

    def state_dict(self) -> dict[str, float | int]:
        """The state needed to resume scaling; {} if scaling is not enabled."""
        if not self._enabled:
            return {}
        self._decide()
        settings = {name: getattr(self, name) for name in ("growth_factor", "backoff_factor", "growth_interval")}
        growth_tracker = live(lambda: self._good_steps)
        return {"scale": live(self._read_scale), **settings, "growth_tracker": growth_tracker}  # Live while recording

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Restores the result of `state_dict`. Raises CheckpointError if it is from another kind of scaler."""
        where = "GradScaler.load_state_dict"
        check_names(where, state, self.state_dict())
        if self._enabled:
            numbers: dict[str, Any] = {name: value for name, value in state.items() if name != "growth_tracker"}
            try:
                read = GradScaler(numbers.pop("scale"), **numbers)
            except (TypeError, ValueError) as error:
                raise CheckpointError(f"{where}: {error}") from None
            self._good_steps = whole(where, "growth_tracker", state["growth_tracker"], error=CheckpointError)
            self.growth_factor, self.backoff_factor = read.growth_factor, read.backoff_factor
            self.growth_interval, self._scale = read.growth_interval, read._scale
            self._undecided = None


def _float_or_nan(value: object) -> float:
    number = as_float(value)
    return math.nan if number is None else number


def _check_optimizer(op: str, optimizer: Optimizer) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{op}: {short(optimizer)}: expected an Optimizer")


class _Unscaled:
    """An optimizer whose gradients have been unscaled, and the sum of their squares, None if there are no gradients.

    The sum is finite only if all gradients are. (In float32 it also overflows for finite gradients from 1.8e19 on;
    skipping the step is no loss then either.)
    """

    def __init__(self, optimizer: Optimizer, grads: list[NDArray]) -> None:
        self.optimizer = optimizer  # kept alive, so that its id stays unique
        self.has_stepped = False
        self.squares: NDArray | None = None
        if grads:
            squares = total_of_squares(grads)
            self.squares = squares if squares.dtype is float64 else squares.astype(float32)

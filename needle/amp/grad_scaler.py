"""Dynamic loss scaling (Micikevicius et al. 2018, Mixed Precision Training).

float16 ends at 2^-24, where many gradients begin. Times a large number, the loss has gradients times that number, which
float16 holds; in float32 they are divided by it again. How large the number may be shows when it was too large: then
some gradient is infinite or NaN, the step is skipped and the number halved; after many good steps it is doubled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from needle import ops
from needle.autograd import Tensor, require_tensors
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.arguments import as_float, flag, whole
from needle.backend_ndarray.dtype import float16, float32, float64, promote_types
from needle.backend_ndarray.elementwise import multiply_by
from needle.backend_ndarray.reading import Reading
from needle.errors import CheckpointError, DTypeError, GradientError, short
from needle.optim.optimizer import Optimizer, total_of_squares
from needle.state_dict import check_names

SMALLEST_SCALE = 2.0**-16


class GradScaler:
    """Scales a loss, and makes an optimizer's step where the gradients are finite.

        optimizer.reset_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)          # only where something looks at the gradients before the step:
        optimizer.clip_grad_norm(max_norm)
        scaler.step(optimizer)
        scaler.update()

    `update` multiplies the scale by `backoff_factor` if a step was skipped, by `growth_factor` after `growth_interval`
    steps in a row of which none was. Where `enabled` is False, `scale` and `step` do just that of loss and optimizer.

    Whether all gradients are finite is computed where they are, as the sum of their squares, and that number skips the
    step where it is, too. The host reads it when it needs the next scale, at the next `scale`: the device then has the
    next forward pass to do, so nothing stands still. (An optimizer whose `update` does not know `only_if_finite` makes
    its step when the number has been read.)
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        scale, growth, backoff = (as_float(x) for x in (init_scale, growth_factor, backoff_factor))
        if None in (scale, growth, backoff) or not (0 < scale < math.inf and 1 < growth < math.inf and 0 < backoff < 1):
            raise ValueError(
                f"GradScaler: init_scale={short(init_scale)}, growth_factor={short(growth_factor)}, "
                f"backoff_factor={short(backoff_factor)}: expected a finite number above 0, a finite one above 1, and one between 0 and 1"
            )
        self.growth_factor = growth
        self.backoff_factor = backoff
        self.growth_interval = whole("GradScaler", "growth_interval", growth_interval, 1, ValueError)
        self._enabled = flag("GradScaler", "enabled", enabled)
        self._scale = scale
        self._good_steps = 0  # in a row, since the scale has changed
        self._unscaled: dict[int, _Unscaled] = {}  # by the optimizer's id, since the last update
        self._undecided: list[_Unscaled] = []  # of the last update, unless its outcome is known

    def is_enabled(self) -> bool:
        """Whether there is anything to it."""
        return self._enabled

    def get_scale(self) -> float:
        """What a loss is multiplied by now."""
        self._decide()
        return self._scale if self._enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """loss * get_scale(), in float32 at least"""
        require_tensors("scale", loss)
        return ops.cast(loss, promote_types(loss.dtype, float32)) * self.get_scale() if self._enabled else loss

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, in place; `step` does, where nobody did.

        Raises GradientError the second time before an `update`; DTypeError for float16 parameters, whose gradients
        divided again would underflow.
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

        Raises GradientError the second time before an `update`, and what `unscale_` raises.
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
        elif optimizer.knows_only_if_finite():
            unscaled.reading = optimizer.step(only_if_finite=unscaled.squares)
        elif unscaled.is_finite():
            optimizer.step()

    def update(self) -> None:
        """Chooses the next step's scale; comes after the steps of all optimizers.

        Raises GradientError where there was no `step` since the last one, and where the scale has become so small that
        it cannot be what makes gradients infinite; on a GPU the next `scale` or `get_scale` may be the one that does.
        """
        if not self._enabled:
            return
        if not self._unscaled:
            raise GradientError("update: expected step(optimizer) before it")
        self._decide()
        self._undecided = list(self._unscaled.values())
        self._unscaled.clear()
        if all(unscaled.is_known() for unscaled in self._undecided):
            self._decide()

    def _decide(self) -> None:
        """Sees what became of the steps before the last `update`, and chooses the scale."""
        if not self._undecided:
            return
        is_good = all([unscaled.is_finite() for unscaled in self._undecided])
        self._undecided.clear()
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

    def __getstate__(self) -> dict:
        """For `copy` and `pickle`: numbers on their way to the host stay with this scaler.

        Raises GradientError between `unscale_` or `step` and `update`: a copy would not know the optimizers whose
        gradients are unscaled, and divide them once more.
        """
        if self._unscaled:
            raise GradientError("GradScaler: met a copy within a step: expected one before unscale_ or after update()")
        self._decide()
        return self.__dict__ | {"_unscaled": {}, "_undecided": []}

    def state_dict(self) -> dict[str, float | int]:
        """What decides how scaling goes on; {} where it is not enabled."""
        if not self._enabled:
            return {}
        self._decide()
        settings = {name: getattr(self, name) for name in ("growth_factor", "backoff_factor", "growth_interval")}
        return {"scale": self._scale, **settings, "growth_tracker": self._good_steps}

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Goes on from what `state_dict` gave. Raises CheckpointError where it is of a scaler of another kind."""
        where = "GradScaler.load_state_dict"
        check_names(where, state, self.state_dict())
        if self._enabled:
            numbers = {name: value for name, value in state.items() if name != "growth_tracker"}
            try:
                read = GradScaler(numbers.pop("scale"), **numbers)
            except (TypeError, ValueError) as error:
                raise CheckpointError(f"{where}: {error}") from None
            self._good_steps = whole(where, "growth_tracker", state["growth_tracker"], error=CheckpointError)
            self.growth_factor, self.backoff_factor = read.growth_factor, read.backoff_factor
            self.growth_interval, self._scale = read.growth_interval, read._scale
            self._undecided.clear()


def _check_optimizer(op: str, optimizer: Optimizer) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{op}: {short(optimizer)}: expected an Optimizer")


class _Unscaled:
    """An optimizer whose gradients have been unscaled, and the sum of their squares, None if there are no gradients.

    It is finite only if they all are. (In float32 it is infinite for finite ones from 1.8e19 on: no loss either.)
    """

    def __init__(self, optimizer: Optimizer, grads: list[NDArray]) -> None:
        self.optimizer = optimizer  # kept, so that its id stays its own
        self.has_stepped = False
        self.squares = self.reading = None
        if grads:
            squares = total_of_squares(grads)
            self.squares = squares if squares.dtype is float64 else squares.astype(float32)

    def is_known(self) -> bool:
        """Whether `is_finite` would not wait."""
        return self.squares is None or self._read().ready()

    def is_finite(self) -> bool:
        return self.squares is None or math.isfinite(self._read().item())

    def _read(self) -> Reading:
        if self.reading is None:
            self.reading = self.squares.begin_read()
        return self.reading

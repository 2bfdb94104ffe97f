"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.optim import sgd_step
from needle.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    With g = grad + weight_decay * parameter, and a velocity u that is initially 0, a step is

        u = momentum * u + (1 - dampening) * g
        parameter = parameter - lr * u

    Without momentum, g replaces u in the second line; with `nesterov` (Sutskever et al. 2013), g + momentum * u does.

    By default, Needle's velocity is an average of gradients: dampening=None means a dampening equal to `momentum`.
    dampening=0 gives PyTorch's velocity, a sum of gradients, and the same steps as PyTorch. (With any other dampening
    PyTorch's first u is g; here it is (1 - dampening) * g.)
    """

    supports_only_if_finite = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float | None = None,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        self.momentum = self._checked("momentum", momentum)
        self.weight_decay = self._checked("weight_decay", weight_decay)
        self.dampening = dampening if dampening is None else self._checked("dampening", dampening)
        self.nesterov = flag("SGD", "nesterov", nesterov)
        if self.nesterov and (not self.momentum or self.dampening != 0):
            raise ValueError(
                f"SGD: nesterov with momentum={momentum} and dampening={dampening}: "
                "expected a momentum above 0 and dampening=0"
            )

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]  # momentum may be assigned later
        return ("velocity",) if self.momentum else ()

    def update(
        self,
        parameters: list[NDArray],
        grads: list[NDArray],
        moments: list[list[NDArray]],
        step: int,
        only_if_finite: Sequence[NDArray] = (),
    ) -> None:
        velocities = moments[0] if moments else []
        dampening = self.momentum if self.dampening is None else self.dampening
        settings = (self.lr, self.momentum, dampening, self.weight_decay, self.nesterov)
        sgd_step(parameters, grads, velocities, *settings, only_if_finite)

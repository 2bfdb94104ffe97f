"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.optim import adam_step
from needle.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    With g = grad + weight_decay * parameter, the t-th step of a parameter is

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        parameter = parameter - lr * m^ / (sqrt(v^) + eps), m^ = m / (1 - beta1^t), v^ = v / (1 - beta2^t)
    """

    moments = ("first_moment", "second_moment")
    supports_only_if_finite = True
    decoupled = False  # whether weight decay bypasses the moments

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.beta1 = self._checked("beta1", beta1, below=1)
        self.beta2 = self._checked("beta2", beta2, below=1)
        self.eps = self._checked("eps", eps)
        self.weight_decay = self._checked("weight_decay", weight_decay)

    def update(
        self,
        parameters: list[NDArray],
        grads: list[NDArray],
        moments: list[list[NDArray]],
        step: int,
        only_if_finite: Sequence[NDArray] = (),
    ) -> None:
        settings = (self.lr, self.beta1, self.beta2, self.eps, self.weight_decay, self.decoupled)
        first_moments, second_moments = moments
        adam_step(parameters, grads, first_moments, second_moments, *settings, step, only_if_finite)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Here g = grad, and a step begins with parameter = parameter * (1 - lr * weight_decay).
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)

"""The base class of optimizers: parameters, the arrays kept for each of them, gradient clipping, and saving."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from needle.autograd import Parameter, Tensor, in_own_memory
from needle.backend_ndarray import Device, DType, NDArray, zeros
from needle.backend_ndarray.arguments import real, whole
from needle.backend_ndarray.elementwise import minimum, multiply_by, sqrt
from needle.backend_ndarray.number import Live
from needle.backend_ndarray.pending_read import PendingRead
from needle.backend_ndarray.recording import act, live
from needle.backend_ndarray.reduce import sum_of_squares
from needle.errors import CheckpointError, DeviceError, DTypeError, ShapeError, short
from needle.state_dict import array_like, check_names
from needle.typing import NumPyArray


class Optimizer:
    """Updates parameters in place by their gradients. A subclass defines `update` and names its `moments`.

    Attributes: `params`, the parameters, each once; `lr`, the learning rate.
    """

    live_attributes = ("_lr", "_steps", "_undecided")  # that a function of ndl.jit reads anew in each call
    guarded_properties = ("step_groups",)  # on which its program depends

    moments: tuple[str, ...] = ()  # names of the arrays kept for each parameter, of its shape and initially zero

    # Whether `step` or `update`, as this very class defines it, takes `only_if_finite`. A subclass that redefines one
    # without setting this again does not support it, and neither does an object that one was assigned to.
    supports_only_if_finite = True

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params = _checked_params(type(self).__name__, params)
        self._lr = self._checked("lr", lr)
        self._steps = [0] * len(self.params)
        self._undecided: list[
            tuple[PendingRead, list[int]]
        ] = []  # steps' `only_if_finite` and their parameters' indices
        self._kept: list[dict[str, NDArray]] = [{} for _ in self.params]

    def update(self, parameters: list[NDArray], grads: list[NDArray], moments: list[list[NDArray]], step: int) -> None:
        """Updates parameters of one device and dtype in place by their gradients.

        `moments` has one list for each of the optimizer's moments, with one array per parameter; these are changed in
        place as well. `step` counts the updates of these parameters from 1.

        `update` may have another parameter, `only_if_finite`, a list that is empty or holds one number on the device.
        If that number is infinite or NaN, nothing must change. A class whose `update` has it also sets
        `supports_only_if_finite = True`; GradScaler then need not read the number first.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    @property
    def lr(self) -> float:
        """The learning rate."""
        return live(self._read_lr)  # type: ignore[return-value]  # a Live while a function is recorded

    @lr.setter
    def lr(self, lr: float) -> None:
        act(partial(self._set_lr, lr))

    def _set_lr(self, lr: float | Live) -> None:
        self._lr = lr.value if isinstance(lr, Live) else lr

    def _read_lr(self) -> float:
        if type(self._lr) is not float:  # users may assign anything
            self._lr = real(f"{type(self).__name__}.step", "lr", self._lr)
        return self._lr

    @property
    def steps(self) -> list[int]:
        """How often each parameter has been updated. Waits for steps whose outcome is not known yet."""
        for pending, indices in self._undecided:
            if not math.isfinite(pending.item()):
                for index in indices:
                    self._steps[index] -= 1
        self._undecided.clear()
        return self._steps

    @steps.setter
    def steps(self, counts: list[int]) -> None:
        self._steps = counts
        self._undecided.clear()

    def step(self, only_if_finite: NDArray | None = None) -> None:
        """Updates every parameter that has a gradient, as many as possible in one call of `update`.

        only_if_finite: a float32 or float64 number on the parameters' device; nothing changes unless it is finite.
        `update` must take it, see `can_step_only_if_finite`. The host does not wait for the number.
        """
        self._read_lr()
        steps = self.steps
        updated: list[int] = []
        condition = {} if only_if_finite is None else {"only_if_finite": [only_if_finite]}
        groups: dict[tuple[Device, DType, int, int], list[tuple[Any, ...]]] = defaultdict(list)
        seen: Counter[int] = Counter()  # arrays of one buffer may overlap, so no call may change two of them
        for index, parameter in enumerate(self.params):
            if parameter.grad is None:
                continue
            if not isinstance(parameter.grad, Tensor):
                met = f"{type(self).__name__}: params[{index}]: a gradient of type {type(parameter.grad).__name__}"
                raise TypeError(f"{met}: expected a Tensor")
            data, grad = parameter.cached_data, parameter.grad.cached_data
            if grad.shape != data.shape or grad.device is not data.device:
                self._refuse_grad(index, data, grad)
            seen[id(data.buffer)] += 1
            group = groups[data.device, data.dtype, steps[index], seen[id(data.buffer)]]
            group.append((index, data, grad.astype(data.dtype), *self._moments_of(index, data)))
        for (_, _, count, _), group in groups.items():
            indices, parameters, grads, *moments = map(list, zip(*group))
            step: Any = live(partial(self._next_step, indices[0]))  # a Live while a function is recorded
            self.update(parameters, grads, moments, step, **condition)
            act(partial(self._count_step, indices))
            updated += indices
        if only_if_finite is not None:
            act(partial(self._decide_later, updated), only_if_finite)

    @property
    def step_groups(self) -> str:
        """Which parameters have made the same number of steps: one call of `update` is for these."""
        steps = self._steps
        return "" if len(set(steps)) == 1 else str([steps.index(count) for count in steps])

    def _next_step(self, index: int) -> int:
        return self.steps[index] + 1

    def _count_step(self, indices: list[int]) -> None:
        steps = self.steps
        for index in indices:
            steps[index] += 1

    def _decide_later(self, indices: list[int], only_if_finite: NDArray) -> None:
        """Counts the last step of these parameters only if the number turns out to be finite."""
        self._undecided.append((only_if_finite.begin_read(), indices))

    def can_step_only_if_finite(self) -> bool:
        """Whether `step` and `update` take `only_if_finite`: both definers say so by `supports_only_if_finite`."""
        owners = (self, *type(self).__mro__)
        definers = [next(owner for owner in owners if method in vars(owner)) for method in ("step", "update")]
        return all(vars(definer).get("supports_only_if_finite", False) for definer in definers)

    def reset_grad(self) -> None:
        """Sets all gradients to None."""
        for parameter in self.params:
            parameter.grad = None

    zero_grad = reset_grad

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Scales all gradients, in place, so that their norm is at most max_norm (Pascanu et al. 2013).

            grad = grad * min(1, max_norm / (norm + 1e-6)), norm = sqrt(sum of the squares of all gradients' elements)

        Returns the norm before clipping, as a Tensor of one element; only reading it, as by `float(norm)`, waits for
        it. An infinite norm makes finite gradients 0 and infinite ones NaN; a NaN norm makes all of them NaN.
        """
        max_norm = self._checked("max_norm", max_norm)
        grads = self.grads_in_own_memory()
        if not grads:
            return Tensor(0.0, device=self.params[0].device, requires_grad=False)
        norm = sqrt(total_of_squares(grads))
        scale = minimum(max_norm / (norm + 1e-6), 1.0)
        for grad in grads:
            multiply_by(grad, scale)
        return Tensor.make_const(norm)

    def grads_in_own_memory(self) -> list[NDArray]:
        """The arrays of all existing gradients, safe to change in place."""
        taken: set[int] = set()
        arrays = []
        for parameter in self.params:
            grad = parameter.grad
            if grad is None:
                continue
            if not grad.is_leaf():  # its graph may still need the original array
                grad = Tensor.make_const(grad.cached_data.copy())
            parameter.grad = in_own_memory(grad, taken)
            arrays.append(parameter.grad.cached_data)
        return arrays

    def __getstate__(self) -> dict[str, Any]:
        """For `copy` and `pickle`: the state after waiting for pending reads, which cannot be copied."""
        _ = self.steps  # waits for them
        return vars(self)

    def state_dict(self) -> dict[str, float | list[int] | NumPyArray]:
        """`lr`, `steps` and copies of the moments as NumPy arrays, e.g. "velocity.0" for params[0]."""
        state: dict[str, float | list[int] | NumPyArray] = {"lr": self.lr, "steps": list(self.steps)}
        for name, index in self._moment_keys(self.steps):
            state[f"{name}.{index}"] = self._kept[index][name].numpy()
        return state

    def load_state_dict(self, state: Mapping[str, float | list[int] | NumPyArray]) -> None:
        """Restores the result of `state_dict`; moments take the device and dtype of their parameter.

        Raises CheckpointError, and changes nothing, if it is from another kind of optimizer or from other parameters.
        """
        where = f"{type(self).__name__}.load_state_dict"
        steps = state.get("steps", ()) if isinstance(state, Mapping) else [0] * len(self.params)
        if not isinstance(steps, (Sequence, np.ndarray)) or getattr(steps, "ndim", 1) != 1:
            raise CheckpointError(f"{where}: steps of {short(steps)}: expected a list of whole numbers")
        if len(steps) != len(self.params):
            raise CheckpointError(f"{where}: steps of {len(steps)} parameters: expected {len(self.params)}")
        steps = [whole(where, "steps", count, error=CheckpointError) for count in steps]
        check_names(where, state, ["lr", "steps", *(f"{name}.{index}" for name, index in self._moment_keys(steps))])
        lr = real(where, "lr", state["lr"], 0, error=CheckpointError)
        kept: list[dict[str, NDArray]] = [{} for _ in self.params]
        for name, index in self._moment_keys(steps):
            entry = f"{name}.{index}"
            kept[index][name] = array_like(f"{where}: {entry}", state[entry], self.params[index])
        self.lr, self.steps, self._kept = float(lr), steps, kept

    def _moment_keys(self, steps: list[int]) -> list[tuple[str, int]]:
        """(name, index) of every array that an optimizer keeps after these steps."""
        return [(name, index) for index, count in enumerate(steps) if count for name in self.moments]

    def _moments_of(self, index: int, data: NDArray) -> list[NDArray]:
        """The arrays kept for a parameter, moved to its current device and dtype."""
        kept = self._kept[index]
        for name in self.moments:
            if name not in kept:
                kept[name] = zeros(data.shape, data.dtype, data.device)
            elif kept[name].device is not data.device or kept[name].dtype is not data.dtype:
                kept[name] = kept[name].to(data.device).astype(data.dtype)
        return [kept[name] for name in self.moments]

    def _refuse_grad(self, index: int, data: NDArray, grad: NDArray) -> None:
        where = f"{type(self).__name__}: params[{index}]"
        if grad.shape != data.shape:
            raise ShapeError(f"{where}: a gradient of shape {grad.shape}: expected {data.shape}")
        raise DeviceError(f"{where}: a gradient on {grad.device}: expected {data.device}")

    def _checked(self, name: str, value: float, below: float = float("inf")) -> float:
        """`value` as a float. Raises ValueError unless it is a number of 0 or more, below `below`."""
        return float(real(type(self).__name__, name, value, 0, below, error=ValueError))


def total_of_squares(arrays: list[NDArray]) -> NDArray:
    """The sum of the squares of all elements of floating arrays, 0-d."""
    squares = [sum_of_squares(array) for array in arrays]
    return sum(squares[1:], squares[0])


def _checked_params(optimizer: str, params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters, each once. Raises an error unless they are floating leaves that can have gradients."""
    expected = "expected an iterable of Parameters, such as model.parameters()"
    if isinstance(params, (Tensor, Mapping)) or not isinstance(params, Iterable):
        raise TypeError(f"{optimizer}: params of type {type(params).__name__}: {expected}")
    try:
        params = list(params)
    except TypeError:
        raise TypeError(f"{optimizer}: params of {short(params)}: {expected}") from None
    if not params:
        raise ValueError(f"{optimizer}: no parameters: {expected}")
    for index, parameter in enumerate(params):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{optimizer}: params[{index}] is a {type(parameter).__name__}: {expected}")
        if not parameter.is_leaf() or not (parameter.requires_grad or isinstance(parameter, Parameter)):
            kind = "requires no gradient" if parameter.is_leaf() else "is the result of an operation"
            raise ValueError(f"{optimizer}: params[{index}], of shape {parameter.shape}, {kind}: {expected}")
        if parameter.dtype.kind != "floating":
            raise DTypeError(f"{optimizer}: params[{index}] of dtype {parameter.dtype}: expected a floating dtype")
    return list({id(parameter): parameter for parameter in params}.values())

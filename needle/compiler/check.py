"""`jit(function, check=True)`: compares a replay with a call of the function, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray, random
from needle.compiler.live_state import LiveState
from needle.compiler.results import Assignment
from needle.compiler.state import held, put
from needle.compiler.tree import flatten
from needle.errors import JitError
from needle.typing import NumPyArray


def checked(
    name: str,
    call: Callable[[], Any],
    replay: Callable[[], Any],
    changed: list[NDArray],
    assigned: list[tuple[Any, Assignment]],
    live_objects: list[Any],
) -> Any:
    """The result of `replay`. Raises JitError where it differs from that of `call`, whose effects are undone.

    changed: arrays that both change in place. assigned: Tensors or containers, and what both put there.
    live_objects: those whose `live_attributes` both change.
    """
    arrays = [array.copy() for array in changed]
    values = [held(container, assignment.key) for container, assignment in assigned]
    numbers_before = LiveState(live_objects)

    def left(result: Any) -> list[bytes]:
        """All bits that a call leaves behind."""
        leaves: list[Tensor | NDArray] = []
        form = flatten((result, [held(container, assignment.key) for container, assignment in assigned]), leaves, [])
        found = [_bits(leaf.numpy()) for leaf in [*leaves, *changed]]
        numbers = [vars(of)[key] for of in live_objects for key in type(of).live_attributes]
        return [*found, repr((form, numbers, random.get_state())).encode()]

    expected = left(call())
    for array, before in zip(changed, arrays):
        array[...] = before
    for (container, assignment), value in zip(assigned, values):
        put(container, assignment.key, value)
    numbers_before.restore()
    result = replay()
    if left(result) != expected:
        raise JitError(f"{name}: a replay leaves other bits than the function: expected the same, see needle.jit")
    return result


def _bits(values: NumPyArray) -> bytes:
    """The bytes of an array, in which all NaNs are one: which of two a sum is depends on where it is in memory."""
    if values.dtype.kind not in "iub":
        values = np.where(values != values, values.dtype.type("nan"), values)
    return values.tobytes()

"""Counter-based random numbers on the device: a result depends on the seed and the call, not on threads.

Each call takes the next offset from one global counter. Initialization, shuffling and augmentation draw from NumPy's
global generator instead; `manual_seed` seeds both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import as_seed, probability, whole
from needle.backend_ndarray.device import Device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DType, float32
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.recording import act, live
from needle.backend_ndarray.shape import ShapeLike
from needle.errors import DTypeError, short


@dataclass
class _Counter:
    seed: int = 0
    offset: int = 0


_counter = _Counter()


def manual_seed(seed: int) -> None:
    """Seeds the devices' generators and NumPy's global one. Raises ValueError unless seed is 0 to 2^32 - 1."""
    seed = as_seed("manual_seed", seed)
    act(partial(_seed_all, seed))


def _seed_all(seed: int) -> None:
    np.random.seed(seed)
    _counter.seed, _counter.offset = seed, 0


def get_state() -> tuple[int, int]:
    """The (seed, offset) of the devices' generators; with this and NumPy's state a run can resume where it stopped."""
    return _counter.seed, _counter.offset


def set_state(state: tuple[int, int]) -> None:
    """Restores a state from `get_state`. Raises ValueError for anything else."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise ValueError(f"set_state: {short(state)}: expected a seed and an offset, as get_state gives them")
    seed, offset = state
    seed, offset = (whole("set_state", *of, error=ValueError) for of in (("seed", seed), ("offset", offset)))
    act(partial(_set, seed, offset))


def _set(seed: int, offset: int) -> None:
    _counter.seed, _counter.offset = seed, offset


def _fill(kernel: str, shape: ShapeLike, dtype: str | DType, device: Device | None, *arguments: float) -> NDArray:
    out = ndarray.empty(shape, dtype, device, kernel.removeprefix("random_"))
    if out.dtype.kind != "floating":
        raise DTypeError(f"{kernel.removeprefix('random_')}: dtype {out.dtype}: expected a floating one")
    call(out.device, kernel, out, *arguments, live(_seed), live(_next_offset))
    return out


def _seed() -> int:
    return _counter.seed


def _next_offset() -> int:
    _counter.offset += 1
    return _counter.offset - 1


def uniform(shape: ShapeLike, dtype: str | DType = float32, device: Device | None = None) -> NDArray:
    """Uniform on [0, 1)."""
    return _fill("random_uniform", shape, dtype, device)


def normal(shape: ShapeLike, dtype: str | DType = float32, device: Device | None = None) -> NDArray:
    """Standard normal."""
    return _fill("random_normal", shape, dtype, device)


def dropout_mask(shape: ShapeLike, p: float, dtype: str | DType = float32, device: Device | None = None) -> NDArray:
    """0 with probability p, else 1 / (1 - p); 0 <= p < 1."""
    return _fill("random_dropout_mask", shape, dtype, device, probability("dropout_mask", p))

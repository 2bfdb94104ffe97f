"""Checks for every `load_state_dict`: the argument must be a state with the expected names and shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray, array
from needle.errors import CheckpointError, NeedleError, short
from needle.typing import ArrayLike


def check_names(where: str, state: Mapping[str, object], expected: Collection[str]) -> None:
    """Raises CheckpointError unless `state` is a mapping with exactly those names."""
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{where}: {short(state)}: expected what state_dict() gives")
    expected = set(expected)
    named = {"missing": expected - state.keys(), "unexpected": state.keys() - expected}
    problems = [f"{kind} {_listed(sorted(_name(name) for name in names))}" for kind, names in named.items() if names]
    if problems:
        raise CheckpointError(f"{where}: {'; '.join(problems)}: expected the names that state_dict() gives")


def array_like(where: str, value: ArrayLike, like: Tensor) -> NDArray:
    """A copy of an entry with the dtype and device of `like`. Raises CheckpointError unless the shapes are equal."""
    try:
        copy = array(getattr(value, "cached_data", value), dtype=like.dtype, device=like.device)
    except NeedleError as error:
        raise CheckpointError(f"{where}: {error}") from None
    if copy.shape != like.shape:
        raise CheckpointError(f"{where}: shape {copy.shape}: expected {like.shape}")
    return copy


def _name(name: object) -> str:
    return name if isinstance(name, str) and len(name) < 40 else short(name, 40)


def _listed(names: list[str], most: int = 6) -> str:
    """The names, or the first of them and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

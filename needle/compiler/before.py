"""What was where before a call: the sources of the arrays that it reads, and what it has put elsewhere."""

from __future__ import annotations

import types
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.compiler.program import Source
from needle.compiler.recorder import Recorder
from needle.compiler.results import Argument, Assignment, Results
from needle.compiler.state import PLAIN, Content, Entry, State, held
from needle.compiler.tree import flatten, is_tree, layout_of, map_leaves
from needle.errors import JitError, user_line


class Carried(NamedTuple):
    """A place outside of a function in which each call leaves new Tensors for the next one, such as `self.state`.

    What is there before a call is like an argument: its form belongs to the program, and its leaves follow those of
    the arguments.
    """

    path: str
    container: Any
    key: Any
    form: Any  # by tree.flatten


def add_leaves(carried: list[Carried], leaves: list[Tensor | NDArray]) -> bool:
    """Appends the leaves of what is carried now; returns False if something is of another form than before."""
    objects: list[object] = []
    return all(flatten(held(place.container, place.key), leaves, objects) == place.form for place in carried)


class _Was(NamedTuple):
    """A Tensor before a call."""

    tensor: Tensor
    data: NDArray
    grad: Tensor | None
    grad_data: NDArray | None
    requires_grad: bool


class Before:
    """What was where before a call."""

    def __init__(self, state: State, arguments: list[Tensor | NDArray]) -> None:
        self.state = state
        self.leaves = arguments  # and then those of what is carried
        self.reset_at_once: set[int] = set()  # the ids of Tensors whose gradient is gone before the first kernel
        self.carried: list[Carried] = []
        self._count = len(arguments)
        self._was: dict[int, _Was] = {}
        for tensor in [*(leaf for leaf in arguments if isinstance(leaf, Tensor)), *state.tensors.values()]:
            grad = tensor.grad
            self._was[id(tensor)] = _Was(
                tensor, tensor.cached_data, grad, None if grad is None else grad.cached_data, tensor.requires_grad
            )
        self._items: dict[int, dict[Any, Any]] = defaultdict(dict)  # of lists, tuples and dicts, by id
        for entry in [*state.entries, *state.arrays]:
            if is_tree(entry.container):
                self._items[id(entry.container)][entry.key] = entry.value

    def gradients(self) -> Content:
        """Which Tensors of the state have a gradient."""
        tensors = tuple(self.state.tensors.values())
        had = [self._was[id(tensor)].grad is not None for tensor in tensors]
        return Content("which Tensors have a gradient", tensors, have_gradients, had)

    def note_resets(self) -> None:
        """Notes which Tensors have lost their gradient so far."""
        self.reset_at_once = {key for key, was in self._was.items() if was.grad is not None and was.tensor.grad is None}

    def unread_gradients(self, recorder: Recorder, assignments: list[Assignment]) -> list[Tensor]:
        """The Tensors that lose their gradient without a kernel that reads it, so that it may go at once."""
        found = []
        for container, key, _ in assignments:
            old = self._was[id(container)].grad_data if key == "grad" and isinstance(container, Tensor) else None
            if old is not None and recorder.made_memory_of(old) is None:
                found.append(container)
        return found

    def find_carried(self, after: State) -> list[tuple[Carried, Any]]:
        """The places in which Tensors, alone or in trees, took the place of others, and what is there now.

        Takes them out of both states: what is there may be other objects in each call.
        """
        found = []
        gone: set[int] = set()
        later = {entry.path: entry for entry in [*after.entries, *after.arrays]}
        for entry in [*self.state.entries, *self.state.arrays]:
            now = later.get(entry.path)
            if now is None or now.value is entry.value or now.container is not entry.container:
                continue
            if not self._can_be_carried(entry, now.value):
                continue
            leaves: list[Tensor | NDArray] = []
            place = Carried(entry.path, entry.container, entry.key, flatten(entry.value, leaves, []))
            self.leaves = [*self.leaves, *leaves]
            self.carried.append(place)
            found.append((place, now.value))
            gone |= {id(part) for value in (entry.value, now.value) for part in _parts(value)}
        for state in (self.state, after):
            self._leave_out(state, gone)
        return found

    def _can_be_carried(self, entry: Entry, now: Any) -> bool:
        """Whether a replay can put new Tensors there."""
        if isinstance(entry.container, (types.MappingProxyType, tuple)) or not self._is_as_it_was(entry.value):
            return False
        if isinstance(now, (list, dict)) and id(now) in self._items:
            return False  # it was elsewhere, from where a replay would not take it
        leaves: list[Any] = []
        map_leaves(leaves.append, (entry.value, now))
        return all(isinstance(leaf, (Tensor, NDArray, *PLAIN)) for leaf in leaves) and any(
            isinstance(leaf, (Tensor, NDArray)) for leaf in leaves
        )

    def _is_as_it_was(self, value: Any) -> bool:
        """Whether a value is no tree, or one whose entries are those of before the call."""
        if not is_tree(value):
            return True
        was, now = self._items[id(value)], dict(value if isinstance(value, dict) else enumerate(value))
        return now.keys() == was.keys() and all(now[key] is was[key] and self._is_as_it_was(was[key]) for key in was)

    def _leave_out(self, state: State, gone: set[int]) -> None:
        """Takes what is carried, and what only that leads to, out of a state."""
        places = {(id(place.container), place.key) for place in self.carried}

        def stays(entry: Entry) -> bool:
            return id(entry.container) not in gone and (id(entry.container), entry.key) not in places

        while kept := {id(entry.value) for entry in filter(stays, state.entries)} & gone:
            gone = gone - kept
        state.entries = list(filter(stays, state.entries))
        state.arrays = list(filter(stays, state.arrays))
        state.sizes = [size for size in state.sizes if id(size[1]) not in gone]
        state.tensors = {path: tensor for path, tensor in state.tensors.items() if id(tensor) not in gone}

    def sources(self) -> dict[int, list[Source]]:
        """Where each array comes from, by the id of its buffer; an argument is named first."""
        found: dict[int, list[Source]] = defaultdict(list)

        def add(array: NDArray, kind: str, key: object) -> None:
            found[id(array.buffer)].append(Source(kind, key, layout_of(array)))

        for index, leaf in enumerate(self.leaves):
            add(self._was[id(leaf)].data if isinstance(leaf, Tensor) else leaf, "argument", index)
        in_state = {id(tensor) for tensor in self.state.tensors.values()}
        for container, was in self._held():
            if id(was.tensor) in in_state:
                add(was.data, "tensor", was.tensor)
            if was.grad_data is not None:
                add(was.grad_data, "grad", container)
        for entry in self.state.arrays:
            add(entry.value, "array", (entry.container, entry.key))  # type: ignore[arg-type]  # an NDArray
        return found

    def assignments(self, build: Results) -> list[Assignment]:
        """The arrays and the gradients that Tensors have been given."""
        found = []
        for container, was in self._held():
            tensor = was.tensor
            if tensor.requires_grad is not was.requires_grad and isinstance(container, Argument):
                of = f"argument {container.index}" if container.index < self._count else "a Tensor"
                raise JitError(
                    f"{user_line()}: requires_grad of {of} was {was.requires_grad} and is {tensor.requires_grad}: "
                    "expected it to be set outside the function"
                )
            if tensor.cached_data is not was.data:
                found.append(Assignment(container, "cached_data", build.add(tensor.cached_data)))
            if tensor.grad is not was.grad:
                found.append(Assignment(container, "grad", build.leaf(tensor.grad)))
        return found

    def _held(self) -> Iterator[tuple[Any, _Was]]:
        """What Tensors held, with the Argument or Tensor by which a replay finds each."""
        leaves = {id(leaf): Argument(index) for index, leaf in reversed(list(enumerate(self.leaves)))}
        for was in self._was.values():
            yield leaves.get(id(was.tensor), was.tensor), was


def have_gradients(tensors: list[Tensor]) -> list[bool]:
    """Which Tensors have a gradient."""
    return [tensor.grad is not None for tensor in tensors]


def _parts(value: Any) -> Iterator[object]:
    """A tree, the trees in it, and their leaves."""
    yield value
    if is_tree(value):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _parts(part)

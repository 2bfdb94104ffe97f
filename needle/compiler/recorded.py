"""One recorded call: its kernel calls, where its inputs come from, and where its results go."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from needle.amp.precision import with_new_casts
from needle.autograd import Tensor
from needle.backend_ndarray import Device, NDArray, changes, cpu
from needle.backend_ndarray.number import Live
from needle.compiler.before import Before, Carried, add_leaves, have_gradients
from needle.compiler.program import Call, Memory, Place, Source
from needle.compiler.reach import reach
from needle.compiler.recorder import Act, Constant, Read, Recorder, standing_in
from needle.compiler.results import Assignment, Results
from needle.compiler.state import Content, Entry, State, put
from needle.compiler.tree import layout_of, map_leaves
from needle.errors import JitError


@dataclass
class Recorded:
    """What `record` returns."""

    device: Device | None
    calls: tuple[Call, ...]
    memories: tuple[Memory, ...]
    constants: dict[int, Constant]  # by memory
    places: tuple[Place, ...]  # of the results
    tree: Any  # of Result, Argument, Tensors and plain values
    assignments: list[Assignment]
    unread_gradients: list[Tensor]  # those that lose a gradient which the call does not read
    resets_late: bool  # whether some of them lose it after the first kernel
    events: list[tuple[Read | Act, tuple[int, ...]]]  # with the numbers of the results that an Act takes
    changed: list[int]  # inputs that the call changed in place
    shared: list[tuple[int, Source]]  # further sources that an input's memory has
    state: State
    carried: list[Carried]
    gradients: Content | None  # which Tensors of the state had one, None if the function's code asks for none
    unsettled: str | None  # how the state differs after the call, None if it does not

    def fits(self, leaves: list[Tensor | NDArray]) -> bool:
        """Whether a call with these arguments depends on the same values, and on arrays of the same layouts.

        Which Tensors have a gradient does not count.
        """
        all_leaves = [*leaves]
        if not self.state.guards().hold() or not add_leaves(self.carried, all_leaves):
            return False
        sources = [memory.input for memory in self.memories if memory.input is not None]
        lookups = cpu().kernels.Lookups([source.location() for source in sources], True)
        return lookups.now(all_leaves) is not None

    def changes(self, later: Recorded) -> Iterator[str]:
        """Says what a later call depended on that was different."""
        yield from self.state.changes(later.state)
        forms = {place.path: place.form for place in self.carried}
        for place in later.carried:
            if forms.get(place.path) != place.form:
                yield f"{place.path} has other shapes or plain values before each call"

    def fits_gradients(self) -> bool:
        """Whether the same Tensors have a gradient now, as far as the function may ask."""
        return self.gradients is None or self.gradients.describe(self.gradients.value) == self.gradients.description

    def confirmed_by(self, before: Recorded) -> Recorded:
        """The same, knowing an earlier call that did the same.

        NumPy arrays that were read in both may change, new ones may not. If other Tensors had gradients then, that makes
        no difference.
        """
        if self.gradients is not None:
            seen = [self.gradients.description]
            if before.gradients is not None and _ids(before.gradients) == _ids(self.gradients):
                seen.append(before.gradients.description)
            has_seen = lambda tensors: have_gradients(tensors) in seen  # noqa: E731
            self.state.contents.append(self.gradients._replace(describe=has_seen, description=True))
        constants = {
            index: constant if constant.source is before.constants[index].source else constant._replace(source=None)
            for index, constant in self.constants.items()
        }
        memories = list(self.memories)
        for index, constant in constants.items():
            source = memories[index].input
            if constant.source is not None and source is not None:
                memories[index] = memories[index]._replace(input=source._replace(kind="host array"))
        return replace(self, constants=constants, memories=tuple(memories))


def _ids(gradients: Content) -> list[int]:
    return list(map(id, gradients.value))


def record(
    call: Callable[[], Any], roots: Mapping[str, object], arguments: list[Tensor | NDArray]
) -> tuple[Any, Recorded]:
    """Runs a call and records it; returns its result, too. Raises JitError for what a replay could not do again."""
    before = Before(reach(roots), arguments)
    gradients = before.gradients()
    moment = changes.count
    recorder = Recorder(before.note_resets)
    with standing_in(recorder), with_new_casts():
        result = call()
    after = reach(roots, before.state.names)
    carried = before.find_carried(after)
    build = Results(recorder, before.leaves, before.state.tensors.values())
    tree = map_leaves(build.leaf, result)
    result = map_leaves(lambda leaf: leaf.value if isinstance(leaf, Live) else leaf, result)
    assignments = before.assignments(build)
    assignments += [Assignment(place.container, place.key, map_leaves(build.leaf, value)) for place, value in carried]
    unread = before.unread_gradients(recorder, assignments)
    unsettled = next(before.state.changes(after), None)
    after.entries += before.state.properties
    set_grads = {id(a.container) for a in assignments if a.key == "grad"}
    for path, tensor in after.tensors.items():  # an optimizer, for example, asks whether there is a gradient
        if tensor.grad is None and id(tensor) not in set_grads:
            after.entries.append(Entry(f"{path}.grad", tensor, "grad", None))
    events = [
        (event, tuple(build.add_place(place).index for place in event.places) if isinstance(event, Act) else ())
        for event in recorder.events
    ]
    all_sources = before.sources()
    kept = {place.memory for place in build.places}
    if unsettled is None:
        _refuse_escapes(recorder, kept)
    _refuse_held_numbers(recorder, after)
    memories, constants, changed, shared = [], {}, [], []
    for index, made in enumerate(recorder.memories):
        sources: list[Source] = []
        if made.external is not None:
            if made.constant is not None:
                constants[index] = made.constant
                sources = [Source("constant", made.constant.array, layout_of(made.constant.array))]
            else:
                sources = all_sources.get(id(made.external.buffer), [])
            if not sources:
                raise JitError(
                    f"{made.line}: reads an array of shape {made.external.shape} that is no argument, and that nothing "
                    "leads to from the function's code: expected it as an argument"
                )
            shared += [(index, source) for source in sources[1:]]
            if made.external.buffer.changed_at > moment:
                changed.append(index)
        memories.append(Memory(made.nbytes, sources[0] if sources else None, bool(sources) or index in kept))
    return result, Recorded(
        recorder.device, tuple(recorder.calls), tuple(memories), constants, tuple(build.places), tree,
        assignments, unread, any(id(tensor) not in before.reset_at_once for tensor in unread), events, changed, shared, after, before.carried,
        gradients if "grad" in after.names else None, unsettled,
    )  # fmt: skip


def _refuse_escapes(recorder: Recorder, kept: set[int]) -> None:
    """Raises JitError for an array that somebody else still holds."""

    def escaped() -> list[int]:
        return [
            i for i, made in enumerate(recorder.memories) if made.is_alive and made.external is None and i not in kept
        ]

    if not escaped():
        return
    gc.collect()
    for index in escaped():
        raise JitError(
            f"{recorder.memories[index].line}: an array that is made here is kept by something outside the function, where "
            "a replay would not put the next one: expected the function to return it, or, for a graph that backward() keeps, "
            "backward(create_graph=False)"
        )


def _refuse_held_numbers(recorder: Recorder, after: State) -> None:
    """Raises JitError for a live number that somebody still holds, in whose place later calls could not use it."""
    if recorder.held_numbers():
        gc.collect()
    for line in recorder.held_numbers():
        for entry in after.entries:
            if isinstance(entry.value, Live) and not isinstance(entry.container, tuple):
                put(entry.container, entry.key, entry.value.value)
        raise JitError(
            f"{line}: a number that may change from call to call is read here and kept by something outside the function, "
            "where a replay would not put the next one: expected the function to return it"
        )

"""One recorded call: its kernel calls, where its inputs come from, and where its results go."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

from needle.amp.precision import with_new_casts
from needle.autograd import Op, Tensor, Value
from needle.backend_ndarray import Device, NDArray, changes
from needle.backend_ndarray.number import Live
from needle.compiler.program import Call, Memory, Place, Source
from needle.compiler.reach import reach
from needle.compiler.recorder import Act, Constant, Read, Recorder
from needle.compiler.state import PLAIN, Entry, State
from needle.compiler.tree import array_of, layout_of, map_leaves
from needle.errors import GradientError, JitError, short, user_line


@dataclass(frozen=True)
class Result:
    """A leaf of the returned tree that is a new array: number `index` of the results."""

    index: int
    cls: type[Tensor] | None  # None for an NDArray
    requires_grad: bool
    is_leaf: bool = True


@dataclass(frozen=True)
class Argument:
    """A leaf of the returned tree that is an argument itself."""

    index: int


class Assignment(NamedTuple):
    """What a call puts somewhere, as the attribute of a Tensor or the item of a container."""

    container: Any  # an Argument stands for the Tensor that is the argument
    key: Any
    value: Any  # a leaf as of the returned tree, None for no gradient


@dataclass
class Recorded:
    """What `record` returns."""

    device: Device | None
    calls: tuple[Call, ...]
    memories: tuple[Memory, ...]
    constants: dict[int, Constant]  # by memory
    places: tuple[Place, ...]  # of the results
    tree: Any  # of Results, Arguments, Tensors and plain values
    assignments: list[Assignment]
    events: list[tuple[Read | Act, tuple[int, ...]]]  # with the numbers of the results that an Act takes
    changed: list[int]  # inputs that the call changed in place
    shared: list[tuple[int, Source]]  # further sources that an input's memory has
    state: State
    unsettled: str | None  # how the state differs after the call, None if it does not

    def with_constants_of(self, before: Recorded) -> Recorded:
        """The same, knowing which NumPy arrays were read in an earlier call, too, and may change: not the new ones."""
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


def record(
    call: Callable[[], Any], roots: Mapping[str, object], arguments: list[Tensor | NDArray]
) -> tuple[Any, Recorded]:
    """Runs a call and records it; returns its result, too. Raises JitError for what a replay could not do again."""
    before = _Before(reach(roots), arguments)
    moment = changes.count
    recorder = Recorder()
    with recorder.recording(), with_new_casts():
        result = call()
    after = reach(roots, before.state.names)
    build = _Results(recorder, arguments, before.tensors)
    tree = map_leaves(build.leaf, result)
    result = map_leaves(lambda leaf: leaf.value if isinstance(leaf, Live) else leaf, result)
    assignments = before.assignments(build)
    carried = before.carried(after, build)
    assignments += carried
    before.leave_out(after, carried)
    before.refuse_live_numbers(after)
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
    kept = {place.memory for place in build.places}
    if unsettled is None:
        _refuse_escapes(recorder, kept)
    memories, constants, changed, shared = [], {}, [], []
    for index, made in enumerate(recorder.memories):
        sources: list[Source] = []
        if made.external is not None:
            if made.constant is not None:
                constants[index] = made.constant
                sources = [Source("constant", made.constant.array, layout_of(made.constant.array))]
            else:
                sources = before.sources.get(id(made.external.buffer), [])
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
        assignments, events, changed, shared, after, unsettled,
    )  # fmt: skip


def is_one(a: object, b: object) -> bool:
    """Whether two containers, or two keys, are one."""
    return a is b or type(a) is type(b) and isinstance(a, (Argument, *PLAIN)) and a == b


class _Before:
    """What was where before a call."""

    def __init__(self, state: State, arguments: list[Tensor | NDArray]) -> None:
        self.state = state
        self.tensors = {id(tensor): tensor for tensor in state.tensors.values()}
        self._arguments = {id(leaf): index for index, leaf in enumerate(arguments) if isinstance(leaf, Tensor)}
        self._held: list[tuple[Any, Tensor, NDArray, Tensor | None, bool]] = []
        # Where each array comes from, by the id of its buffer; an argument is named first.
        self.sources: dict[int, list[Source]] = defaultdict(list)
        for index, leaf in enumerate(arguments):
            self._add(array_of(leaf), "argument", index)
        for tensor in [*(leaf for leaf in arguments if isinstance(leaf, Tensor)), *self.tensors.values()]:
            index_or_none = self._arguments.get(id(tensor))
            container = tensor if index_or_none is None else Argument(index_or_none)
            if any(is_one(container, held[0]) for held in self._held):
                continue
            self._held.append((container, tensor, tensor.cached_data, tensor.grad, tensor.requires_grad))
            if id(tensor) in self.tensors:
                self._add(tensor.cached_data, "tensor", tensor)
            if tensor.grad is not None:
                self._add(tensor.grad.cached_data, "grad", container)
        for entry in state.arrays:
            self._add(entry.value, "array", (entry.container, entry.key))

    def _add(self, array: Any, kind: str, key: object) -> None:
        self.sources[id(array.buffer)].append(Source(kind, key, layout_of(array)))

    def assignments(self, build: _Results) -> list[Assignment]:
        """The arrays and the gradients that Tensors have been given."""
        found = []
        for container, tensor, data, grad, requires_grad in self._held:
            if tensor.requires_grad is not requires_grad and isinstance(container, Argument):
                raise JitError(
                    f"requires_grad of argument {container.index} was {requires_grad} and is {tensor.requires_grad}: expected "
                    "it to be set outside the function"
                )
            if tensor.cached_data is not data:
                found.append(Assignment(container, "cached_data", build.add(tensor.cached_data)))
            if tensor.grad is not grad:
                found.append(Assignment(container, "grad", build.leaf(tensor.grad)))
        return found

    def carried(self, after: State, build: _Results) -> list[Assignment]:
        """The Tensors and arrays that took the place of others in containers: state that goes from call to call."""
        found = []
        later = {entry.path: entry for entry in [*after.entries, *after.arrays]}
        for entry in [*self.state.entries, *self.state.arrays]:
            now = later.get(entry.path)
            if now is None or now.value is entry.value or now.container is not entry.container:
                continue
            if type(now.value) is not type(entry.value) or not isinstance(now.value, (Tensor, NDArray)):
                continue
            # Of a Tensor that was elsewhere before, as when two are exchanged, the array is carried.
            moved = self.tensors.get(id(now.value))
            value = build.leaf(now.value) if moved is None else build.tensor(moved)
            found.append(Assignment(entry.container, entry.key, value))
            if isinstance(entry.value, Tensor):
                array, key = entry.value.cached_data, (entry.container, entry.key, "cached_data")
                sources = self.sources[id(array.buffer)]
                # The array is wherever the container's Tensor has it, which is another Tensor in the next call.
                sources[:] = [source for source in sources if source.key is not entry.value]
                sources.insert(0, Source("array", key, layout_of(array)))
        return found

    def refuse_live_numbers(self, after: State) -> None:
        """Raises JitError for a live number that the call has stored: it would be of no use later."""
        for entry in after.entries:
            if isinstance(entry.value, Live):
                if isinstance(entry.container, dict) and entry.container.get(entry.key) is not None:
                    entry.container[entry.key] = entry.value.value
                raise JitError(
                    f"{user_line()}: {entry.path} is a number that may change from call to call, which a replay would not "
                    "store: expected the function to return it"
                )

    def leave_out(self, after: State, carried: list[Assignment]) -> None:
        """Takes what is carried out of both states: it may be another object in each call."""

        def is_carried(entry: Entry) -> bool:
            return any(a.container is entry.container and is_one(a.key, entry.key) for a in carried)

        for state in (self.state, after):
            gone = {
                id(entry.value): entry
                for entry in state.entries
                if isinstance(entry.value, Tensor) and is_carried(entry)
            }
            state.entries = [
                entry for entry in state.entries if not is_carried(entry) and id(entry.container) not in gone
            ]
            state.tensors = {path: tensor for path, tensor in state.tensors.items() if id(tensor) not in gone}


class _Results:
    """Collects the arrays that a call leaves behind."""

    def __init__(self, recorder: Recorder, arguments: list[Tensor | NDArray], tensors: dict[int, Tensor]) -> None:
        self.places: list[Place] = []
        self._recorder = recorder
        self._arguments = {id(leaf): index for index, leaf in enumerate(arguments)}
        self._tensors = tensors
        self._known: dict[int, Result] = {}

    def leaf(self, leaf: object) -> object:
        """How a replay makes a leaf of the returned tree."""
        if isinstance(leaf, (Live, *PLAIN)):
            return leaf
        if id(leaf) in self._arguments:
            return Argument(self._arguments[id(leaf)])
        if id(leaf) in self._tensors:
            return leaf
        if isinstance(leaf, (Tensor, NDArray)):
            if id(leaf) not in self._known:
                self._known[id(leaf)] = self.tensor(leaf) if isinstance(leaf, Tensor) else self.add(leaf)
            return self._known[id(leaf)]
        raise JitError(
            f"{user_line()}: the function returns {short(leaf)}: expected Tensors and plain values, in tuples, lists and dicts"
        )

    def tensor(self, tensor: Tensor) -> Result:
        """Cuts a Tensor from its graph, which no replay builds."""
        is_leaf = tensor.op is None
        if not is_leaf:
            cut(tensor)
        result = self.add(tensor.cached_data)
        return replace(result, cls=type(tensor), requires_grad=tensor.requires_grad, is_leaf=is_leaf)

    def add(self, array: NDArray) -> Result:
        return self.add_place(self._recorder.place_of(array))

    def add_place(self, place: Place) -> Result:
        self.places.append(place)
        return Result(len(self.places) - 1, None, False)


class Replayed(Op):
    """Stands in for the graph of a Tensor that a jitted function returned."""

    def gradient_as_tuple(self, out_grad: Tensor | list[Tensor], node: Value) -> NoReturn:
        raise GradientError(
            "backward: this Tensor is the result of a function of ndl.jit, which keeps no graph: expected backward() "
            "within the function"
        )


_replayed = Replayed()


def cut(tensor: Tensor) -> None:
    """Replaces a Tensor's graph, so that a backward pass says why there is none."""
    tensor.op, tensor.inputs, tensor.read, tensor.saved = _replayed, (), None, ()


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
            "a replay would not put the next one: expected the function to return it"
        )

"""A compiled program, ready to run: its inputs are looked up, its live numbers read, its results put where they go."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable
from typing import Any

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray, changes, cpu
from needle.backend_ndarray.number import Live
from needle.compiler.before import add_leaves
from needle.compiler.check import checked
from needle.compiler.lower import lower
from needle.compiler.memory_plan import plan
from needle.compiler.live_state import LiveState
from needle.compiler.passes import chosen_passes
from needle.compiler.program import Program, Source
from needle.compiler.recorded import Recorded
from needle.compiler.recorder import Act, Read, owner
from needle.compiler.rehearsal import ReplayFailed, add_note
from needle.compiler.results import Argument, Result, cut
from needle.compiler.state import put
from needle.compiler.tree import array_of, layout_of, map_leaves
from needle.errors import NeedleError


class Compiled:
    """A program and what surrounds it in Python."""

    def __init__(self, name: str, recorded: Recorded) -> None:
        started = time.perf_counter()
        self._name = name
        self._guards = recorded.state.guards()
        self._carried = recorded.carried
        self._tree = recorded.tree
        self._assignments = recorded.assignments
        # What comes after the last live number, such as counting a step, comes after the kernels.
        last = max((i for i, (event, _) in enumerate(recorded.events) if isinstance(event, Read)), default=-1) + 1
        self._before = [event for event, indices in recorded.events[:last] if not indices]
        self._live_objects = recorded.state.live_objects
        # A number that no object has is drawn from the random generator, which has a new state then.
        self._acts_before = any(isinstance(event, Act) or owner(event.read) is None for event in self._before)
        self._after = [(event, of) for i, (event, of) in enumerate(recorded.events) if of or i >= last]
        self._refreshed = [constant for constant in recorded.constants.values() if constant.source is not None]
        program = Program(recorded.device, recorded.calls, recorded.memories, recorded.places)
        self.stats: dict[str, Any] = {"calls before": len(program.calls), "bytes before": program.traffic()}
        self.stats["peak memory before"] = program.peak_memory()
        for run in chosen_passes().values():
            program = run(program)
        self.program = program
        block, spots = plan(program)
        kept = sum(memory.nbytes for memory in program.memories if memory.input is None and memory.is_kept)
        self.stats |= {"calls": len(program.calls), "bytes": program.traffic(), "peak memory": block + kept}
        inputs = [(i, memory.input) for i, memory in enumerate(program.memories) if memory.input is not None]
        state = [(i, source) for i, source in inputs if not _is_of_argument(source)]
        arguments = [(i, source) for i, source in inputs if _is_of_argument(source)]
        self._arguments = [source for _, source in arguments]
        self._lookups = cpu().kernels.Lookups([_location(source) for _, source in state])
        self._last_state: list[Any] = [None] * len(state)
        self._state_layouts = [source.layout for _, source in state]
        number_of = {memory: number for number, (memory, _) in enumerate(state + arguments)}
        written = set[int]().union(*(call.writes() for call in program.calls))
        self._changed = {number: memory for memory, number in number_of.items() if memory in written}
        shared = [(number_of[memory], source) for memory, source in recorded.shared if memory in number_of]
        self._shared_arguments = [(number, source) for number, source in shared if _is_of_argument(source)]
        self._shared_state = [(number, source) for number, source in shared if not _is_of_argument(source)]
        self._shared_lookups = cpu().kernels.Lookups([_location(source) for _, source in self._shared_state])
        self._numbers: list[Live] = []
        self._runner: Any = None
        if program.device is not None:
            order = [memory for memory, _ in state + arguments]
            self._runner, self._numbers = lower(program, order, block, spots, recorded.changed)
        self.stats["seconds to compile"] = time.perf_counter() - started

    def inputs(self, leaves: list[Tensor | NDArray]) -> list[NDArray] | None:
        """The arrays to run with, or None where the program would not do what the function does.

        Appends the leaves of what is carried from call to call to those of the arguments.
        """
        if not self._guards.hold() or self._carried and not add_leaves(self._carried, leaves):
            return None
        state = self._lookups.now()
        if not all(map(operator.is_, state, self._last_state)):  # the layouts of the same arrays are the same
            if any(array is None or layout_of(array) != layout for array, layout in zip(state, self._state_layouts)):
                return None
            self._last_state = state
        arrays: list[NDArray] = state + [_of_argument(source, leaves) for source in self._arguments]
        if any(array is None for array in arrays[len(state) :]):
            return None
        twins = [_of_argument(source, leaves) for _, source in self._shared_arguments] + self._shared_lookups.now()
        for (number, _), array in zip(self._shared_arguments + self._shared_state, twins):
            if array is None or array.buffer is not arrays[number].buffer:
                return None  # what was in several places no longer is
        if self._changed and len({id(array.buffer) for array in arrays}) != len(arrays):
            return None  # some share memory that did not
        return arrays

    def run(self, leaves: list[Tensor | NDArray], inputs: list[NDArray]) -> Any:
        """Does what the function does, and returns what it returns."""
        numbers = LiveState(self._live_objects) if self._acts_before else None
        for event in self._before:
            if isinstance(event, Act):
                event.action()
            else:
                event.cell[0] = event.read()
        try:
            arrays = self._run_kernels(inputs)
        except ReplayFailed:
            if numbers is not None:
                numbers.restore()
            raise
        tensors: dict[int, Tensor | NDArray] = {}

        def leaf(of: object) -> object:
            if isinstance(of, Result):
                if of.index not in tensors:
                    tensors[of.index] = _tensor(arrays, of)
                return tensors[of.index]
            if isinstance(of, Argument):
                return leaves[of.index]
            return of.value if isinstance(of, Live) else of

        for container, key, value in self._assignments:
            new = leaf(value) if type(value) is Result else map_leaves(leaf, value)
            put(leaves[container.index] if isinstance(container, Argument) else container, key, new)
        for event, indices in self._after:
            if isinstance(event, Act):
                event.action(*[arrays[index] for index in indices])
        return map_leaves(leaf, self._tree)

    def checked_run(self, leaves: list[Tensor | NDArray], inputs: list[NDArray], call: Callable[[], Any]) -> Any:
        """`run`, compared with a call of the function."""
        assigned = [
            (leaves[a.container.index] if isinstance(a.container, Argument) else a.container, a)
            for a in self._assignments
        ]
        changed = [inputs[number] for number in self._changed]
        replay = functools.partial(self.run, leaves, inputs)
        return checked(self._name, call, replay, changed, assigned, self._live_objects)

    def _run_kernels(self, inputs: list[NDArray]) -> list[NDArray]:
        if self._runner is None:
            return []
        for constant in self._refreshed:
            assert constant.source is not None
            constant.array[...] = constant.source
        changes.count += 1
        try:
            arrays: list[NDArray] = self._runner.run(inputs, [live.value for live in self._numbers], changes.count)
        except (NeedleError, IndexError) as error:
            step = self._runner.failed_step()
            if not 0 <= step < len(self.program.calls):
                raise
            failed = self.program.calls[step]
            add_note(error, f"{failed.line}: in {failed.kernel}, of {self._name}")
            done = set[int]().union(*(call.writes() for call in self.program.calls[:step]))
            written = {id(inputs[number].buffer) for number, memory in self._changed.items() if memory in done}
            raise ReplayFailed(error, written) from error
        return arrays


def _tensor(arrays: list[NDArray], result: Result) -> Tensor | NDArray:
    """A result as what the function makes of it."""
    if result.cls is None:
        return arrays[result.index]
    tensor = result.cls.__new__(result.cls)
    tensor._init_leaf(arrays[result.index], result.requires_grad)
    if result.requires_grad and not result.is_leaf:
        cut(tensor)
    return tensor


def _is_of_argument(source: Source) -> bool:
    return source.kind == "argument" or isinstance(source.key, Argument)


def _of_argument(source: Source, leaves: list[Tensor | NDArray]) -> Any:
    if source.kind == "argument":
        return array_of(leaves[source.key])
    grad = leaves[source.key.index].grad
    return None if grad is None or layout_of(grad.cached_data) != source.layout else grad.cached_data


def _location(source: Source) -> tuple[Any, Any, str | None]:
    """Where the array of an input is that is no argument: a container, the key in it, an attribute of what is there."""
    key: Any = source.key
    if source.kind == "tensor":
        return key, "cached_data", None
    if source.kind == "grad":
        return key, "grad", "cached_data"
    if source.kind == "array":
        return *key, None
    return (key,), 0, None

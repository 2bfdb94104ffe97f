"""A compiled program, ready to run: its inputs are looked up, its live numbers read, its results put where they go."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray, changes, cpu
from needle.compiler.before import add_leaves
from needle.compiler.check import checked
from needle.compiler.live_state import LiveState
from needle.compiler.lower import lower
from needle.compiler.outcome import Outcome
from needle.compiler.passes import chosen_passes
from needle.compiler.program import Program
from needle.compiler.recorded import Recorded
from needle.compiler.recorder import Act, Read, owner
from needle.compiler.rehearsal import ReplayFailed, add_note
from needle.compiler.results import Argument
from needle.errors import NeedleError
from needle.typing import Number


class Compiled:
    """A program and what surrounds it in Python."""

    def __init__(self, name: str, recorded: Recorded) -> None:
        started = time.perf_counter()
        self._name = name
        self._guards = recorded.state.guards()
        self._carried = recorded.carried
        self._assignments = recorded.assignments
        self._unread_gradients = recorded.unread_gradients
        self._resets_late = recorded.resets_late
        self._outcome = Outcome(recorded.tree, recorded.assignments)
        # What comes after the last live number, such as counting a step, comes after the kernels.
        last = max((i for i, (event, _) in enumerate(recorded.events) if isinstance(event, Read)), default=-1) + 1
        before = [event for event, indices in recorded.events[:last] if not indices]
        self._before = [event.action if isinstance(event, Act) else event.renew for event in before]
        self._after = [
            (event.action, of)
            for i, (event, of) in enumerate(recorded.events)
            if isinstance(event, Act) and (of or i >= last)
        ]
        self._live_objects = recorded.state.live_objects
        # A number that no object has is drawn from the random generator, which has a new state then.
        self._acts_before = any(isinstance(event, Act) or owner(event.read) is None for event in before)
        self._refreshed = [constant for constant in recorded.constants.values() if constant.source is not None]
        program = Program(recorded.device, recorded.calls, recorded.memories, recorded.places)
        self.stats: dict[str, Any] = {"calls before": len(program.calls), "bytes before": program.traffic()}
        self.stats["peak memory before"] = program.peak_memory()
        planned = program
        for pass_name, run in chosen_passes().items():
            planned = run(planned)
            if pass_name != "memory_plan":
                program = planned  # in which each temporary has a name of its own
        self.program = program
        self.stats |= {"calls": len(program.calls), "bytes": program.traffic()}
        self.stats["peak memory"] = planned.peak_memory()
        inputs = [(i, memory.input) for i, memory in enumerate(program.memories) if memory.input is not None]
        number_of = {memory: number for number, (memory, _) in enumerate(inputs)}
        written = set[int]().union(*(call.writes() for call in program.calls))
        self._changed = {number: memory for memory, number in number_of.items() if memory in written}
        # Inputs that shared memory when they were recorded are one input. Others may not, if any is written.
        self._inputs = cpu().kernels.Lookups([source.location() for _, source in inputs], not self._changed)
        shared = [(number_of[memory], source) for memory, source in recorded.shared if memory in number_of]
        self._shared = [number for number, _ in shared]
        self._twins = cpu().kernels.Lookups([source.location() for _, source in shared], True)
        self._numbers: list[Callable[[], Number]] = []
        self._runner: Any = None
        if program.device is not None:
            order = [memory for memory, _ in inputs]
            self._runner, lives = lower(planned, order, recorded.changed)
            self._numbers = [live.compute for live in lives]
        self.stats["seconds to compile"] = time.perf_counter() - started

    def inputs(self, leaves: list[Tensor | NDArray]) -> list[NDArray] | None:
        """The arrays to run with, or None where the program would not do what the function does.

        Appends the leaves of what is carried from call to call to those of the arguments.
        """
        if not self._guards.hold() or self._carried and not add_leaves(self._carried, leaves):
            return None
        arrays: list[NDArray] | None = self._inputs.now(leaves)
        if arrays is not None and self._shared:  # what was in several places must still be there
            twins = self._twins.now(leaves)
            if twins is None or any(a.buffer is not arrays[number].buffer for a, number in zip(twins, self._shared)):
                return None
        return arrays

    def run(self, leaves: list[Tensor | NDArray], inputs: list[NDArray]) -> Any:
        """Does what the function does, and returns what it returns."""
        numbers = LiveState(self._live_objects) if self._acts_before else None
        for prepare in self._before:
            prepare()
        for tensor in self._unread_gradients:
            tensor.grad = None
        try:
            arrays = self._run_kernels(inputs)
        except Exception as error:
            if numbers is not None:
                numbers.restore()
            if self._resets_late:
                of = error.error if isinstance(error, ReplayFailed) else error
                add_note(of, "gradients from before the call are gone")
            raise
        values = self._outcome.values(arrays, leaves)
        self._outcome.assign(values)
        for act, indices in self._after:
            act(*[arrays[index] for index in indices])
        return self._outcome.tree(values)

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
            arrays: list[NDArray] = self._runner.run(inputs, [number() for number in self._numbers], changes.count)
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

"""Fusion: element-wise calls over arrays of one shape become one call, which takes each element through all of them.

Intermediate results then stay in the first-level cache, and memory that only they were in is not needed. Every number
is computed by the same instructions as before (kernels/cpu/fused.cc).

The pass goes through the calls in order and keeps groups open. A call joins a group whose results or inputs it reads. A
group runs where its last call was. So it is closed by a call that cannot join and that reads what the group writes, or
writes what it reads or writes. A sum of what a group computes becomes part of it when it is closed. What a group reads
stays in memory until it runs. So no call joins one if the program needed more memory then than it does without fusion.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace

from needle.backend_ndarray.shape import Shape, is_compact
from needle.compiler.passes.lifetimes import Lifetimes
from needle.compiler.passes.uses import are_disjoint, is_elementwise
from needle.compiler.program import Call, Place, Program, Scalar

MOST_INSTRUCTIONS = 64  # of the kernel `fused`
MOST_ARRAYS = 16  # inputs and outputs


def fusion(program: Program) -> Program:
    """Fuses element-wise calls, and sums of their results. Not on GPUs, where `fused` runs its instructions one by one."""
    if program.device is None or program.device.name == "cuda":
        return program
    lifetimes = Lifetimes(program)
    runs: dict[int, Call] = {}  # by the index of the call in whose place they are
    groups: list[_Group] = []
    ended: set[int] = set()  # sums that are part of a group

    def close(group: _Group) -> None:
        groups.remove(group)
        whole = group.with_sum(program, lifetimes)
        ended.update(whole.indices - group.indices)
        run = whole.as_call(lifetimes)
        if run is not None:
            runs[whole.last] = run

    for index, call in enumerate(program.calls):
        joined = _Group.of(index, call) if is_elementwise(call) else None
        if joined is not None:
            for group in [group for group in groups if group.is_near(joined)]:
                together = group.with_group(joined)
                if together.is_possible(lifetimes) and lifetimes.join(together.indices, together.memories, index):
                    groups.remove(group)
                    joined = together
        for group in [group for group in groups if group.conflicts_with(call)]:
            close(group)
        if joined is not None:
            groups.append(joined)
        elif index not in ended:
            runs[index] = call
    for group in list(groups):
        close(group)
    return program.with_calls([runs[index] for index in sorted(runs)])


@dataclass
class _Group:
    """Calls, by index, that can be one, which runs where the last of them was; and perhaps a later sum of a result."""

    calls: dict[int, Call]
    inputs: dict[object, Place | Scalar]  # that it reads from outside; a Scalar by its id, as 0.0 and -0.0 are equal
    written: dict[Place, int]  # by the last call that writes it
    reads: set[int]  # memories, as `writes`
    writes: set[int]
    sum: tuple[int, Call] | None = None

    @staticmethod
    def of(index: int, call: Call) -> _Group:
        """A group of one call."""
        inputs = {_key(operand): operand for operand in _inputs_of(call)}
        return _Group({index: call}, inputs, {_output_of(call): index}, call.reads(), call.writes())

    def with_group(self, later: _Group) -> _Group:
        """Both as one."""
        return _Group(
            self.calls | later.calls,
            self.inputs | {key: operand for key, operand in later.inputs.items() if key not in self.written},
            self.written | later.written,
            self.reads | later.reads,
            self.writes | later.writes,
        )

    @property
    def last(self) -> int:
        return max(self.calls)

    @property
    def shape(self) -> Shape:
        return next(iter(self.written)).shape

    @property
    def indices(self) -> set[int]:
        """Those of all its calls and of the sum."""
        return {*self.calls, self.sum[0]} if self.sum else set(self.calls)

    @property
    def memories(self) -> set[int]:
        """Those that all its calls and the sum use."""
        return self.reads | self.writes | self.sum[1].writes() if self.sum else self.reads | self.writes

    def is_near(self, later: _Group) -> bool:
        """Whether joining saves a pass over memory."""
        return self.shape == later.shape and bool((later.reads | later.writes) & (self.writes | self.reads))

    def conflicts_with(self, call: Call) -> bool:
        """Whether the group must run before a call."""
        return bool(call.reads() & self.writes or call.writes() & (self.reads | self.writes))

    def with_sum(self, program: Program, lifetimes: Lifetimes) -> _Group:
        """The group with the first sum of a result, if there is one that can run already where the group does."""
        for result in self.written:
            for index in lifetimes.uses(result.memory):
                call = program.calls[index]
                if index <= self.last:
                    continue
                if result.memory in call.writes():
                    break
                if call.kernel != "sum" or call.operands[0] != result:
                    continue
                together = replace(self, sum=(index, call))
                (total,) = call.writes()
                is_new = lifetimes.uses(total)[:1] == [index]
                is_read = not lifetimes.is_inside(total, {index})
                if (
                    is_new
                    and is_read
                    and together.is_possible(lifetimes)
                    and lifetimes.join(together.indices, together.memories, self.last)
                ):
                    return together
        return self

    def is_possible(self, lifetimes: Lifetimes) -> bool:
        """Whether the kernel can run it, and gives the same bits."""
        outputs = self._outputs(lifetimes)
        arrays = len(self.inputs) + len(outputs) + (self.sum is not None)
        if len(self.calls) > MOST_INSTRUCTIONS or arrays > MOST_ARRAYS:
            return False
        if self.sum is not None:
            summed = self.sum[1].operands[0]
            assert isinstance(summed, Place)
            if summed not in outputs and not is_compact(summed.shape, summed.strides):
                return False  # numbers are added in the order of their memory, if there is any, else in row-major order
        places: defaultdict[int, list[Place]] = defaultdict(list)
        for place in {*self.written, *(operand for operand in self.inputs.values() if isinstance(operand, Place))}:
            places[place.memory].append(place)
        return all(
            len(places[memory]) == 1
            or memory not in self.reads
            and all(are_disjoint(a, b) for a, b in itertools.combinations(places[memory], 2))
            for memory in self.writes
        )

    def _outputs(self, lifetimes: Lifetimes) -> list[Place]:
        """The arrays that it must write."""
        indices = self.indices
        return [place for place in self.written if not lifetimes.is_inside(place.memory, indices)]

    def as_call(self, lifetimes: Lifetimes) -> Call | None:
        """The one call; None if nobody reads a result."""
        if len(self.indices) == 1:
            return self.calls[self.last]
        inputs, outputs = list(self.inputs.values()), self._outputs(lifetimes)
        output_of = {self.written[place]: len(inputs) + i for i, place in enumerate(outputs)}
        free = itertools.count(len(inputs) + len(outputs))
        holds: dict[object, int] = {key: i for i, key in enumerate(self.inputs)}  # which register holds what, now
        instructions = []
        for index, call in self.calls.items():
            register = output_of[index] if index in output_of else next(free)
            code = (_output_of(call).dtype.code,) if call.kernel == "copy" else ()
            instructions.append((call.kernel, register, *(holds[_key(operand)] for operand in _inputs_of(call)), *code))
            holds[_output_of(call)] = register
        lines = ", ".join(dict.fromkeys(call.line for call in self.calls.values()))
        if self.sum is None:
            return Call("fused", (inputs, outputs, tuple(instructions)), lines) if outputs else None
        summed, total = self.sum[1].operands
        assert isinstance(summed, Place)
        return Call("fused_sum", (inputs, outputs, total, tuple(instructions), holds[summed]), lines)


def _key(operand: Place | Scalar) -> object:
    return operand if isinstance(operand, Place) else id(operand)


def _inputs_of(call: Call) -> list[Place | Scalar]:
    return [operand for operand in call.operands[:-1] if isinstance(operand, (Place, Scalar))]


def _output_of(call: Call) -> Place:
    out = call.operands[-1]
    assert isinstance(out, Place)  # of an element-wise call
    return out

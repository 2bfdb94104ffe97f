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

from needle.backend_ndarray.shape import is_compact
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
        joined = _Group({index: call}) if is_elementwise(call) else None
        if joined is not None:
            for group in [group for group in groups if group.is_near(joined)]:
                together = _Group(group.calls | joined.calls)
                if together.is_possible(lifetimes) and lifetimes.join(together.indices, index):
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


class _Group:
    """Calls, by index, that can be one, which runs where the last of them was; and perhaps a later sum of a result."""

    def __init__(self, calls: dict[int, Call], sum_of_result: tuple[int, Call] | None = None) -> None:
        self.calls = calls
        self.last = max(calls)
        self.sum = sum_of_result
        self.indices = {*calls, sum_of_result[0]} if sum_of_result else set(calls)
        self.shape = _output_of(calls[self.last]).shape
        self.reads = set[int]().union(*(call.reads() for call in calls.values()))  # memories, as `writes`
        self.writes = set[int]().union(*(call.writes() for call in calls.values()))

    def is_near(self, later: _Group) -> bool:
        """Whether joining saves a pass over memory."""
        return self.shape == later.shape and bool((later.reads | later.writes) & (self.writes | self.reads))

    def conflicts_with(self, call: Call) -> bool:
        """Whether the group must run before a call."""
        return bool(call.reads() & self.writes or call.writes() & (self.reads | self.writes))

    def with_sum(self, program: Program, lifetimes: Lifetimes) -> _Group:
        """The group with the first sum of a result, if there is one that can run already where the group does."""
        for result in {_output_of(call): None for call in self.calls.values()}:
            for index in lifetimes.uses(result.memory):
                call = program.calls[index]
                if index > self.last and result.memory in call.writes():
                    break
                if index > self.last and call.kernel == "sum" and call.operands[0] == result:
                    together = _Group(self.calls, (index, call))
                    is_early_enough = all(index in lifetimes.uses(memory)[:1] for memory in call.writes())
                    if (
                        is_early_enough
                        and together.is_possible(lifetimes)
                        and lifetimes.join(together.indices, self.last)
                    ):
                        return together
        return self

    def is_possible(self, lifetimes: Lifetimes) -> bool:
        """Whether the kernel can run it, and gives the same bits."""
        inputs, outputs, _ = self._registers(lifetimes)
        arrays = len(inputs) + len(outputs) + (self.sum is not None)
        if len(self.calls) > MOST_INSTRUCTIONS or arrays > MOST_ARRAYS:
            return False
        if self.sum is not None:
            summed = self.sum[1].operands[0]
            assert isinstance(summed, Place)
            if summed not in outputs and not is_compact(summed.shape, summed.strides):
                return False  # numbers are added in the order of their memory, if there is any, else in row-major order
        places: defaultdict[int, set[Place]] = defaultdict(set)
        for call in self.calls.values():
            for place, _, _ in call.places():
                places[place.memory].add(place)
        return all(
            len(places[memory]) == 1
            or memory not in self.reads
            and all(are_disjoint(a, b) for a, b in itertools.combinations(places[memory], 2))
            for memory in self.writes
        )

    def _registers(self, lifetimes: Lifetimes) -> tuple[list[Place | Scalar], list[Place], list[int]]:
        """The arrays and numbers that it reads from outside, those that it must write, and each call's output register."""
        inputs: list[Place | Scalar] = []
        written: dict[Place, int] = {}  # by the last call
        for number, call in enumerate(self.calls.values()):
            for operand in _inputs_of(call):
                if not (isinstance(operand, Place) and operand in written) and _find(inputs, operand) is None:
                    inputs.append(operand)
            written[_output_of(call)] = number
        outputs = [place for place in written if not lifetimes.is_inside(place.memory, self.indices)]
        register_of = {written[place]: len(inputs) + i for i, place in enumerate(outputs)}
        free = itertools.count(len(inputs) + len(outputs))
        registers = [register_of[i] if i in register_of else next(free) for i in range(len(self.calls))]
        return inputs, outputs, registers

    def as_call(self, lifetimes: Lifetimes) -> Call | None:
        """The one call; None if nobody reads a result."""
        if len(self.indices) == 1:
            return self.calls[self.last]
        inputs, outputs, registers = self._registers(lifetimes)
        holds: dict[Place, int] = {}  # the register that holds an array at this point
        instructions = []
        for call, register in zip(self.calls.values(), registers):
            sources = [
                holds[operand] if isinstance(operand, Place) and operand in holds else _find(inputs, operand)
                for operand in _inputs_of(call)
            ]
            out = _output_of(call)
            code = (out.dtype.code,) if call.kernel == "copy" else ()
            instructions.append((call.kernel, register, *sources, *code))
            holds[out] = register
        lines = ", ".join(dict.fromkeys(call.line for call in self.calls.values()))
        if self.sum is None:
            return Call("fused", (inputs, outputs, tuple(instructions)), lines) if outputs else None
        summed, total = self.sum[1].operands
        assert isinstance(summed, Place)
        return Call("fused_sum", (inputs, outputs, total, tuple(instructions), holds[summed]), lines)


def _inputs_of(call: Call) -> list[Place | Scalar]:
    return [operand for operand in call.operands[:-1] if isinstance(operand, (Place, Scalar))]


def _output_of(call: Call) -> Place:
    out = call.operands[-1]
    assert isinstance(out, Place)  # of an element-wise call
    return out


def _find(inputs: list[Place | Scalar], operand: Place | Scalar) -> int | None:
    """The register of an input. Scalars are never shared, as 0.0 and -0.0 are equal."""
    for register, known in enumerate(inputs):
        if known is operand or isinstance(operand, Place) and isinstance(known, Place) and known == operand:
            return register
    return None

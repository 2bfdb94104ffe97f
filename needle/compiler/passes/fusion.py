"""Fusion: element-wise calls over arrays of one shape become one call, which takes each element through all of them.

Intermediate results then stay in the first-level cache, and memory that only they were in is not needed. Every number
is computed by the same instructions as before (kernels/cpu/fused.cc).

The pass goes through the calls in order and keeps groups open. A call joins a group whose results or inputs it reads. A
group runs where its last call was. So it is closed by a call that cannot join and that reads what the group writes, or
writes what it reads or writes. What a group reads stays in memory until it runs. So no call joins one if the program
needed more memory then than it does without fusion.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace

from needle.compiler.passes.lifetimes import Lifetimes
from needle.compiler.passes.uses import are_disjoint, is_elementwise
from needle.compiler.program import Call, Place, Program, Scalar

MOST_INSTRUCTIONS = 64  # of the kernel `fused`
MOST_ARRAYS = 16  # inputs and outputs


def fusion(program: Program) -> Program:
    """Fuses element-wise calls. Not on GPUs, where `fused` runs its instructions one by one."""
    if program.device is None or program.device.name == "cuda":
        return program
    lifetimes = Lifetimes(program)
    runs: list[tuple[int, Call]] = []
    groups: list[_Group] = []

    def close(group: _Group) -> None:
        groups.remove(group)
        runs.extend((group.last, call) for call in group.as_calls(lifetimes))

    for index, call in enumerate(program.calls):
        joined = _Group({index: call}) if is_elementwise(call) else None
        if joined is not None:
            for group in [group for group in groups if group.is_near(joined)]:
                together = _Group(group.calls | joined.calls)
                if together.is_possible(lifetimes) and lifetimes.join(together.calls.keys()):
                    groups.remove(group)
                    joined = together
        for group in [group for group in groups if group.conflicts_with(call)]:
            close(group)
        if joined is None:
            runs.append((index, call))
        else:
            groups.append(joined)
    for group in list(groups):
        close(group)
    return replace(program, calls=tuple(call for _, call in sorted(runs, key=lambda run: run[0])))


class _Group:
    """Calls, by index, that can be one, which runs where the last of them was."""

    def __init__(self, calls: dict[int, Call]) -> None:
        self.calls = calls
        self.last = max(calls)
        self.shape = _output_of(calls[self.last]).shape
        self.reads = set[int]().union(*(call.reads() for call in calls.values()))  # memories, as `writes`
        self.writes = set[int]().union(*(call.writes() for call in calls.values()))

    def is_near(self, later: _Group) -> bool:
        """Whether joining saves a pass over memory."""
        return self.shape == later.shape and bool((later.reads | later.writes) & (self.writes | self.reads))

    def conflicts_with(self, call: Call) -> bool:
        """Whether the group must run before a call."""
        return bool(call.reads() & self.writes or call.writes() & (self.reads | self.writes))

    def is_possible(self, lifetimes: Lifetimes) -> bool:
        """Whether the kernel can run it, and in any order of the elements."""
        inputs, outputs, _ = self._registers(lifetimes)
        if len(self.calls) > MOST_INSTRUCTIONS or len(inputs) + len(outputs) > MOST_ARRAYS:
            return False
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
        outputs = [place for place in written if not lifetimes.is_inside(place.memory, self.calls.keys())]
        register_of = {written[place]: len(inputs) + i for i, place in enumerate(outputs)}
        free = itertools.count(len(inputs) + len(outputs))
        registers = [register_of[i] if i in register_of else next(free) for i in range(len(self.calls))]
        return inputs, outputs, registers

    def as_calls(self, lifetimes: Lifetimes) -> list[Call]:
        """The one call, or the only one that the group has; none if nobody reads a result."""
        if len(self.calls) == 1:
            return list(self.calls.values())
        inputs, outputs, registers = self._registers(lifetimes)
        if not outputs:
            return []
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
        return [Call("fused", (inputs, outputs, tuple(instructions)), lines)]


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

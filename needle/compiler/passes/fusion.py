"""Fusion: element-wise calls over arrays of one shape become one call, which takes each element through all of them.

Intermediate results then stay in the first-level cache, and memory that only they were in is not needed. Every number
is computed by the same instructions as before (kernels/cpu/fused.cc).

The pass goes through the calls in order and keeps groups open. A call joins a group whose results or inputs it reads. A
group runs where its last call was. So it is closed by a call that cannot join and that reads what the group writes, or
writes what it reads or writes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from needle.backend_ndarray.kernel_table import COMPARISON, COPY, ELEMENTWISE, KERNELS
from needle.backend_ndarray.shape import Shape
from needle.compiler.passes.uses import written_once
from needle.compiler.program import Call, Place, Program, Scalar

MOST_INSTRUCTIONS = 64  # of the kernel `fused`
MOST_ARRAYS = 16  # inputs and outputs
_KINDS = (COPY, ELEMENTWISE, COMPARISON)


def fusion(program: Program) -> Program:
    """Fuses element-wise calls. Not on GPUs, where `fused` runs its instructions one by one."""
    if program.device is None or program.device.name == "cuda":
        return program
    once = written_once(program)
    reads = Counter(memory for call in program.calls for memory in call.reads())
    inside = {i for i in once if program.memories[i].input is None and not program.memories[i].is_kept}
    emitted: list[tuple[int, Call]] = []
    groups: list[_Group] = []

    def close(group: _Group) -> None:
        groups.remove(group)
        emitted.extend((group.last, call) for call in group.as_calls(reads, inside))

    for index, call in enumerate(program.calls):
        joined = _Group.of(index, call) if _is_elementwise(call) else None
        if joined is not None:
            for group in [group for group in groups if group.shape == joined.shape and group.is_near(joined)]:
                together = group.with_group(joined)
                if together is not None and together.fits(reads, inside):
                    groups.remove(group)
                    joined = together
        of_call = call.reads(), call.writes()
        for group in list(groups):
            if group.conflicts_with(*of_call):
                close(group)
        if joined is None:
            emitted.append((index, call))
        else:
            groups.append(joined)
    for group in list(groups):
        close(group)
    return replace(program, calls=tuple(call for _, call in sorted(emitted, key=lambda pair: pair[0])))


def _is_elementwise(call: Call) -> bool:
    if KERNELS[call.kernel].kind not in _KINDS or call.kernel == "fused":
        return False
    *inputs, out = call.operands
    return isinstance(out, Place) and all(
        isinstance(operand, Scalar) or isinstance(operand, Place) and operand.shape in (out.shape, ())
        for operand in inputs
    )


class _Group:
    """Calls that can be one: in it, all arrays over a memory that it writes are the same array."""

    def __init__(self, calls: tuple[Call, ...], last: int, shape: Shape, reads: set[int], writes: set[int]) -> None:
        self.calls = calls
        self.last = last  # the index in the program of its last call
        self.shape = shape
        self.reads = reads  # memories, as `writes`
        self.writes = writes

    @staticmethod
    def of(index: int, call: Call) -> _Group:
        """A group of one call."""
        return _Group((call,), index, _output_of(call).shape, call.reads(), call.writes())

    def is_near(self, later: _Group) -> bool:
        """Whether joining saves a pass over memory."""
        return bool(later.reads & (self.writes | self.reads))

    def conflicts_with(self, reads: set[int], writes: set[int]) -> bool:
        """Whether the group must run before a call that reads and writes these."""
        return bool(reads & self.writes or writes & (self.reads | self.writes))

    def with_group(self, later: _Group) -> _Group | None:
        """Both as one, or None if they cannot be."""
        last, reads, writes = max(self.last, later.last), self.reads | later.reads, self.writes | later.writes
        together = _Group(self.calls + later.calls, last, self.shape, reads, writes)
        places: dict[int, Place] = {}
        for call in together.calls:
            for place, _, _ in call.places():
                if place.memory in together.writes and places.setdefault(place.memory, place) != place:
                    return None
        return together

    def fits(self, reads: Counter[int], inside: set[int]) -> bool:
        """Whether it is within the limits of the kernel."""
        inputs, outputs, _ = self._registers(reads, inside)
        return len(self.calls) <= MOST_INSTRUCTIONS and len(inputs) + len(outputs) <= MOST_ARRAYS

    def _registers(self, reads: Counter[int], inside: set[int]) -> tuple[list[Place | Scalar], list[Place], list[int]]:
        """The arrays and numbers that it reads from outside, those that it must write, and each call's output register.

        reads: how many calls of the program read each memory. inside: memories that only calls look at.
        """
        inputs: list[Place | Scalar] = []
        written: dict[int, int] = {}  # the last call that writes each memory
        own_reads: Counter[int] = Counter()
        for number, call in enumerate(self.calls):
            operands = _inputs_of(call)
            own_reads.update({operand.memory for operand in operands if isinstance(operand, Place)})
            for operand in operands:
                if not (isinstance(operand, Place) and operand.memory in written) and _find(inputs, operand) is None:
                    inputs.append(operand)
            written[_output_of(call).memory] = number
        needed = [m for m in written if m not in inside or reads[m] > own_reads[m]]
        outputs = [_output_of(self.calls[written[m]]) for m in needed]
        register_of = {written[m]: len(inputs) + i for i, m in enumerate(needed)}
        free = len(inputs) + len(outputs)
        registers = []
        for number in range(len(self.calls)):
            if number in register_of:
                registers.append(register_of[number])
            else:
                registers.append(free)
                free += 1
        return inputs, outputs, registers

    def as_calls(self, reads: Counter[int], inside: set[int]) -> list[Call]:
        """The one call, or the only one that the group has; none if nobody reads a result."""
        if len(self.calls) == 1:
            return list(self.calls)
        inputs, outputs, registers = self._registers(reads, inside)
        if not outputs:
            return []
        holds: dict[int, int] = {}  # the register that holds a memory's array at this point
        instructions = []
        for call, register in zip(self.calls, registers):
            sources = []
            for operand in _inputs_of(call):
                inner = holds.get(operand.memory) if isinstance(operand, Place) else None
                sources.append(_find(inputs, operand) if inner is None else inner)
            out = _output_of(call)
            code = (out.dtype.code,) if call.kernel == "copy" else ()
            instructions.append((call.kernel, register, *sources, *code))
            holds[out.memory] = register
        lines = ", ".join(dict.fromkeys(call.line for call in self.calls))
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

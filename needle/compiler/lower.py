"""From a Program to what a backend runs (kernels/bindings/program.h)."""

from __future__ import annotations

from typing import Any

from needle.backend_ndarray.number import Live
from needle.compiler.program import Operand, Place, Program, Scalar


def lower(program: Program, inputs: list[int], changed: list[int]) -> tuple[Any, list[Live]]:
    """The backend's program, and the live numbers that it takes.

    inputs: the memories that come from outside, in the order in which they are given to it.
    changed: the inputs that calls write.
    """
    assert program.device is not None
    kernels = program.device.kernels
    lives: list[Live] = []
    number_of: dict[int, int] = {}  # by the id of a Live
    memories: list[tuple[int, ...]] = [(index,) for index in range(len(inputs))]
    index_of = {memory: index for index, memory in enumerate(inputs)}
    for memory in program.lifetimes():
        index_of[memory] = len(memories)
        memories.append((-1, program.memories[memory].nbytes))

    def place(array: Place) -> tuple[Any, ...]:
        return index_of[array.memory], array.dtype.code, array.shape, array.strides, array.offset

    def number(live: Live) -> int:
        if id(live) not in number_of:
            number_of[id(live)] = len(lives)
            lives.append(live)
        return number_of[id(live)]

    def operand(given: Operand) -> Any:
        if isinstance(given, Place):
            return place(given)
        if isinstance(given, list):
            return [operand(entry) for entry in given]
        if isinstance(given, Scalar):
            if isinstance(given.value, Live):
                return number(given.value), given.dtype.code
            return kernels.scalar(given.value, given.dtype.code)
        return (number(given),) if isinstance(given, Live) else given

    steps = [(call.kernel, [operand(given) for given in call.operands]) for call in program.calls]
    results = []
    for result in program.results:
        memory, _, shape, strides, offset = place(result)
        results.append((memory, shape, strides, offset, result.dtype, program.device))
    values = [live.value for live in lives]
    return kernels.program(steps, memories, results, [index_of[memory] for memory in changed], values), lives

"""From a Program to what a backend runs (kernels/bindings/program.h)."""

from __future__ import annotations

from typing import Any

from needle.backend_ndarray.number import Live
from needle.compiler.memory_plan import Spot
from needle.compiler.program import Operand, Place, Program, Scalar


def lower(
    program: Program, inputs: list[int], block: int, spots: dict[int, Spot], changed: list[int]
) -> tuple[Any, list[Live]]:
    """The backend's program, and the live numbers that it takes.

    inputs: the memories that come from outside, in the order in which they are given to it.
    block, spots: the bytes of the block that temporaries share, and where each is.
    changed: the inputs that calls write.
    """
    assert program.device is not None
    kernels = program.device.kernels
    lives: list[Live] = []
    number_of: dict[int, int] = {}  # by the id of a Live
    memories: list[tuple[int, ...]] = [(index,) for index in range(len(inputs))]
    index_of = {memory: index for index, memory in enumerate(inputs)}
    for index, memory in enumerate(program.memories):
        if memory.input is None and memory.is_kept:
            index_of[index] = len(memories)
            memories.append((-1, memory.nbytes))
    for index, spot in spots.items():
        index_of[index] = len(memories) if spot.memory is None else index_of[spot.memory]
    memories.append((-1, block))

    def place(array: Place) -> tuple[Any, ...]:
        spot = spots.get(array.memory)
        offset = array.offset + (0 if spot is None else spot.offset // array.dtype.itemsize)
        return index_of[array.memory], array.dtype.code, array.shape, array.strides, offset

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

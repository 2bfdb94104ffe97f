"""Constants: what depends on nothing that may change is computed once, when the program is made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from needle.backend_ndarray import Device, NDArray
from needle.backend_ndarray.kernel_table import KERNELS, RANDOM
from needle.backend_ndarray.number import Live
from needle.compiler.passes.uses import CHECKING, written_once
from needle.compiler.program import Call, Place, Program, Scalar, Source
from needle.compiler.tree import layout_of

# Bytes of a constant, unless it is the copy of one: computing a larger one may cost no more than reading it.
MOST_BYTES = 1 << 16


def constants(program: Program) -> Program:
    """Runs the calls whose operands are all constants, and makes their results inputs."""
    device = program.device
    if device is None:
        return program
    once = written_once(program)
    arrays: dict[int, NDArray] = {}  # by memory
    for index, memory in enumerate(program.memories):
        if memory.input is not None and memory.input.kind == "constant" and index in once:
            arrays[index] = memory.input.key
    memories = list(program.memories)
    calls = []
    for call in program.calls:
        written = call.writes()
        is_constant = (
            call.reads() <= arrays.keys()  # asked first, as it is rarely so
            and call.kernel not in CHECKING
            and KERNELS[call.kernel].kind != RANDOM
            and not any(isinstance(operand, list) or _is_live(operand) for operand in call.operands)
            and all(i in once and not memories[i].is_kept for i in written)
            and (call.kernel == "copy" and call.reads() or all(memories[i].nbytes <= MOST_BYTES for i in written))
        )
        if not is_constant:
            calls.append(call)
            continue
        for place, is_read, _ in call.places():
            if not is_read:
                arrays[place.memory] = NDArray.allocate(place.shape, place.strides, place.dtype, device)
        _run(device, call, arrays)
        for index in written:
            source = Source("constant", arrays[index], layout_of(arrays[index]))
            memories[index] = memories[index]._replace(input=source, is_kept=True)
    return replace(program, calls=tuple(calls), memories=tuple(memories))


def _is_live(operand: object) -> bool:
    return isinstance(operand, Live) or isinstance(operand, Scalar) and isinstance(operand.value, Live)


def _run(device: Device, call: Call, arrays: dict[int, NDArray]) -> None:
    kernels = device.kernels
    operands: list[Any] = []
    for operand in call.operands:
        if isinstance(operand, Place):
            operands.append(arrays[operand.memory].view(operand.shape, operand.strides, operand.offset))
        elif isinstance(operand, Scalar):
            operands.append(kernels.scalar(operand.value, operand.dtype.code))
        else:
            operands.append(operand)
    getattr(kernels, call.kernel)(*operands)

"""Repeated calls: of two that compute the same, the second one goes, and its result is the first one's."""

from __future__ import annotations

from typing import Any

from needle.backend_ndarray.kernel_table import KERNELS
from needle.backend_ndarray.number import Live
from needle.compiler.passes.lifetimes import Lifetimes
from needle.compiler.passes.uses import map_places, written_once
from needle.compiler.program import Call, Operand, Place, Program, Scalar


def repeated_calls(program: Program) -> Program:
    """Common subexpression elimination, over memories that are written once."""
    once = written_once(program)
    lifetimes = Lifetimes(program)
    known: dict[Any, list[Place]] = {}
    renamed: dict[int, int] = {}
    calls = []
    for call in program.calls:
        call = map_places(call, renamed)
        places = call.places()
        written = [place for place, _, is_written in places if is_written]
        if not all(place.memory in once for place, _, _ in places):
            calls.append(call)
            continue
        key = _key(call)
        first = known.setdefault(key, written)
        if first is written or any(program.memories[place.memory].is_kept for place in written):
            calls.append(call)  # a result has memory of its own
            continue
        same = {place.memory: other.memory for place, other in zip(written, first)}
        if lifetimes.merge(same):
            renamed |= same
        else:
            calls.append(call)  # it would take less time, but more memory
    return program.with_calls(calls)


def _key(call: Call) -> Any:
    """What two calls have in common if they compute the same, into arrays of the same layouts."""

    def described(operand: Operand, is_written: bool) -> Any:
        if isinstance(operand, Place):
            return operand[1:] if is_written else operand
        if isinstance(operand, list):
            return tuple(described(entry, is_written) for entry in operand)
        if isinstance(operand, Scalar):
            return "scalar", _identity(operand.value), operand.dtype
        return _identity(operand)

    roles = KERNELS[call.kernel].operands
    return call.kernel, tuple(described(operand, role.is_written) for operand, role in zip(call.operands, roles))


def _identity(number: object) -> tuple[type, object]:
    """Equal for equal plain values of one type, of which -0.0 and 0.0 are two, and for one live number."""
    return type(number), id(number) if isinstance(number, Live) else repr(number)

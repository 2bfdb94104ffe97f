"""Passes: pure functions from a Program to a simpler one that leaves the same bits.

Each can be switched off by its name: `NEEDLE_JIT_PASSES=dead_calls,repeated_calls` runs only those named.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from needle.compiler.passes.constants import constants
from needle.compiler.passes.copies import copies
from needle.compiler.passes.dead_calls import dead_calls
from needle.compiler.passes.fusion import fusion
from needle.compiler.passes.memory_plan import memory_plan
from needle.compiler.passes.relu import relu
from needle.compiler.passes.repeated_calls import repeated_calls
from needle.compiler.program import Program

PASSES: dict[str, Callable[[Program], Program]] = {
    "constants": constants,
    "repeated_calls": repeated_calls,
    "relu": relu,
    "dead_calls": dead_calls,
    "copies": copies,
    "fusion": fusion,
    "memory_plan": memory_plan,
}


def chosen_passes() -> dict[str, Callable[[Program], Program]]:
    """The passes that NEEDLE_JIT_PASSES names, by default all, in the order in which they run."""
    names = os.environ.get("NEEDLE_JIT_PASSES")
    if names is None:
        return dict(PASSES)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PASSES]
    if unknown:
        raise ValueError(f"NEEDLE_JIT_PASSES: {unknown[0]!r}: expected names of {', '.join(PASSES)}")
    return {name: run for name, run in PASSES.items() if name in wanted}

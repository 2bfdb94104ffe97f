"""Programs by the thousand: Needle against NumPy, statement by statement, and their gradients against differences.

By default 20,000: some drawn by hypothesis, which shrinks what fails, and more by seeds, which an error tells.
NEEDLE_PROGRAMS=1000000 runs so many by seeds: docs/testing.md.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import Device, cpu_numpy
from tests.devices import CUDA_ALONE
from tests.programs.choices import Choices, Drawn, Seeded
from tests.programs.gradients import run_gradient_program
from tests.programs.operation import NDARRAY, TENSOR
from tests.programs.program import Mismatch, run_program
from tests.programs.values import DTYPES

IN_ALL = int(os.environ.get("NEEDLE_PROGRAMS", 20_000))
DRAWN = IN_ALL == 20_000
TESTS = 2 * len(DTYPES) + 2  # of each device


def run_programs(run: Callable[[Choices], None], number: int, device: Device) -> None:
    """The share of test `number` in all programs."""
    count = max(1, IN_ALL // TESTS)
    if device is cpu_numpy() and not CUDA_ALONE:
        count //= 10  # this is NumPy itself: what is tested here stands above the kernels
    for seed in range(number * 10**9, number * 10**9 + count):
        try:
            run(Seeded(seed))
        except Mismatch as mismatch:
            mismatch.add_note(f"seed {seed}")
            raise
    if DRAWN:
        draw_programs(run, count // 10)


def draw_programs(run: Callable[[Choices], None], count: int) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(data=st.data())
    def drawn(data):
        run(Drawn(data))

    drawn()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("face", (TENSOR, NDARRAY))
def test_programs(device, face, dtype):
    """Programs whose first array has that dtype."""
    number = 2 * DTYPES.index(dtype) + (face == NDARRAY)
    run_programs(lambda choices: run_program(choices, face, device, dtype), number, device)


@pytest.mark.parametrize("part", (0, 1))
def test_gradients(device, part):
    counts = Counter()
    run_programs(lambda choices: run_gradient_program(choices, device, counts), TESTS - 1 - part, device)
    print(dict(counts))
    assert counts["compared"] >= 0.75 * counts["programs"]
    left_out = counts["kinks"] + counts["undefined"] + counts["too steep"] + counts["too curved"]
    assert left_out <= 0.02 * counts["programs"]

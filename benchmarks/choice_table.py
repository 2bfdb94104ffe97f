"""From measurements to a table of choices, which the kernels include: where a library is taken, not our kernel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MARGIN = 0.05
CLEAR_SHARE = 2 / 3  # of the calls in a range
CUDA = "cuda"  # the level of a GPU, which has no others


class Measurement(NamedTuple):
    """Seconds of a call by our kernel and a library's, round by round; `is_library`: whether it can do it at all."""

    level: str
    kernel: str
    shape_class: str
    work: int
    text: str
    is_library: bool
    native: list[float]
    library: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast the library is: the median of the rounds."""
        return self.quantile(0.5)

    @property
    def is_clear(self) -> bool:
        return self.is_library and self.ratio > 1 + MARGIN and self.quantile(0.25) > 1

    @property
    def gain(self) -> float:
        """What taking the library saves, as a logarithm: 0 where that is not clear, negative where it costs."""
        gain = math.log(self.ratio) - MARGIN
        return (gain if gain < 0 or self.is_clear else 0.0) if self.is_library else 0.0

    def quantile(self, share: float) -> float:
        return float(np.quantile(np.divide(self.native, self.library), share))


def merged(measurements: list[Measurement]) -> list[Measurement]:
    """One measurement for each call, with the rounds of all that there are of it."""
    calls = {}
    for m in measurements:
        known = calls.setdefault(m[:5], m._replace(native=[], library=[]))
        calls[m[:5]] = known._replace(native=known.native + m.native, library=known.library + m.library)
    return list(calls.values())


def best_range(measurements: list[Measurement]) -> tuple[float, float, list[Measurement]] | None:
    """(from, to, what was measured there): the range of work in which the library saves most, None if none is clear.

    Ends lie midway, on a logarithmic scale, between measured amounts of work; beyond the largest one there is none.
    """
    by_work = defaultdict(list)
    for m in measurements:
        by_work[m.work].append(m)
    works = sorted(by_work)
    gain = [sum(m.gain for m in by_work[work]) for work in works]
    ranges = [(sum(gain[i:j]), i, j) for i in range(len(works)) for j in range(i + 1, len(works) + 1)]
    for most, i, j in sorted(ranges, reverse=True):
        inside = [m for work in works[i:j] for m in by_work[work]]
        clear = sum(m.is_clear for m in inside)
        if most > MARGIN and clear >= 2 and clear >= CLEAR_SHARE * len(inside):
            low = math.sqrt(works[i - 1] * works[i]) if i else works[0]
            high = math.sqrt(works[j - 1] * works[j]) if j < len(works) else math.inf
            return low, high, inside
    return None


def table_lines(measurements: list[Measurement]) -> Iterator[str]:
    """One line for each level, kernel and class of shapes that the library is chosen for."""
    groups = defaultdict(list)
    for m in measurements:
        groups[m.level, m.kernel, m.shape_class].append(m)
    for (level, kernel, shape_class), group in groups.items():
        if found := best_range(group):
            low, high, inside = found
            ratio = math.exp(sum(math.log(m.ratio) for m in inside) / len(inside))
            to = "kAnyWork" if high == math.inf else f"{high:.1e}"
            entry = f"{_beginning(level, kernel)} {shape_class}, {low:.1e}, {to})"
            yield f"{entry:<84}  // {ratio:.2f} x over {len(inside)} of {len(group)} shapes"


def new_table(old: str, measurements: list[Measurement], header: str, levels: list[str], kernels: list[str]) -> str:
    """The table, in which levels and kernels that have not been measured have the lines of the old one."""
    lines = list(table_lines(measurements))
    measured = {(m.level, m.kernel) for m in measurements}
    table = header
    for level in levels:
        for kernel in kernels:
            source = lines if (level, kernel) in measured else old.splitlines()
            table += "".join(f"{line}\n" for line in source if line.startswith(_beginning(level, kernel)))
    return table


def _beginning(level: str, kernel: str) -> str:
    return f"NEEDLE_CHOICE({kernel}," if level == CUDA else f"NEEDLE_CHOICE({level}, {kernel},"

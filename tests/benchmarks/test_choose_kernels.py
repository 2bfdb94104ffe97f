"""What the table of choices says of given measurements, and that the program counts work as the kernels do."""

import math
import subprocess
import sys

import pytest

from benchmarks import choose_kernels
from benchmarks.choose_kernels import Measurement, best_range, fastest_of, table_lines


def measured(work: int, ratio: float, kernel: str = "matmul", calls: int = 5) -> Measurement:
    return Measurement(kernel, "any", work, "", native=ratio, onednn=1.0, calls=calls)


def test_the_range_holds_what_onednn_is_faster_at():
    low, high, inside = best_range([measured(10**i, ratio) for i, ratio in enumerate([0.5, 0.9, 1.5, 1.2, 0.7])])
    assert [m.work for m in inside] == [100, 1000]
    assert low == pytest.approx(math.sqrt(10 * 100)) and high == pytest.approx(math.sqrt(1000 * 10000))


def test_the_range_is_open_above_the_largest_and_closed_below_the_smallest_measured_work():
    assert best_range([measured(10, 2.0), measured(1000, 2.0)])[:2] == (10, math.inf)


def test_one_lost_call_may_lie_between_greater_gains():
    assert len(best_range([measured(1, 2.0), measured(10, 0.9), measured(100, 2.0)])[2]) == 3


@pytest.mark.parametrize("ratios", [[], [1.04], [0.5, 0.9]])
def test_what_is_level_stays_ours(ratios):
    assert best_range([measured(10**i, ratio) for i, ratio in enumerate(ratios)]) is None


def test_calls_that_onednn_did_not_do_count_for_nothing():
    assert best_range([measured(10, 2.0, calls=0)]) is None


def test_a_line_is_what_the_kernels_include():
    (line,) = table_lines("avx2", [measured(10, 0.5), measured(1000, 2.0)])
    assert line.split("//")[0].strip() == "NEEDLE_CHOICE(avx2, matmul, any, 1.0e+02, kAnyWork)"
    assert "2.00 x over 1 of 2 shapes" in line


def test_batch_normalization_in_training_stays_ours():
    assert not list(table_lines("avx2", [measured(10, 9.0, "batch_norm"), measured(10, 9.0, "batch_norm_backward")]))


def test_passes_are_merged_by_their_fastest_runs():
    (merged,) = fastest_of([[measured(1, 3.0)], [measured(1, 2.0)._replace(onednn=4.0)]])
    assert (merged.native, merged.onednn) == (2.0, 1.0)


def test_pairs_inside_the_image_are_counted():
    assert choose_kernels._pairs_inside(extent=1, windows=1, kernel=3, stride=1, padding=1) == 1
    assert choose_kernels._pairs_inside(extent=4, windows=4, kernel=3, stride=1, padding=1) == 10
    assert choose_kernels._pairs_inside(extent=4, windows=2, kernel=3, stride=2, padding=1) == 5


@pytest.mark.parametrize("flag", ["--levels=sse9", "--passes=0", "--table=/no/such/folder/table.inc"])
def test_mistakes_are_one_line(flag):
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.choose_kernels", flag],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode in (1, 2) and len(result.stderr.splitlines()) == 1, result.stderr
    assert flag.split("=")[1] in result.stderr

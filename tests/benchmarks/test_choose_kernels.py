"""What the table of choices says of given measurements, and that the program counts work as the kernels do."""

import json
import math
import os
import subprocess
import sys

import pytest

from benchmarks import choose_kernels
from benchmarks.choice_cases import Cases, pairs_inside
from benchmarks.choice_table import Measurement, best_range, merged, new_table, table_lines
from benchmarks.choose_kernels import DisturbedError
from needle.backend_ndarray import cpu


def measured(work: int, *ratios: float, kernel: str = "matmul", level: str = "avx2", is_library: bool = True):
    return Measurement(level, kernel, "any", work, "", is_library, native=list(ratios), library=[1.0] * len(ratios))


def test_the_range_holds_what_the_library_is_faster_at():
    low, high, inside = best_range([measured(10**i, ratio) for i, ratio in enumerate([0.5, 0.9, 1.5, 1.2, 0.7])])
    assert [m.work for m in inside] == [100, 1000]
    assert low == pytest.approx(math.sqrt(10 * 100)) and high == pytest.approx(math.sqrt(1000 * 10000))


def test_the_range_is_open_above_the_largest_and_closed_below_the_smallest_measured_work():
    assert best_range([measured(10, 2.0), measured(1000, 2.0)])[:2] == (10, math.inf)


def test_one_lost_call_may_lie_between_greater_gains():
    assert len(best_range([measured(1, 2.0), measured(10, 0.9), measured(100, 2.0)])[2]) == 3


def test_two_thirds_of_a_range_are_clear_wins():
    works = best_range([measured(10**i, ratio) for i, ratio in enumerate([9.0, 0.9, 0.9, 1.5, 1.5])])[2]
    assert [m.work for m in works] == [1000, 10000]


@pytest.mark.parametrize("ratios", [[], [1.04, 1.04], [0.5, 0.9], [2.0], [0.5, 2.0, 0.5]])
def test_what_is_level_or_won_by_one_shape_alone_stays_ours(ratios):
    assert best_range([measured(10**i, ratio) for i, ratio in enumerate(ratios)]) is None


def test_a_win_within_the_noise_counts_for_nothing():
    noisy, clear = [0.8, 0.9, 1.2, 1.3], [1.1, 1.15, 1.2, 1.3]
    assert best_range([measured(10, *noisy), measured(100, *noisy)]) is None
    assert best_range([measured(10, *clear), measured(100, *clear)]) is not None


def test_calls_that_the_library_cannot_do_count_for_nothing():
    assert best_range([measured(10, 2.0, is_library=False), measured(100, 2.0, is_library=False)]) is None


def test_a_line_is_what_the_kernels_include():
    (line,) = table_lines([measured(10, 0.5), measured(1000, 2.0), measured(10000, 2.0)])
    assert line.split("//")[0].strip() == "NEEDLE_CHOICE(avx2, matmul, any, 1.0e+02, kAnyWork)"
    assert "2.00 x over 2 of 3 shapes" in line


def test_a_gpu_has_no_levels():
    (line,) = table_lines([measured(10, 2.0, level="cuda"), measured(1000, 2.0, level="cuda")])
    assert line.split("//")[0].strip() == "NEEDLE_CHOICE(matmul, any, 1.0e+01, kAnyWork)"
    old = "// old\nNEEDLE_CHOICE(matmul, half, 1.0e+06, kAnyWork)\nNEEDLE_CHOICE(linear, half, 1.0e+06, kAnyWork)\n"
    table = new_table(old, [measured(10, 2.0, level="cuda"), measured(1000, 2.0, level="cuda")], "// new\n", ["cuda"],
                      ["matmul", "linear"])  # fmt: skip
    assert table.splitlines() == ["// new", line, "NEEDLE_CHOICE(linear, half, 1.0e+06, kAnyWork)"]


def test_rounds_of_the_same_call_are_put_together():
    both = merged([measured(1, 3.0), measured(2, 5.0), measured(1, 2.0, 4.0)])
    assert [(m.work, m.native) for m in both] == [(1, [3.0, 2.0, 4.0]), (2, [5.0])]
    assert both[0].ratio == 3.0


def test_what_is_not_measured_keeps_its_lines():
    kept = ["NEEDLE_CHOICE(baseline, matmul, any, 1e3, kAnyWork)  // old", "NEEDLE_CHOICE(avx2, linear, any, 1e3, 1e6)"]
    lost = ["NEEDLE_CHOICE(avx2, matmul, any, 7e7, kAnyWork)", "NEEDLE_CHOICE(avx2, matmul, thin, 7e7, kAnyWork)"]
    levels, kernels = ["baseline", "avx2"], ["matmul", "linear"]
    measurements = [measured(10, 2.0), measured(100, 2.0)]
    table = new_table("\n".join(lost + kept), measurements, "// header\n", levels, kernels).splitlines()
    assert table[:2] == ["// header", kept[0]] and table[3:] == kept[1:]
    assert table[2].startswith("NEEDLE_CHOICE(avx2, matmul, any, 1.0e+01, kAnyWork)")


@pytest.mark.parametrize("loads, attempts", [([0.0], 1), ([0.5, 0.5, 0.05], 3), ([0.5] * 3, 3)])
def test_a_disturbed_piece_is_measured_again_and_then_refused(monkeypatch, loads, attempts):
    made = []

    class Load:
        def __init__(self):
            made.append(self)

        def cores(self):
            return loads[len(made) - 1]

    done = subprocess.CompletedProcess([], 0, stdout=json.dumps([measured(10, 2.0)]))
    monkeypatch.setattr(choose_kernels, "OtherLoad", Load)
    monkeypatch.setattr(choose_kernels.subprocess, "run", lambda *_, **__: done)
    choose_kernels.FLAGS(["choose_kernels"])
    if min(loads) > 0.1:
        with pytest.raises(DisturbedError, match="avx2, products: disturbed 3 times"):
            choose_kernels._measure_undisturbed("avx2", "products", 0.1)
    else:
        assert choose_kernels._measure_undisturbed("avx2", "products", 0.1) == [measured(10, 2.0)]
    assert len(made) == attempts


def test_pieces_add_up_in_a_file_and_make_a_table(tmp_path):
    if "onednn" not in cpu().kernels.providers():
        pytest.skip("no oneDNN")
    table, results = tmp_path / "table.inc", tmp_path / "results.json"
    for _ in range(2):
        finished = run(
            "--levels=baseline", "--kernels=avg_pool2d", "--passes=1", "--allow_disturbed", f"--table={table}",
            f"--results={results}",
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
    measurements = [Measurement(*values) for values in json.loads(results.read_text())]
    assert {(m.level, m.kernel) for m in measurements} == {("baseline", "avg_pool2d")}
    assert len({m.text for m in measurements}) == len(measurements) == 10
    assert all(len(m.native) == len(m.library) >= 2 * choose_kernels.ROUNDS[0] for m in measurements)
    lines = [line for line in table.read_text().splitlines() if not line.startswith("//")]
    assert lines == list(table_lines(measurements))
    assert "baseline" in finished.stdout and f"wrote {table}" in finished.stdout


def test_pairs_inside_the_image_are_counted():
    assert pairs_inside(extent=1, windows=1, kernel=3, stride=1, padding=1) == 1
    assert pairs_inside(extent=4, windows=4, kernel=3, stride=1, padding=1) == 10
    assert pairs_inside(extent=4, windows=2, kernel=3, stride=2, padding=1) == 5


@pytest.mark.parametrize("kernel", ["matmul", "conv2d", "avg_pool2d"])
def test_small_cases_have_no_size_above_8(kernel):
    cases = [case for piece in Cases(cpu(), quick=True).pieces.values() for case in piece() if case.kernel == kernel]
    assert cases and len({(case.shape_class, case.text) for case in cases}) == len(cases)
    assert max(int(word) for case in cases for word in case.text.replace(",", "").split() if word.isdigit()) <= 8


def run(*flags: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "benchmarks.choose_kernels", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "flag", ["--levels=sse9", "--passes=0", "--table=/no/such/folder/table.inc", "--kernels=no_kernel", "--device=tpu"]
)
def test_mistakes_are_one_line(flag):
    result = run(flag)
    assert result.returncode in (1, 2) and len(result.stderr.splitlines()) == 1, result.stderr
    assert flag.split("=")[1] in result.stderr

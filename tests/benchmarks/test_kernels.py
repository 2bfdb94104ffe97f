"""The kernels program: its rows, its plots, and shares of the machine's bound."""

import pytest

from benchmarks.contest import Contender
from benchmarks.kernel_rows import ROWS
from benchmarks.machine import add_share_of_bound, measure_peaks
from needle.backend_ndarray import cuda
from tests.benchmarks.programs import check_results, measure, mistake


def test_all_rows_as_text_and_as_json_and_as_plots(tmp_path):
    text, results = measure("kernels", tmp_path, "--plots=pictures/new")
    check_results(text, results)
    assert [row["row"] for row in results["rows"]] == [row.name for row in ROWS if cuda().enabled() or not row.gpu]
    assert {"GFLOP", "GB"} <= set(results["peaks"]["cpu"])
    for peaks in results["peaks"].values():
        assert all(peak["per_second"] > 0 and peak["by"] for peak in peaks.values())
    for row in results["rows"]:
        assert not row["failures"]
        for result in row["results"]:
            assert result["share_of_bound"] == pytest.approx(row["bounds"][result["device"]] / result["median"])
    pictures = sorted((tmp_path / "pictures" / "new").iterdir())
    names = [f"{name}_{device}.png" for name in ("ratio", "roofline") for device in sorted(results["peaks"])]
    assert [path.name for path in pictures] == names
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_plots_of_rows_without_arithmetic_or_peers(tmp_path):
    """A roofline without a point, and ratios without a bar."""
    _, results = measure("kernels", tmp_path, "--only=avg_pool", "--plots=.")
    assert [row["row"] for row in results["rows"]] == ["avg_pool"]
    assert (tmp_path / "ratio_cpu.png").exists() and (tmp_path / "roofline_cpu.png").exists()


def test_the_bound_is_what_takes_longer():
    peaks = {"cpu": {"GFLOP": {"per_second": 100.0}, "GB": {"per_second": 10.0}}}
    peaks["cuda"] = {"GFLOP": {"per_second": 1e3}, "GFLOP bfloat16": {"per_second": 1e4}, "GB": {"per_second": 1e3}}
    results = [{"device": "cpu", "median": 1.0}, {"device": "cuda", "median": 1.0}]
    row = {"amounts": {"GFLOP": 50.0, "GB": 1.0}, "dtype": "float32", "results": results}
    add_share_of_bound(row, peaks)
    assert row["bounds"] == {"cpu": 0.5, "cuda": 0.05} and [r["share_of_bound"] for r in results] == [0.5, 0.05]
    row["dtype"] = "bfloat16"
    add_share_of_bound(row, peaks)
    assert row["bounds"] == {"cpu": 0.5, "cuda": 0.005}
    row["amounts"]["GB"] = 8.0
    add_share_of_bound(row, peaks)
    assert row["bounds"] == {"cpu": 0.8, "cuda": 0.008}


class Worker:
    """Does a product of so many a second."""

    def __init__(self, name: str, device: str, rate: float) -> None:
        self.contender, self._rate = Contender(name, "x", {"device": device}), rate

    def ask(self, request, **_):
        return {"prepared": True, "seconds": 1 / self._rate, "bytes": 0}


def test_each_device_has_peaks_of_its_own():
    peaks = measure_peaks([Worker("a", "cpu", 1.0), Worker("b", "cpu", 2.0), Worker("c", "cuda", 50.0)], quick=False)
    assert set(peaks["cpu"]) == {"GFLOP", "GB"}
    assert peaks["cpu"]["GFLOP"]["by"] == "b" and peaks["cpu"]["GFLOP"]["per_second"] == pytest.approx(4 * 2.048**3)
    others = {f"GFLOP {dtype}" for dtype in ("tf32", "bfloat16", "float16", "float64")}
    assert set(peaks["cuda"]) == {"GFLOP", "GB"} | others
    assert peaks["cuda"]["GFLOP"]["per_second"] == pytest.approx(100 * 8.192**3)


@pytest.mark.parametrize("name, unit, amount", [
    ("matmul_1024", "GFLOP", 2.147483648),
    ("matmul_1024", "GB", 3 * 4 * 1024**2 / 1e9),
    ("matmul_bfloat16", "GFLOP", 2 * 1024**3 / 1e9),
    ("matmul_bfloat16", "GB", 3 * 2 * 1024**2 / 1e9),
    ("matmul_batched_35", "GFLOP", 2 * 160 * 35 * 64 * 35 / 1e9),
    ("conv_16_128_128", "GFLOP", 2 * 128 * 16 * 16 * 128 * 128 * 9 / 1e9),
    ("conv_32_3_16", "GB", 4 * (128 * 32 * 32 * 3 + 128 * 8 * 8 * 16 + 3 * 16 * 49) / 1e9),
    ("add_16m", "GB", 3 * 4 * 2**24 / 1e9),
    ("add_row", "GB", 2 * 4 * 4096**2 / 1e9),
    ("attention_causal", "GFLOP", 2 * 2 * 2 * 8 * 1024 * 1024 * 64 / 1e9),
    ("sum_all", "GB", 4 * 4096**2 / 1e9),
    ("max_pool", "GB", 4 * 1.25 * 32 * 64 * 56 * 56 / 1e9),
    ("adam_step", "GB", 7 * 4 * 40 * 160_000 / 1e9),
    ("lstm_512", "GFLOP", 2 * 35 * 20 * 2 * 512 * 4 * 512 / 1e9),
])  # fmt: skip
def test_what_kernels_compute_and_move(name, unit, amount):
    row = next(row for row in ROWS if row.name == name)
    assert row.amounts(**row.sizes)[unit] == pytest.approx(amount)


def test_a_wrong_flag_is_one_line(tmp_path):
    assert "no row is called 'matmul'" in mistake("kernels", tmp_path, "--only=matmul", status=2)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert "file/plots" in mistake("kernels", tmp_path, "--plots=file/plots", status=1)

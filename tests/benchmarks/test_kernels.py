"""The kernels program: its rows, its plots, and shares of the machine's bound."""

import pytest

from benchmarks.kernel_rows import ROWS
from benchmarks.machine import add_share_of_bound
from tests.benchmarks.programs import check_results, measure, mistake


def test_all_rows_as_text_and_as_json_and_as_plots(tmp_path):
    text, results = measure("kernels", tmp_path, "--plots=pictures/new")
    check_results(text, results)
    assert [row["row"] for row in results["rows"]] == [row.name for row in ROWS]
    assert all(peak["per_second"] > 0 and peak["by"] for peak in results["peaks"].values())
    for row in results["rows"]:
        assert row["bound"] > 0
        for result in row["results"]:
            assert result["share_of_bound"] == pytest.approx(row["bound"] / result["median"])
    pictures = sorted((tmp_path / "pictures" / "new").iterdir())
    assert [path.name for path in pictures] == ["ratio.png", "roofline.png"]
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_plots_of_rows_without_arithmetic_or_peers(tmp_path):
    """A roofline without a point, and ratios without a bar."""
    _, results = measure("kernels", tmp_path, "--only=avg_pool", "--plots=.")
    assert [row["row"] for row in results["rows"]] == ["avg_pool"]
    assert (tmp_path / "ratio.png").exists() and (tmp_path / "roofline.png").exists()


def test_the_bound_is_what_takes_longer():
    peaks = {"GFLOP": {"per_second": 100.0}, "GB": {"per_second": 10.0}}
    row = {"amounts": {"GFLOP": 50.0, "GB": 1.0}, "results": [{"median": 1.0}]}
    add_share_of_bound(row, peaks)
    assert row["bound"] == 0.5 and row["results"][0]["share_of_bound"] == 0.5
    row["amounts"]["GB"] = 8.0
    add_share_of_bound(row, peaks)
    assert row["bound"] == 0.8


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

"""How results are written."""

import json

import pytest

from benchmarks.report import duration, heading, number, table, write_json


@pytest.mark.parametrize(
    "seconds, text",
    [(2.5, "2.5 s"), (0.1234, "123 ms"), (0.9996, "1 s"), (1e-3, "1 ms"), (3.14159e-6, "3.14 us"), (12e-9, "0.012 us")],
)
def test_durations_have_three_digits(seconds, text):
    assert duration(seconds) == text


def test_numbers_have_three_digits_or_all_before_the_point():
    assert [number(value) for value in (12345.6, 123.4, 12.34, 0.01234)] == ["12,346", "123", "12.3", "0.0123"]


def test_a_table_has_columns_and_titles_that_do_not_widen_them():
    lines = table(["", "time"], [["a title of any length"], ["  x", "10 ms"], ["  long", ""]])
    assert lines == ["         time", "a title of any length", "  x     10 ms", "  long"]


def test_a_heading_warns_of_what_makes_figures_worthless():
    report = {
        "machine": {"processor": "P", "cores": 2, "l3_cache": "1K", "memory_gib": 1, "system": "S", "python": "3"}
        | {"gpus": ["H100, driver 580"]},
        "threads": {"numpy": 2},
        "versions": {"numpy": "2"},
        "runs": 10,
        "quick": False,
        "other_load": 0.05,
    }
    assert not any("DISTURBED" in line or "QUICK" in line for line in heading(report))
    assert any("PyTorch is not there" in line for line in heading(report))
    assert "gpu       H100, driver 580" in heading(report)
    worthless = heading(report | {"quick": True, "other_load": 0.5, "versions": {"torch": "2"}})
    assert any("QUICK" in line for line in worthless) and any("0.5 cores" in line for line in worthless)
    assert not any("PyTorch is not there" in line for line in worthless)


def test_a_json_file_that_cannot_be_completed_leaves_the_old_one(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}

"""Contenders in processes of their own: turns, answers, failures, and the load of other programs."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import contest
from benchmarks.contest import (
    Absent,
    Contender,
    ContestError,
    Result,
    compete,
    contenders,
    ratio_to_best_peer,
    start,
)
from benchmarks.machine import OtherLoad, describe
from benchmarks.row import Row
from needle.backend_ndarray import cpu

NUMPY = Contender("numpy", "benchmarks.numpy_work")
OURS = Contender("needle cpu", "benchmarks.needle_work", {"device": "cpu"})
ADD = Row("add", "add", "add", {"n": 16}, lambda n: {})


class Recorder:
    """A worker that writes down whose turn it was, and fails when it is asked for `fails_at`."""

    def __init__(self, contender, turns, works=("add",), fails_at="", error=ContestError):
        self.contender, self.turns, self.works, self.fails_at, self.error = contender, turns, works, fails_at, error

    def ask(self, request, **arguments):
        if request == self.fails_at:
            raise self.error(f"{self.contender.name}: cannot {request}")
        if request == "prepare":
            return {"prepared": arguments["work"] in self.works}
        if request == "turn":
            self.turns.append(self.contender.name)
        return {"seconds": len(self.turns), "bytes": 7}


def test_every_round_begins_with_another_contender():
    turns = []
    workers = [Recorder(Contender(name, "x"), turns) for name in "abc"]
    results, failures, absent = compete(ADD, {"n": 16}, workers, runs=4)
    assert "".join(turns) == "abcbcacababc"
    assert [result.seconds for result in results] == [[1, 6, 8, 10], [2, 4, 9, 11], [3, 5, 7, 12]]
    assert [result.peak_memory for result in results] == [7, 7, 7] and failures == absent == []


def test_who_cannot_do_the_work_or_only_does_images_has_no_turn():
    turns = []
    workers = [
        Recorder(Contender("a", "x"), turns),
        Recorder(Contender("b", "x"), turns, works=()),
        Recorder(Contender("c", "x", images_only=True), turns),
    ]
    assert [result.contender.name for result in compete(ADD, {"n": 16}, workers, runs=2)[0]] == ["a"]
    assert turns == ["a", "a"]


@pytest.mark.parametrize("request_", ["prepare", "turn", "peak_memory"])
def test_one_who_fails_is_named_and_the_others_go_on(request_):
    turns = []
    workers = [Recorder(Contender("a", "x"), turns, fails_at=request_), Recorder(Contender("b", "x"), turns)]
    results, failures, _ = compete(ADD, {"n": 16}, workers, runs=3)
    assert [result.contender.name for result in results] == ["b"] and len(results[0].seconds) == 3
    assert failures == [f"a: cannot {request_}"]


@pytest.mark.parametrize("request_", ["prepare", "turn", "peak_memory"])
def test_one_who_is_absent_is_no_failure(request_):
    workers = [Recorder(Contender("a", "x"), [], fails_at=request_, error=Absent), Recorder(Contender("b", "x"), [])]
    results, failures, absent = compete(ADD, {"n": 16}, workers, runs=3)
    assert [result.contender.name for result in results] == ["b"] and len(results[0].seconds) == 3
    assert failures == [] and absent == [f"a: cannot {request_}"]


def test_turns_of_a_cold_row_are_few():
    turns = []
    (result,), _, _ = compete(replace(ADD, cold=True), {"n": 16}, [Recorder(Contender("a", "x"), turns)], runs=10)
    assert turns == ["a"] * 3 == ["a"] * len(result.seconds)


def test_rows_say_who_takes_part():
    numpy, gpu = Contender("numpy", "x"), Contender("gpu", "x", {"device": "cuda"})
    double, compiled = Contender("b", "x", images_only=True), Contender("c", "x", compiled_only=True)
    row = {"name": "r", "title": "r", "work": "r", "sizes": {}, "amounts": dict}
    assert [c.takes_part(Row(**row)) for c in (numpy, gpu, double, compiled)] == [True, True, False, False]
    assert [c.takes_part(Row(**row, gpu=True)) for c in (numpy, gpu)] == [False, True]
    assert [c.takes_part(Row(**row, images=True, compiled=True)) for c in (double, compiled)] == [True, True]


def test_another_interpreter_gets_the_checkout_and_nothing_else_of_this_one(tmp_path):
    """PyTorch's, which need not be the one that needle's modules are built for."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$PYTHONPATH" > {tmp_path}/path\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    with start([Contender("other", "benchmarks.row", python=str(python))], threads=1) as (worker,):
        with pytest.raises(ContestError, match="other: AttributeError: .*benchmarks.row.* no attribute 'configure'"):
            worker.ask("describe")
    assert (tmp_path / "path").read_text().strip() == str(Path(contest.__file__).parent.parent)


def test_an_interpreter_without_pytorch_is_refused(tmp_path):
    with pytest.raises(ContestError, match="no/python: No such file"):
        contenders(pytorch_python="no/python")
    (tmp_path / "torch.py").write_text("raise ImportError('broken')")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    with pytest.raises(ContestError, match="cannot import PyTorch and NumPy: .*Error"):
        contenders(pytorch_python=str(python))


def test_the_ratio_is_to_the_best_peer_by_medians():
    ours = Result(OURS, [1.0, 2.0, 30.0], 0)
    peers = [Result(NUMPY, [8.0], 0), Result(Contender("pytorch", "x"), [1.0, 5.0, 5.0], 0)]
    assert ratio_to_best_peer(ours, [ours, *peers]) == 2.5
    assert ratio_to_best_peer(ours, [ours]) is None


def test_workers_do_what_they_are_asked():
    with start([NUMPY, OURS], threads=1) as workers:
        for worker in workers:
            answer = worker.ask("describe")
            assert answer["threads"] == 1 and worker.contender.name.split()[0] in answer["versions"]
            assert worker.ask("prepare", work="no_such_work", sizes={}) == {"prepared": False}
            assert worker.ask("prepare", work="copy", sizes={"n": 2**22}) == {"prepared": True}
            assert 2**22 * 8e-12 < worker.ask("turn")["seconds"] < 10
            assert worker.ask("peak_memory")["bytes"] >= 2 * 2**24 * 0.9  # the array and its copy
    assert all(worker._process.poll() is not None for worker in workers)


def test_failures_say_who_and_why():
    with start([Contender("lost", "benchmarks.no_such_module")], threads=1) as (worker,):
        with pytest.raises(ContestError, match="lost: ModuleNotFoundError.*no_such_module"):
            worker.ask("describe")
    with start([NUMPY], threads=1) as (worker,):
        with pytest.raises(ContestError, match="numpy: TypeError.*columns"):
            worker.ask("prepare", work="softmax", sizes={"rows": 3})
        worker._process.kill()
        with pytest.raises(ContestError, match="numpy: it ended, with status -9"):
            worker.ask("describe")


def test_a_worker_says_why_work_cannot_be_done_and_one_that_compiles_for_too_long_ends(tmp_path, monkeypatch):
    (tmp_path / "compiler.py").write_text(
        "import time\n"
        "class Absent(Exception): pass\n"
        "def configure(): pass\n"
        "def compiled(): raise Absent('no compiler')\n"
        "def slowly(): time.sleep(60)\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with start([Contender("c", "compiler", compiled_only=True)], threads=1) as (worker,):
        with pytest.raises(Absent, match="c: no compiler"):
            worker.ask("prepare", work="compiled", sizes={})
        monkeypatch.setattr(contest, "MOST_SECONDS_TO_COMPILE", 0.2)
        with pytest.raises(Absent, match="c: not compiled after 0.2 s"):
            worker.ask("prepare", work="slowly", sizes={})
        assert worker._process.wait(10) == -9


def test_a_cold_call_is_the_only_one(tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(
        "calls = []\n"
        "def configure(): pass\n"
        "def work(): return lambda: calls.append(1)\n"
        "def versions(): return {'calls': len(calls)}\n"
        "def threads(): return 1\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with start([Contender("counting", "counting")], threads=1) as (worker,):
        assert worker.ask("prepare", work="work", sizes={}, cold=True) == {"prepared": True}
        worker.ask("turn")
        assert worker.ask("describe")["versions"] == {"calls": 1}


def test_what_a_library_prints_is_no_answer(tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text(
        "import os\n"
        "def configure(): print('hello'); os.write(1, b'{}\\n')\n"
        "def versions(): return {}\n"
        "def threads(): return 3\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with start([Contender("chatty", "chatty")], threads=1) as (worker,):
        assert worker.ask("describe") == {"versions": {}, "threads": 3}


def test_contenders_are_ours_first_with_each_provider():
    names = [contender.name for contender in contenders()]
    providers = cpu().kernels.providers()
    assert providers[0] == "native"
    assert names[: len(providers)] == [f"needle cpu {provider}" for provider in providers]
    assert names[len(providers)] == f"needle cpu {providers[-1]} jit"
    assert "numpy" in names and "needle cpu_numpy" not in names


def test_jax_takes_part_where_compilers_do_if_its_interpreter_is_named():
    (jax,) = [contender for contender in contenders(jax_python="python3") if contender.name == "jax"]
    assert jax.python == "python3" and jax.compiled_only and not jax.ours
    assert "jax" not in [contender.name for contender in contenders()]


def test_the_load_of_others_is_seen_and_that_of_children_is_not_counted():
    spin = [sys.executable, "-c", "import time; end = time.time() + 1.5\nwhile time.time() < end: pass"]
    load = OtherLoad()
    subprocess.run(spin)
    with_child = load.cores()
    load = OtherLoad()
    other = subprocess.Popen(spin)
    time.sleep(1.4)
    with_other = load.cores()  # it has not ended, so it is nobody's child yet
    other.wait()
    assert with_other > 0.3 and with_child < describe()["cores"]


def test_the_machine_is_described_in_json():
    machine = json.loads(json.dumps(describe()))
    assert machine["processor"] and machine["cores"] >= 1 and machine["memory_gib"] > 0

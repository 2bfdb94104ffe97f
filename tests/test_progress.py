"""Progress bars: what is drawn on a terminal, what is written elsewhere, and when metrics are read."""

import fcntl
import io
import os
import pty
import re
import struct
import termios
import time
import types

import numpy as np
import pytest

from needle import progress
from needle.autograd import Tensor
from needle.progress import ProgressBar, tqdm, trange


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Metric:
    """A number that counts how often it is read."""

    def __init__(self, value):
        self.value = value
        self.reads = 0

    def __float__(self):
        self.reads += 1
        return float(self.value)


@pytest.fixture
def terminal(monkeypatch):
    return standard_error(monkeypatch, Terminal())


@pytest.fixture
def log(monkeypatch):
    return standard_error(monkeypatch, io.StringIO())


def standard_error(monkeypatch, file):
    """`file` in place of sys.stderr, for needle.progress alone: pytest puts its own there too."""
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=file))
    return file


def test_a_bar_gives_what_the_iterable_gives(terminal):
    assert list(tqdm(["a", "b", "c"])) == ["a", "b", "c"]
    assert list(trange(2, 8, 3)) == [2, 5]


def test_on_a_terminal_the_bar_is_redrawn_in_place_with_metrics_before_the_rate(terminal):
    with tqdm(range(4), desc="Training", unit="batch") as bar:
        for _ in bar:
            bar.metrics(loss=0.23449, acc=0.8912)
    frames = terminal.getvalue().split("\r")
    assert re.search(r"Training: +0%\|.*\| 0/4 \[", frames[1])
    pattern = r"Training: 100%\|.+\| 4/4 \[00:0\d<00:00, loss=0.234, acc=0.891, +[\d.]+batch/s\] *\n"
    assert re.fullmatch(pattern, frames[-1])


@pytest.mark.parametrize("columns", [0, 60])
def test_on_a_terminal_of_any_width(monkeypatch, columns):
    """A terminal that was opened without a window, as by `script` or `docker run -t`, reports no columns."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(writer, "w", encoding="utf-8") as file:
        for _ in tqdm(range(3), desc="Training", file=file):
            pass
        drawn = ""
        while "\n" not in drawn:  # the kernel hands a terminal's output on in pieces
            drawn += os.read(reader, 10000).decode()
    os.close(reader)
    last = drawn.split("\r")[-2]
    assert "Training: 100%" in last and "3/3 [00:00<00:00" in last
    assert len(last) == (columns or 81) - 1


def test_on_a_terminal_an_inner_bar_goes_and_the_outer_one_stays(terminal):
    for _ in trange(2, desc="Outer"):
        for _ in tqdm(range(3), desc="Inner"):
            pass
    last_frames = terminal.getvalue().split("\r")[-2:]
    assert "Outer: 100%" in last_frames[-1]
    assert terminal.getvalue().count("Inner: 100%") == 0  # gone before it would be drawn full
    assert terminal.getvalue().endswith("\n")


def test_elsewhere_each_finished_bar_is_one_line(log):
    for epoch in range(2):
        bar = tqdm(range(3), desc=f"Epoch {epoch}", unit="batch")
        for step in bar:
            bar.metrics(loss=step, acc=0.5)
            assert log.getvalue().count("\n") == epoch
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"Epoch 0: 3/3 \[00:00, loss=2, acc=0.500, [\d.]+batch/s\]", lines[0])
    assert lines[1].startswith("Epoch 1: 3/3 [")
    assert "\r" not in log.getvalue()


def test_elsewhere_without_a_length_the_line_has_the_count(log):
    for _ in tqdm(iter("abc"), unit="file"):
        pass
    assert re.fullmatch(r"3file \[00:00, +[\d.]+file/s\]\n", log.getvalue())


def test_a_loop_left_early_writes_how_far_it_came(log):
    with pytest.raises(KeyError):
        for step in tqdm(range(10), desc="Epoch"):
            if step == 4:
                raise KeyError
    assert log.getvalue().startswith("Epoch: 4/10 [")
    assert log.getvalue().count("\n") == 1


def test_a_bar_moved_by_hand(log):
    with ProgressBar(total=10, desc="Bytes", unit="B") as bar:
        bar.update(7)
        bar.update(3)
    assert log.getvalue().startswith("Bytes: 10/10 [")


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_disabled_bar_writes_and_reads_nothing(kind):
    file, metric = kind(), Metric(1)
    for _ in (bar := tqdm(range(100), disable=True, file=file)):
        bar.metrics(loss=metric)
    assert file.getvalue() == ""
    assert metric.reads == 0


def test_no_standard_error_at_all(monkeypatch):
    standard_error(monkeypatch, None)
    assert list(trange(3)) == [0, 1, 2]


def test_metrics_are_read_only_when_the_bar_is_drawn(terminal):
    metric = Metric(0.5)
    bar = tqdm(range(20000))
    for _ in bar:
        bar.metrics(loss=metric)
    frames = terminal.getvalue().count("\r")
    assert 1 <= metric.reads <= frames < 200


def test_metrics_are_read_once_where_nothing_is_drawn(log):
    metric = Metric(0.5)
    bar = tqdm(range(1000))
    for step in bar:
        bar.metrics(loss=metric)
        if step == 500:
            time.sleep(0.15)  # longer than a terminal's redraw interval
    assert metric.reads == 1


def test_metrics_of_tensors_and_numbers(log):
    bar = tqdm(range(1))
    for _ in bar:
        bar.metrics(loss=Tensor(0.125), one=Tensor([[2.5]]), rate=3e-5, count=np.int64(7), big=1.5e7, none=float("nan"))
    assert "loss=0.125, one=2.500, rate=3.00e-05, count=7, big=1.50e+07, none=nan" in log.getvalue()


def test_a_metric_that_cannot_be_read_does_not_leave_tqdms_lock_taken(terminal):
    bar = ProgressBar(total=3)
    bar.metrics(loss=object())
    with pytest.raises(TypeError):
        bar.refresh()
    assert not ProgressBar.get_lock().locks[-1]._is_owned()
    bar.metrics(loss=1)
    bar.close()
    assert "loss=1" in terminal.getvalue()


def test_metrics_of_the_innermost_running_bar(log):
    progress.metrics(loss=0)  # no bar: nothing to show it on
    for _ in trange(1, desc="Outer"):
        for step in trange(2, desc="Inner"):
            progress.metrics(loss=step)
        progress.metrics(best=3)
    inner, outer = log.getvalue().splitlines()
    assert "loss=1" in inner and "best" not in inner
    assert "best=3" in outer and "loss" not in outer


class Late:
    """A metric of a device that is behind: what is begun to be read comes when `come` is called."""

    def __init__(self):
        self.value = 0.0
        self.begun = []

    def begin_read(self):
        pending = types.SimpleNamespace(
            ready=lambda: pending.has_come, item=lambda value=self.value: value, has_come=False
        )
        self.begun.append(pending)
        return pending


def test_a_bar_does_not_wait_for_a_device(terminal):
    late = Late()
    bar = tqdm(total=9)
    bar.metrics(loss=late)
    bar.refresh()
    assert "loss" not in terminal.getvalue() and len(late.begun) == 1
    late.value = 1.0
    bar.refresh()  # the first one has not come: nothing else is begun
    assert "loss" not in terminal.getvalue() and len(late.begun) == 1
    late.begun[0].has_come = True
    bar.refresh()
    assert "loss=0.000" in terminal.getvalue() and len(late.begun) == 2
    late.value = 2.0
    late.begin_read = lambda: types.SimpleNamespace(item=lambda: late.value)
    bar.close()  # at the end the last value is waited for
    assert "loss=2.000" in terminal.getvalue() and "loss=1.000" not in terminal.getvalue()

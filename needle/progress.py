"""Progress bars with live metrics, a thin layer over the tqdm library.

    for epoch in trange(10, desc="Training"):
        for batch in (bar := tqdm(dataloader, unit="batch")):
            loss, accuracy = train_step(batch)
            bar.metrics(loss=loss, acc=accuracy)

    Training:  45%|████▌     | 176/391 [00:11<00:14, loss=0.234, acc=0.891, 15.2batch/s]

`metrics` only stores its arguments. A Tensor among them is read when the bar is next drawn, at most ten times a second.
The loop never waits for that: a value that has not arrived from its device is shown at the next drawing.

If the output is not a terminal, nothing is drawn, and a bar writes one line when it is finished.
"""

from __future__ import annotations

import contextlib
import numbers
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from tqdm import std

from needle.errors import ShapeError, short

__all__ = ["ProgressBar", "metrics", "tqdm", "trange"]

_LIVE = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}, {rate_fmt}]"
_FINISHED = "{desc}{n_fmt}/{total_fmt} [{elapsed}{postfix}, {rate_fmt}]"
_NO_TOTAL = "{desc}{n_fmt}{unit} [{elapsed}{postfix}, {rate_fmt}]"

_running: list[ProgressBar] = []  # the bars whose loops are running, outermost first


class ProgressBar(std.tqdm):  # type: ignore[misc]  # tqdm has no annotations
    """A progress bar around an iterable, or moved by `update(n)`. A context manager; the end of its loop closes it too.

    iterable: what to iterate over. total: its length, if it has no `len`.
    desc: the text in front of the bar. unit: the name of one iteration.
    disable: draw and write nothing.
    leave: keep the finished bar on the screen; by default only the outermost bar stays.
    file: the output; by default standard error.
    """

    monitor_interval = 0  # disables tqdm's thread, which would read Tensors while the loop uses them

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        unit: str = "it",
        total: int | None = None,
        disable: bool = False,
        leave: bool | None = None,
        file: TextIO | None = None,
    ) -> None:
        file = sys.stderr if file is None else file
        _check(iterable=iterable, desc=desc, unit=unit, total=total, disable=disable, leave=leave, file=file)
        self._metrics: dict[str, Any] = {}
        self._pending: dict[str, Any] = {}  # PendingReads of Tensors, started when the bar was drawn
        self._shown: dict[str, str] = {}
        self._is_live = file is not None and file.isatty()
        sizeless = self._is_live and not _has_size(file)
        if total is None:
            with contextlib.suppress(TypeError, OverflowError):  # if there is no length, or it is too large
                total = len(iterable)  # type: ignore[arg-type]  # TypeError is expected
        super().__init__(
            iterable,
            desc=f"{desc}: " if desc else None,
            unit=unit,
            total=total,
            disable=disable or file is None,
            leave=leave if self._is_live else True,
            file=file,
            dynamic_ncols=self._is_live and not sizeless,
            ncols=80 if sizeless else None,
            nrows=24 if sizeless else None,
            mininterval=0.1 if self._is_live else float("inf"),
            bar_format=_NO_TOTAL if total is None else _LIVE if self._is_live else _FINISHED,
        )

    def metrics(self, **values: Any) -> None:
        """Shows the values behind the bar from its next drawing on.

        A value is a number, or anything that `float` accepts, and is read at the drawing. A Tensor of one element is
        read with `begin_read`: if its device lags behind the program, the value of the previous drawing is shown.
        """
        self._metrics.update(values)

    def __iter__(self) -> Iterator[Any]:
        _running.append(self)
        try:
            yield from super().__iter__()
        finally:
            _running[:] = [bar for bar in _running if bar is not self]

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        # Read the metrics before tqdm takes its lock, which it would not release if reading failed.
        if self._is_live:
            self._begin_to_read_metrics()
            super().refresh(*args, **kwargs)

    def close(self) -> None:
        try:
            if not self.disable:
                self._read_metrics()
        finally:
            super().close()

    def display(self, *args: Any, **kwargs: Any) -> None:
        if self._is_live:
            super().display(*args, **kwargs)
        elif self.disable:  # as within close()
            self.fp.write(str(self))

    def _begin_to_read_metrics(self) -> None:
        for name, value in self._metrics.items():
            if not _is_tensor(value):
                self._shown[name] = _format(value)
                continue
            earlier = self._pending.get(name)
            if earlier is not None and not earlier.ready():
                continue
            pending = _begin_read(value)
            if pending.ready():
                self._shown[name] = _format(pending.item())
            elif earlier is not None:
                self._shown[name] = _format(earlier.item())
            self._pending[name] = pending
        self._show()

    def _read_metrics(self) -> None:
        for name, value in self._metrics.items():
            self._shown[name] = _format(_begin_read(value).item() if _is_tensor(value) else value)
        self._show()

    def _show(self) -> None:
        self.postfix = ", ".join(f"{name}={text}" for name, text in self._shown.items())


def _has_size(terminal: TextIO) -> bool:
    """Whether the terminal reports a width; one that a program opened without a window reports 0."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns > 0
    except OSError:
        return False


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "begin_read") and not isinstance(value, type)


def _begin_read(tensor: Any) -> Any:
    if getattr(tensor, "size", 1) != 1:
        raise ShapeError(f"metrics: a value of {short(tensor)}: expected one element")
    return tensor.begin_read()


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int))


_TAKES: dict[str, tuple[Callable[[Any], bool], str]] = {  # a check of each argument, and the expected value in words
    "iterable": (lambda x: x is None or hasattr(type(x), "__iter__"), "something to iterate over"),
    "desc": (lambda x: x is None or isinstance(x, str), "text"),
    "unit": (lambda x: isinstance(x, str), "text"),
    "total": (
        # typeshed does not know that a Real compares with an int.
        lambda x: x is None or isinstance(x, numbers.Real) and 0 <= x < 1 << 63,  # type: ignore[operator]
        "a number of 0 or more",
    ),
    "disable": (_is_flag, "True or False"),
    "leave": (_is_flag, "True, False or None"),
    "file": (lambda x: x is None or hasattr(x, "write") and hasattr(x, "isatty"), "an open text file"),
}


def _check(**arguments: Any) -> None:
    """Raises TypeError, naming the argument, for one that tqdm cannot use."""
    for name, value in arguments.items():
        takes, expected = _TAKES[name]
        if not takes(value):
            raise TypeError(f"ProgressBar: {name} of {short(value)}: expected {expected}")


def _format(value: Any) -> str:
    if isinstance(value, (numbers.Integral, str)):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metrics: a value of {short(value)}: expected a number or text") from None
    return f"{number:.3f}" if number == 0 or 1e-3 <= abs(number) < 1e5 else f"{number:.2e}"


tqdm = ProgressBar


def trange(*args: int, **kwargs: Any) -> ProgressBar:
    """`tqdm(range(*args), **kwargs)`."""
    try:
        steps = range(*args)
        len(steps)
    except (OverflowError, TypeError, ValueError):
        raise TypeError(f"trange: {short(args)}: expected the whole numbers that range takes") from None
    return ProgressBar(steps, **kwargs)


def metrics(**values: Any) -> None:
    """Calls `ProgressBar.metrics` on the innermost running bar, for functions that have no reference to it."""
    if _running:
        _running[-1].metrics(**values)

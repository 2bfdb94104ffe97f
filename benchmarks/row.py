"""What is measured: a row of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Sizes = dict[str, int]

_QUICK = 8


@dataclass(frozen=True)
class Row:
    """One piece of work, which several contenders do.

    name      what --only calls it
    title     what the table calls it
    work      name of the function that prepares it, in needle_work.py, numpy_work.py and pytorch_work.py
    sizes     arguments of that function
    amounts   from the sizes to how much a call does, such as {"GFLOP": 17.2, "GB": 0.05}; a table shows the first one
              per second
    images    whether contenders for images alone take part
    compiled  whether contenders that compile the work take part, ours with ndl.jit among them
    cold      whether each call begins anew, so that none warms up another: a turn is one call, and there are few
    gpu       whether only GPUs take part: the others would need minutes, or there it is no other work
    dtype     of the arithmetic that amounts["GFLOP"] counts: the bound is that dtype's where it is known
    """

    name: str
    title: str
    work: str
    sizes: Sizes
    amounts: Callable[..., dict[str, float]]
    images: bool = False
    compiled: bool = False
    cold: bool = False
    gpu: bool = False
    dtype: str = "float32"

    def sizes_for(self, quick: bool) -> Sizes:
        """The sizes, or for --quick such that only the program is tested: nothing above 8."""
        return {name: min(size, _QUICK) for name, size in self.sizes.items()} if quick else self.sizes

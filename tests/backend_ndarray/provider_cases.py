"""Random calls at which oneDNN is chosen by what was measured: kernels/cpu/libraries/choice_table.inc.

`choices()` lists that table's lines, and `case_at` makes a Case of kernel_cases.py whose work lies just within one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import assume

from needle.backend_ndarray.dtype import DType
from tests.backend_ndarray.kernel_cases import EPS, Case, Draw, Operand

TABLE = Path(__file__).parents[2] / "kernels" / "cpu" / "libraries" / "choice_table.inc"


@dataclass(frozen=True)
class Choice:
    """oneDNN's for least <= work < most, at an instruction level and for a class of shapes (provider.h says which)."""

    level: str
    kernel: str
    shape_class: str
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.level} {self.kernel} {self.shape_class}"


def choices() -> list[Choice]:
    lines = re.findall(r"^NEEDLE_CHOICE\((\w+), (\w+), (\w+), (\S+), (\S+)\)", TABLE.read_text(), re.MULTILINE)
    return [Choice(*names, float(least), float(most.replace("kAnyWork", "inf"))) for *names, least, most in lines]


def case_at(draw: Draw, choice: Choice, dtype: DType) -> Case:
    maker = next(make for name, make in _MAKERS.items() if choice.kernel.startswith(name))
    case, work = maker(draw, choice, dtype)
    assume(choice.least <= work < choice.most)
    return case


def _input(draw: Draw, shape: tuple[int, ...], dtype: DType) -> Operand:
    """Of any strides, or one that repeats what it has along some axes."""
    if draw.boolean("any strides"):
        return draw.input(shape, dtype)
    return draw.repeated(shape, dtype, [draw.integer(0, 3, "repeats") == 0 for _ in shape])


def _product(draw: Draw, choice: Choice, dtype: DType) -> tuple[Case, int]:
    is_thin = choice.shape_class == "thin"
    batch = ((), (1,), (3,), (2, 2))[draw.integer(0, 3, "batch")] if choice.kernel == "matmul" else ()
    extents = [draw.integer(1, 31, "thin") if is_thin else draw.integer(32, 70, "extent")]
    extents.append(draw.integer(32, 90, "extent"))
    extents.append(max(32, math.ceil(choice.least / math.prod((*batch, *extents)))))
    m, k, n = draw.data.draw(draw.st.permutations(extents), label="m, k, n")
    k += k % 2  # oneDNN is not asked for odd sums of bfloat16
    shapes = ((*batch, m, k), (*batch, k, n)) if choice.kernel == "matmul" else ((m, k), (k, n), (n,))
    settings = () if choice.kernel == "matmul" else (draw.boolean("relu"),)
    if draw.boolean("one matrix for all of the batch"):
        inputs = [draw.repeated(shape, dtype, [i < len(batch) for i in range(len(shape))]) for shape in shapes]
    else:
        inputs = [_input(draw, shape, dtype) for shape in shapes]
    case = Case([*inputs, draw.layout((*batch, m, n), dtype), *settings], scale=16 + 40 * k)
    return case, math.prod((*batch, m, k, n))


def _pairs_inside(extent: int, kernel: int, stride: int, padding: int) -> int:
    """Of a window and one of its taps, along one axis, that meet a pixel."""
    starts = range(-padding, extent + padding - kernel + 1, stride)
    return sum(0 <= start + tap < extent for start in starts for tap in range(kernel))


def _convolution(draw: Draw, choice: Choice, dtype: DType) -> tuple[Case, int]:
    is_strided, is_narrow = choice.shape_class == "strided", choice.shape_class == "few_channels"
    channels = draw.integer(1, 15, "channels") if is_narrow else draw.integer(16, 40, "channels")
    filters = draw.integer(32, 96, "filters")
    stride = draw.integer(2, 3, "stride") if is_strided else draw.integer(1, 3, "stride") if is_narrow else 1
    padding = draw.integer(0, 4, "padding")
    sees_all_pixels = draw.integer(0, 4, "sees all pixels") > 0  # else oneDNN is not asked for their gradients
    axes = []
    for axis in ("height", "width"):
        kernel = draw.integer(stride if sees_all_pixels else 1, 5, f"kernel {axis}")
        extent = draw.integer(max(1, kernel - 2 * padding), 14, axis)
        rest = (extent + 2 * padding - kernel) % stride
        axes.append((extent - rest if sees_all_pixels and extent > rest else extent, kernel))
    (height, kernel_h), (width, kernel_w) = axes
    each = channels * filters * math.prod(_pairs_inside(extent, kernel, stride, padding) for extent, kernel in axes)
    assume(each > 0)
    n = math.ceil(choice.least / each)
    rows, columns = ((extent + 2 * padding - kernel) // stride + 1 for extent, kernel in axes)
    assume(n * rows * columns * kernel_h * kernel_w * channels < 2e7)  # numbers in the reference's windows
    x, weight, out = (n, height, width, channels), (kernel_h, kernel_w, channels, filters), (n, rows, columns, filters)
    shapes = {
        "conv2d": (x, weight, out),
        "conv2d_backward_data": (out, weight, x),
        "conv2d_backward_weight": (x, out, weight),
    }[choice.kernel]
    summed = np.prod(weight[:3]), np.prod(weight[:2]) * filters, np.prod(out[:3])
    operands = [_input(draw, shapes[0], dtype), _input(draw, shapes[1], dtype), draw.layout(shapes[2], dtype)]
    return Case([*operands, stride, padding], scale=100 + 40 * max(summed)), n * each


def _pooling(draw: Draw, choice: Choice, dtype: DType) -> tuple[Case, int]:
    kernel, stride = draw.integer(1, 4, "kernel"), draw.integer(1, 5, "stride")
    padding = draw.integer(0, kernel // 2, "padding")
    height, width = (draw.integer(max(1, kernel - 2 * padding), 14, axis) for axis in ("height", "width"))
    channels = draw.integer(1, 40, "channels")
    n = math.ceil(choice.least / (height * width * channels))
    rows, columns = ((extent + 2 * padding - kernel) // stride + 1 for extent in (height, width))
    x, out = (n, height, width, channels), (n, rows, columns, channels)
    shapes = (out, x) if choice.kernel.endswith("backward") else (x, out)
    operands = [_input(draw, shapes[0], dtype), draw.layout(shapes[1], dtype)]
    return Case([*operands, kernel, stride, padding], scale=200), math.prod(x)


def _batch_norm_inference(draw: Draw, choice: Choice, dtype: DType) -> tuple[Case, int]:
    channels, width = draw.integer(1, 70, "channels"), draw.integer(1, 9, "width")
    shape = (math.ceil(choice.least / (width * channels)), width, channels)
    inputs = [_input(draw, shape, dtype), *(draw.input((channels,), dtype) for _ in range(3))]
    variance = draw.layout((channels,), dtype, np.abs(draw.numbers((channels,), dtype)))
    return Case([*inputs, variance, draw.layout(shape, dtype), EPS, False], scale=3000), math.prod(shape)


_MAKERS = {
    "matmul": _product,
    "linear": _product,
    "conv2d": _convolution,
    "avg_pool2d": _pooling,
    "batch_norm_inference": _batch_norm_inference,
}

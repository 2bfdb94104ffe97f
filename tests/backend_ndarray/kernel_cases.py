"""Random calls of every kernel of the kernel table: operands with their values, strides and dtypes.

`CASES[kernel]` makes a Case from a Draw and a dtype. A Case can be laid out on any device, so that the same call runs on
two of them and whole buffers can be compared, the elements between the strides included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from needle.backend_ndarray import Device, NDArray, array
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DTYPES, FLOATING, DType, as_dtype, bool_, float32, float64, int32, int64, uint8
from needle.backend_ndarray.kernel_table import KERNELS, Kernel

NUMBERS = tuple(dtype for dtype in DTYPES if dtype is not bool_)
INTEGERS = tuple(dtype for dtype in DTYPES if dtype.kind == "integer")


@dataclass
class Operand:
    """An array inside a larger compact `base`, whose other elements no kernel may touch."""

    base: np.ndarray
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    written: bool

    def values(self) -> np.ndarray:
        """The operand itself, a view of its base."""
        item = self.dtype.itemsize
        strides = tuple(stride * item for stride in self.strides)
        return np.ndarray(self.shape, self.dtype.numpy, self.base, self.offset * item, strides)

    def on(self, device: Device) -> tuple[NDArray, NDArray]:
        """(base, view) on a device."""
        base = array(self.base, self.dtype, device)
        return base, base.view(self.shape, self.strides, self.offset)


@dataclass
class Number:
    """A number beside arrays of `dtype`, which need not hold it where that is a half type."""

    value: bool | int | float
    dtype: DType


@dataclass
class Case:
    """A kernel call; an operand may be a Number or a list of Operands and Numbers.

    Results may differ by `scale` units of rounding of the dtype that is computed in.
    """

    operands: list
    scale: float = 16.0
    exact: bool = False
    zeros_have_signs: bool = False  # that are to agree, too
    description: str = field(default="", repr=True)

    def run(self, kernel: str, device: Device) -> list[np.ndarray]:
        """Calls the kernel; gives the whole base of every operand afterwards."""
        operands, bases = self.on(device)
        call(device, kernel, *operands)
        return [base.numpy() for base in bases]

    def on(self, device: Device) -> tuple[list, list[NDArray]]:
        """The operands of a call on a device, and the bases of those that are arrays."""
        bases = []
        laid_out = {}  # an Operand that stands twice is one array

        def lay_out(operand):
            if isinstance(operand, list):
                return [lay_out(item) for item in operand]
            if isinstance(operand, Number):
                return device.kernels.scalar(operand.value, operand.dtype.code)
            if not isinstance(operand, Operand):
                return operand
            if id(operand) not in laid_out:
                laid_out[id(operand)] = operand.on(device)
            base, view = laid_out[id(operand)]
            bases.append(base)
            return view

        return [lay_out(operand) for operand in self.operands], bases

    def arrays(self) -> list[Operand]:
        """The Operands, in the order of what `run` gives."""
        lists = [operand if isinstance(operand, list) else [operand] for operand in self.operands]
        return [operand for operands in lists for operand in operands if isinstance(operand, Operand)]


class Draw:
    """Draws shapes, layouts and values. Structure comes from hypothesis, so that it shrinks; values from a seed."""

    def __init__(self, data, st) -> None:
        self.data, self.st = data, st
        self.values = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))

    def integer(self, low: int, high: int, label: str) -> int:
        return self.data.draw(self.st.integers(low, high), label=label)

    def boolean(self, label: str) -> bool:
        return self.data.draw(self.st.booleans(), label=label)

    def shape(self, min_dims: int = 0, max_dims: int = 5, min_extent: int = 0) -> tuple[int, ...]:
        """Mostly small extents, sometimes one that is longer than any vector register or block."""
        extents = self.st.integers(min_extent, 5)
        shape = self.data.draw(self.st.lists(extents, min_size=min_dims, max_size=max_dims), label="shape")
        if shape and self.boolean("long"):
            shape[self.integer(0, len(shape) - 1, "long axis")] = self.integer(30, 150, "long extent")
        return tuple(shape)

    def layout(
        self, shape: tuple[int, ...], dtype: DType, values: np.ndarray | None = None, broadcast: bool = True
    ) -> Operand:
        """An operand of that shape with axes permuted, steps between elements, axes reversed and broadcast.

        Without values it is written to: it holds a sentinel, and no axis is broadcast.
        """
        ndim = len(shape)
        order = self.data.draw(self.st.permutations(range(ndim)), label="order") if ndim else []
        plain = self.boolean("compact")
        steps, repeats = [1] * ndim, [False] * ndim
        if not plain:
            choices = self.st.sampled_from([1, 1, 1, 2, -1, -3])
            steps = [self.data.draw(choices, label="step") for _ in range(ndim)]
            if values is not None and broadcast:
                repeats = [self.data.draw(self.st.integers(0, 4), label="broadcast") == 0 for _ in range(ndim)]
        else:
            order = list(range(ndim))
        if values is not None:
            for axis in range(ndim):
                if repeats[axis] and shape[axis]:
                    values = np.repeat(values.take([0], axis), shape[axis], axis)
        strides, step = [0] * ndim, 1
        for axis in reversed(order):
            if repeats[axis]:
                continue
            strides[axis] = step * steps[axis]
            step *= max(1, abs(steps[axis]) * shape[axis])
        margin = 0 if plain else 3
        base = np.full(step + 2 * margin, 1 if dtype is bool_ else 77, dtype.numpy)
        offset = margin + sum(-s * (n - 1) for s, n in zip(strides, shape) if s < 0 and n)
        operand = Operand(base, dtype, shape, tuple(strides), offset, written=values is None)
        if values is not None:
            operand.values()[...] = values
        return operand

    def numbers(self, shape: tuple[int, ...], dtype: DType, specials: bool | list = False) -> np.ndarray:
        """Normal or small whole numbers; with specials also those or NaN, infinities, zeros and the ends of the range."""
        dtype = as_dtype(dtype)
        if dtype is bool_:
            return self.values.random(shape) < 0.5
        if dtype.kind == "integer":
            values = self.values.integers(0 if dtype == "uint8" else -9, 10, shape)
            extremes = [np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max, 0]
        else:
            values = self.values.normal(size=shape) * 3
            extremes = [np.nan, np.inf, -np.inf, 0.0, -0.0]
        values = np.asarray(values, dtype.numpy)
        extremes = specials if isinstance(specials, list) else extremes
        if specials and values.size and self.boolean("specials"):
            often = 0.2 if self.boolean("many specials") else 0.01
            chosen = self.values.random(shape) < often
            chosen.flat[self.values.integers(chosen.size)] = True
            values = np.where(chosen, self.values.choice(np.array(extremes, dtype.numpy), shape), values)
        return values.astype(dtype.numpy)

    def input(self, shape: tuple[int, ...], dtype: DType, specials: bool | list = False) -> Operand:
        return self.layout(shape, dtype, self.numbers(shape, dtype, specials))

    def repeated(self, shape: tuple[int, ...], dtype: DType, repeats: list[bool]) -> Operand:
        """An operand that has one element along some axes and repeats it there: their strides are 0."""
        base = self.numbers(tuple(1 if repeat else extent for extent, repeat in zip(shape, repeats)), dtype)
        steps = (stride // base.itemsize for stride in base.strides)
        strides = tuple(0 if repeat else step for step, repeat in zip(steps, repeats))
        return Operand(base.reshape(-1), dtype, shape, strides, 0, written=False)

    def state(self, shape: tuple[int, ...], dtype: DType, positive: bool = False, specials: bool = False) -> Operand:
        """An operand that is read and written."""
        operand = self.layout(shape, dtype)
        values = self.numbers(operand.base.shape, dtype, specials)
        operand.base = np.abs(values) if positive else values
        return operand

    def element_wise_input(self, shape: tuple[int, ...], dtype: DType, specials: bool = True) -> Operand | Number:
        """An operand of `shape`, or a 0-d one, or a number."""
        kind = self.integer(0, 7, "kind")
        if kind > 0:
            return self.input(() if kind == 1 else shape, dtype, specials)
        wide = float32 if dtype.itemsize == 2 else dtype
        value = self.numbers((), wide, specials).item()
        return Number(value * 1e4 if wide is not dtype and self.boolean("large") else value, dtype)


def unary(draw: Draw, dtype: DType, out_dtype: DType | None = None) -> Case:
    shape = draw.shape()
    operands = [draw.element_wise_input(shape, dtype), draw.layout(shape, out_dtype or dtype)]
    return Case(operands, exact=dtype.kind != "floating", zeros_have_signs=True)


def binary(draw: Draw, dtype: DType, out_dtype: DType | None = None) -> Case:
    shape = draw.shape()
    inputs = [draw.element_wise_input(shape, dtype), draw.element_wise_input(shape, dtype)]
    out = draw.layout(shape, out_dtype or dtype)
    return Case([*inputs, out], exact=dtype.kind != "floating", zeros_have_signs=True)


def gelu_backward(draw: Draw, dtype: DType) -> Case:
    case = binary(draw, dtype)
    case.zeros_have_signs = False  # the derivative passes through 0
    return case


def comparison(draw: Draw, dtype: DType) -> Case:
    case = binary(draw, dtype, bool_)
    case.exact = True
    return case


def power(draw: Draw, dtype: DType) -> Case:
    shape = draw.shape()
    base, exponent = draw.input(shape, dtype, specials=True), draw.input(shape, dtype, specials=True)
    kind = draw.integer(0, 2, "exponent")
    if kind > 0:  # one for all, an array or a number
        special = [0.5, -0.5, -1, -2, 1.5, np.inf, -np.inf, np.nan] if dtype.kind == "floating" else []
        value = draw.values.choice([2, 3, 0, 1, *special])
        value = value if dtype.kind == "floating" else int(value)
        exponent = Number(value, dtype) if kind == 1 else draw.layout((), dtype, np.asarray(value, dtype.numpy))
    return Case([base, exponent, draw.layout(shape, dtype)],
                exact=dtype.kind != "floating", scale=64, zeros_have_signs=True)  # fmt: skip


def copy(draw: Draw, dtype: DType) -> Case:
    out_dtype = draw.data.draw(draw.st.sampled_from(DTYPES), label="out dtype")
    case = unary(draw, dtype, out_dtype)
    if out_dtype is float64 and isinstance(case.operands[0], Number) and dtype.itemsize == 2:
        case.operands[0].value = float(np.float32(case.operands[0].value))  # beside half types it is a float32
    return case


def where(draw: Draw, dtype: DType) -> Case:
    shape = draw.shape()
    condition = draw.element_wise_input(shape, bool_)
    inputs = [draw.element_wise_input(shape, dtype), draw.element_wise_input(shape, dtype)]
    return Case([condition, *inputs, draw.layout(shape, dtype)], exact=True, zeros_have_signs=True)


# Kernels that round once, and so give the bits of the reference.
ROUNDED_ONCE = (
    "copy", "negate", "abs", "sign", "relu", "floor", "ceil", "sqrt", "logical_not", "add", "subtract", "multiply",
    "divide", "maximum", "minimum", "add_relu", "relu_backward", "logical_and", "logical_or", "logical_xor", "equal",
    "not_equal", "less", "less_equal", "where",
)  # fmt: skip


def fused(draw: Draw, dtype: DType, kernels: tuple[str, ...] = ROUNDED_ONCE, shape: tuple[int, ...] = ()) -> Case:
    """A random graph of kernels on random inputs; some outputs are the same array as an input."""
    shape = shape or draw.shape()
    sample = lambda label, values: draw.data.draw(draw.st.sampled_from(values), label=label)  # noqa: E731
    dtypes = [dtype, *(sample("dtype", [dtype, dtype, bool_, *DTYPES]) for _ in range(draw.integer(0, 3, "inputs")))]
    inputs = [
        draw.state(shape, of, specials=True) if draw.integer(0, 3, "state") == 0 else draw.element_wise_input(shape, of)
        for of in dtypes
    ]
    steps = []  # with registers that are numbered as if there were no outputs
    for _ in range(draw.integer(1, 12, "instructions")):
        kernel = KERNELS[sample("kernel", kernels)]
        readable = [k for k, of in enumerate(dtypes) if of in _DTYPES[kernel.dtypes]]
        conditions = [k for k, of in enumerate(dtypes) if of is bool_]
        if not readable or kernel.name == "where" and not conditions:
            continue
        first = sample("operand", readable)
        alike = [k for k in readable if dtypes[k] is dtypes[first]]
        result = dtypes[first] if kernel.kind != "comparison" else bool_
        if kernel.name == "copy":
            result = sample("dtype of copy", DTYPES)
            read = [first, result.code]
        elif kernel.name == "where":
            read = [sample("condition", conditions), first, sample("operand", alike)]
        else:
            read = [first, *(sample("operand", alike) for _ in range(len(kernel.operands) - 2))]
        steps.append((kernel.name, len(dtypes), read))
        dtypes.append(result)
    if not steps:
        steps, dtypes = [("add", len(dtypes), [0, 0])], [*dtypes, dtype]
    results = list(range(len(inputs), len(dtypes)))
    kept = sorted({results[-1], *(sample("output", results) for _ in range(draw.integer(0, 3, "more outputs")))})
    number = {k: k for k in range(len(inputs))}
    for k in [*kept, *(k for k in results if k not in kept)]:
        number[k] = len(number)
    instructions = tuple(
        (name, number[out], *(k if name == "copy" and place else number[k] for place, k in enumerate(read)))
        for name, out, read in steps
    )
    free = [a for a in inputs if isinstance(a, Operand) and a.written]
    outputs = []
    for k in kept:
        same = [a for a in free if a.dtype is dtypes[k]]
        outputs.append(same[0] if same and draw.boolean("in place") else draw.layout(shape, dtypes[k]))
        free = [a for a in free if a is not outputs[-1]]
    for a in free:
        a.written = False
    return Case([inputs, outputs, instructions], exact=True)


def reduction(draw: Draw, dtype: DType, min_extent: int, specials: bool) -> Case:
    shape = draw.shape(min_extent=min_extent)
    out_shape = tuple(1 if draw.boolean("reduced") else extent for extent in shape)
    a = draw.input(shape, dtype, specials)
    return Case([a, draw.layout(out_shape, dtype)], exact=dtype.kind != "floating", scale=16 + 8 * np.sqrt(a.base.size))


# Kernels of ROUNDED_ONCE whose results are no larger than their operands.
BOUNDED = ("copy", "negate", "abs", "sign", "relu", "maximum", "minimum", "relu_backward", "where")


def fused_sum(draw: Draw, dtype: DType, kernels: tuple[str, ...] = BOUNDED, shape: tuple[int, ...] = ()) -> Case:
    """A random graph of kernels and the sum of one of its registers, of which all, some or none are outputs."""
    inputs, outputs, instructions = fused(draw, dtype, kernels, shape).operands
    shape = outputs[0].shape
    dtypes = dict(enumerate(operand.dtype for operand in inputs))
    for kernel, out, *read in instructions:
        dtypes[out] = DTYPES[read[1]] if kernel == "copy" else dtypes[read[-1]]
        if KERNELS[kernel].kind == "comparison":
            dtypes[out] = bool_
    summed = draw.data.draw(draw.st.sampled_from([out for _, out, *_ in instructions]), label="summed")
    if dtypes[summed] is bool_:
        last = 1 + max(dtypes)
        instructions = (*instructions, ("copy", last, summed, dtype.code if dtype is not bool_ else float32.code))
        summed, dtypes[last] = last, dtype if dtype is not bool_ else float32
    number = draw.integer(0, len(outputs), "outputs")
    outputs, others = outputs[:number], outputs[number:]
    for other in others:
        other.written = False  # it may be an input, too
    total_shape = tuple(1 if draw.boolean("summed axis") else extent for extent in shape)
    of = dtypes[summed]
    total = draw.layout(total_shape, float32 if of.itemsize == 2 and draw.boolean("float32 out") else of)
    return Case([inputs, outputs, total, instructions, summed], scale=16 + 8 * np.sqrt(np.prod(shape)))


def summation(draw: Draw, dtype: DType) -> Case:
    case = reduction(draw, dtype, 0, specials=True)
    if dtype.itemsize == 2 and draw.boolean("float32 out"):
        case.operands[1] = draw.layout(case.operands[1].shape, float32)
    return case


def sum_of_squares(draw: Draw, dtype: DType) -> Case:
    case = reduction(draw, dtype, 0, specials=True)
    out_shape = case.operands[1].shape
    case.operands[1] = draw.layout(out_shape, dtype if dtype == "float64" else float32)
    case.scale *= 30  # squares are that much larger than the values that the tolerance is scaled by
    return case


def arg_reduction(draw: Draw, dtype: DType) -> Case:
    shape = draw.shape(min_dims=1, min_extent=1)
    axis = draw.integer(0, len(shape) - 1, "axis")
    values = draw.numbers(shape, dtype, specials=True)
    values = np.round(values) if dtype.kind == "floating" else values  # so that there are equals
    out_shape = tuple(1 if i == axis else extent for i, extent in enumerate(shape))
    return Case([draw.layout(shape, dtype, values), draw.layout(out_shape, int64)], exact=True)


def matmul(draw: Draw, dtype: DType) -> Case:
    batch = draw.shape(max_dims=2)
    m, k, n = (draw.integer(0, 9, name) if draw.boolean("small") else draw.integer(0, 70, name) for name in "mkn")
    inputs = [draw.input((*batch, m, k), dtype, specials=True), draw.input((*batch, k, n), dtype, specials=True)]
    if draw.integer(0, 4, "one matrix") == 0:  # for all of the batch, on either side
        inputs = [draw.repeated(a.shape, dtype, [True] * len(batch) + [False, False]) for a in inputs]
    return Case([*inputs, draw.layout((*batch, m, n), dtype)], exact=dtype.kind != "floating", scale=16 + 40 * k)


def linear(draw: Draw, dtype: DType) -> Case:
    m, k, n = (draw.integer(0, 9, name) if draw.boolean("small") else draw.integer(0, 70, name) for name in "mkn")
    inputs = [draw.input(shape, dtype, specials=True) for shape in ((m, k), (k, n), (n,))]
    return Case([*inputs, draw.layout((m, n), dtype), draw.boolean("relu")], scale=16 + 40 * k)


def _images(draw: Draw, kernel: int) -> tuple[int, int, int, int]:
    n, height, width = draw.integer(0, 3, "n"), draw.integer(kernel, 9, "height"), draw.integer(kernel, 9, "width")
    channels = draw.integer(1, 5, "channels") if draw.boolean("few channels") else draw.integer(6, 40, "channels")
    return n, height, width, channels


def _convolution(draw: Draw):
    kernel_h, kernel_w = draw.integer(1, 4, "kernel height"), draw.integer(1, 4, "kernel width")
    stride, padding = draw.integer(1, 3, "stride"), draw.integer(0, 2, "padding")
    smallest = max(kernel_h, kernel_w)
    if draw.integer(0, 4, "degenerate") == 0:  # taps and windows that meet padding alone, pixels that no window meets
        kernel_h, smallest = kernel_h + draw.integer(0, 4, "more kernel height"), 1
        stride, padding = stride + draw.integer(0, 9, "more stride"), max(kernel_h, kernel_w) - 1
        padding += draw.integer(0, 2, "more padding")
    x_shape = _images(draw, smallest)
    filters = draw.integer(1, 20, "filters")
    weight_shape = (kernel_h, kernel_w, x_shape[3], filters)
    rows = (x_shape[1] + 2 * padding - kernel_h) // stride + 1
    columns = (x_shape[2] + 2 * padding - kernel_w) // stride + 1
    out_shape = (x_shape[0], rows, columns, filters)
    return x_shape, weight_shape, out_shape, stride, padding


def conv2d(draw: Draw, dtype: DType) -> Case:
    x, weight, out, stride, padding = _convolution(draw)
    inputs = [draw.input(x, dtype), draw.input(weight, dtype)]
    return Case([*inputs, draw.layout(out, dtype), stride, padding], scale=100 + 40 * np.prod(weight[:3]))


def conv2d_bias(draw: Draw, dtype: DType) -> Case:
    case = conv2d(draw, dtype)
    x, weight, *others = case.operands
    return Case([x, weight, draw.input(weight.shape[3:], dtype), *others], scale=case.scale)


def conv2d_backward_data(draw: Draw, dtype: DType) -> Case:
    x, weight, out, stride, padding = _convolution(draw)
    inputs = [draw.input(out, dtype), draw.input(weight, dtype)]
    return Case([*inputs, draw.layout(x, dtype), stride, padding], scale=100 + 40 * np.prod(weight[:2]) * weight[3])


def conv2d_backward_weight(draw: Draw, dtype: DType) -> Case:
    x, weight, out, stride, padding = _convolution(draw)
    inputs = [draw.input(x, dtype), draw.input(out, dtype)]
    return Case([*inputs, draw.layout(weight, dtype), stride, padding], scale=100 + 40 * np.prod(out[:3]))


def _pooling(draw: Draw):
    kernel, stride = draw.integer(1, 4, "kernel"), draw.integer(1, 4, "stride")
    padding = draw.integer(0, kernel // 2, "padding")
    x = _images(draw, kernel)
    rows, columns = ((extent + 2 * padding - kernel) // stride + 1 for extent in x[1:3])
    return x, (x[0], rows, columns, x[3]), (kernel, stride, padding)


def _distinct_rounds(draw: Draw, shape, dtype: DType) -> Operand:
    return draw.layout(shape, dtype, np.round(draw.numbers(shape, dtype, specials=True)))  # so that windows have equals


def max_pool2d(draw: Draw, dtype: DType) -> Case:
    x, out, settings = _pooling(draw)
    return Case([draw.input(x, dtype, specials=True), draw.layout(out, dtype), *settings], exact=True)


def max_pool2d_backward(draw: Draw, dtype: DType) -> Case:
    x, out, settings = _pooling(draw)
    inputs = [_distinct_rounds(draw, x, dtype), draw.input(out, dtype, specials=True)]
    return Case([*inputs, draw.layout(x, dtype), *settings], scale=200)


def avg_pool2d(draw: Draw, dtype: DType) -> Case:
    x, out, settings = _pooling(draw)
    return Case([draw.input(x, dtype, specials=True), draw.layout(out, dtype), *settings], scale=200)


def avg_pool2d_backward(draw: Draw, dtype: DType) -> Case:
    x, out, settings = _pooling(draw)
    return Case([draw.input(out, dtype, specials=True), draw.layout(x, dtype), *settings], scale=200)


def _rows(draw: Draw) -> tuple[tuple[int, ...], int]:
    """(leading shape, channels), none of them 0."""
    shape = draw.shape(min_dims=1, max_dims=4, min_extent=1)
    return shape[:-1], shape[-1]


EPS = 0.1  # large, so that rows without variance do not magnify rounding


def _vector_dtype(draw: Draw, dtype: DType) -> DType:
    """Of parameters and statistics beside rows of `dtype`: float32, perhaps, where that is a half type."""
    return float32 if dtype.itemsize == 2 and draw.boolean("float32 vectors") else dtype


def norm(draw: Draw, dtype: DType, statistics_per_row: bool) -> Case:
    leading, channels = _rows(draw)
    statistics = leading if statistics_per_row else (channels,)
    vector = _vector_dtype(draw, dtype)
    inputs = [draw.input((*leading, channels), dtype, [np.nan]), *(draw.input((channels,), vector) for _ in range(2))]
    outputs = [draw.layout((*leading, channels), dtype), *(draw.layout(statistics, vector) for _ in range(2))]
    return Case([*inputs, *outputs, EPS], scale=3000)


def batch_norm(draw: Draw, dtype: DType) -> Case:
    """With running statistics or without."""
    case = norm(draw, dtype, statistics_per_row=False)
    x, weight, bias, *outputs, eps = case.operands
    stored = _vector_dtype(draw, dtype)
    running = [draw.state(weight.shape, stored) for _ in range(2)] if draw.boolean("running") else []
    momentum = draw.data.draw(draw.st.sampled_from([0.0, 0.1, 1.0]), label="momentum")
    return Case([x, weight, bias, running, *outputs, eps, momentum, draw.boolean("relu")], scale=case.scale)


def batch_norm_inference(draw: Draw, dtype: DType) -> Case:
    leading, channels = _rows(draw)
    vector = _vector_dtype(draw, dtype)
    inputs = [draw.input((*leading, channels), dtype, True), *(draw.input((channels,), vector) for _ in range(3))]
    variance = draw.layout((channels,), vector, np.abs(draw.numbers((channels,), vector)))
    return Case([*inputs, variance, draw.layout((*leading, channels), dtype), EPS, draw.boolean("relu")], scale=3000)


def norm_backward(draw: Draw, dtype: DType, statistics_per_row: bool) -> Case:
    leading, channels = _rows(draw)
    statistics = leading if statistics_per_row else (channels,)
    full = (*leading, channels)
    vector = _vector_dtype(draw, dtype)
    inputs = [draw.input(full, dtype, [np.nan]), draw.input(full, dtype, [np.nan]), draw.input((channels,), vector)]
    x = inputs[1].values().astype(np.float64)
    axes = -1 if statistics_per_row else tuple(range(len(leading)))
    exact = float32 if dtype.itemsize == 2 else dtype  # statistics that fit x, as the formula assumes
    mean = draw.layout(statistics, exact, x.mean(axes).astype(exact.numpy), broadcast=False)
    variance = draw.layout(statistics, exact, x.var(axes).astype(exact.numpy), broadcast=False)
    outputs = [draw.layout(full, dtype), *(draw.layout((channels,), vector) for _ in range(2))]
    return Case([*inputs, mean, variance, *outputs, EPS], scale=1000 + 20 * np.prod(full))


def batch_norm_backward(draw: Draw, dtype: DType) -> Case:
    case = norm_backward(draw, dtype, statistics_per_row=False)
    grad_out, x, weight, mean, variance, *outputs, eps = case.operands
    bias, relu = draw.input(weight.shape, weight.dtype), draw.boolean("relu")
    if relu:  # no gradient where rounding decides on which side of 0 a number is
        centered = x.values().astype(np.float64) - mean.values()
        scale = weight.values().astype(np.float64) / np.sqrt(variance.values().astype(np.float64) + eps)
        is_near = np.abs(centered * scale + bias.values().astype(np.float64)) < 1e-4 * (1 + np.abs(centered * scale))
        values = np.where(is_near, 0, grad_out.values()).astype(dtype.numpy)
        grad_out = draw.layout(grad_out.shape, dtype, values, broadcast=False)
    return Case([grad_out, x, weight, bias, mean, variance, *outputs, eps, relu], scale=case.scale)


def softmax(draw: Draw, dtype: DType) -> Case:
    leading, classes = _rows(draw)
    shape = (*leading, classes)
    return Case([draw.input(shape, dtype, specials=True), draw.layout(shape, dtype)], scale=500)


def logsumexp(draw: Draw, dtype: DType) -> Case:
    leading, classes = _rows(draw)
    return Case([draw.input((*leading, classes), dtype, specials=True), draw.layout(leading, dtype)], scale=500)


def _labels(draw: Draw, shape: tuple[int, ...], classes: int) -> Operand:
    dtype = int32 if draw.boolean("int32") else int64
    return draw.layout(shape, dtype, draw.values.integers(0, classes, shape).astype(dtype.numpy))


def softmax_cross_entropy(draw: Draw, dtype: DType) -> Case:
    rows, classes = draw.integer(0, 40, "rows"), draw.integer(1, 60, "classes")
    inputs = [draw.input((rows, classes), dtype, specials=True), _labels(draw, (rows,), classes)]
    return Case([*inputs, draw.layout((rows,), dtype)], scale=500)


def softmax_cross_entropy_backward(draw: Draw, dtype: DType) -> Case:
    rows, classes = draw.integer(0, 40, "rows"), draw.integer(1, 60, "classes")
    logits, grad_loss = draw.input((rows, classes), dtype, specials=True), draw.input((rows,), dtype, specials=True)
    inputs = [logits, _labels(draw, (rows,), classes), grad_loss]
    return Case([*inputs, draw.layout((rows, classes), dtype)], scale=500)


def _recurrent(draw: Draw, dtype: DType, gates: int) -> tuple[int, int, int, Operand]:
    """Steps, rows, units, and W_hh (units, gates * units), small enough that rounding errors do not grow."""
    steps, rows, units = draw.integer(1, 4, "steps"), draw.integer(0, 14, "rows"), draw.integer(1, 40, "units")
    weights = draw.numbers((units, gates * units), dtype)
    return steps, rows, units, draw.layout(weights.shape, dtype, (weights * 0.03).astype(weights.dtype))


def rnn(draw: Draw, dtype: DType) -> Case:
    steps, rows, units, W_hh = _recurrent(draw, dtype, 1)
    inputs = [draw.input((steps, rows, units), dtype, specials=True), W_hh, draw.input((units,), dtype)]
    return Case([*inputs, draw.state((steps + 1, rows, units), dtype), draw.boolean("relu")], scale=500)


def rnn_backward(draw: Draw, dtype: DType) -> Case:
    steps, rows, units, W_hh = _recurrent(draw, dtype, 1)
    hidden = draw.numbers((steps + 1, rows, units), dtype, specials=True) / 16
    grad_hidden = draw.input((steps, rows, units), dtype, specials=True)
    inputs = [grad_hidden, draw.layout(hidden.shape, dtype, hidden.astype(dtype.numpy)), W_hh]
    outputs = [draw.layout((steps, rows, units), dtype), draw.layout((rows, units), dtype)]
    return Case([*inputs, *outputs, draw.boolean("relu")], scale=500)


def lstm(draw: Draw, dtype: DType) -> Case:
    steps, rows, units, W_hh = _recurrent(draw, dtype, 4)
    gates, bias = draw.state((steps, rows, 4 * units), dtype, specials=True), draw.input((4 * units,), dtype)
    states = [draw.state((steps + 1, rows, units), dtype) for _ in ("hidden", "cells")]
    return Case([gates, W_hh, bias, *states], scale=500)


def lstm_backward(draw: Draw, dtype: DType) -> Case:
    steps, rows, units, W_hh = _recurrent(draw, dtype, 4)
    gates = 1 / (1 + np.exp(-draw.numbers((steps, rows, 4 * units), dtype).astype(np.float64)))
    inputs = [  # of infinite gradients it depends on the order of factors and terms where NaN comes in
        draw.input((steps, rows, units), dtype),
        draw.input((rows, units), dtype),
        draw.layout(gates.shape, dtype, gates.astype(dtype.numpy)),
        draw.input((steps + 1, rows, units), dtype),
        W_hh,
    ]
    outputs = [draw.layout(shape, dtype) for shape in ((steps, rows, 4 * units), (rows, units), (rows, units))]
    return Case([*inputs, *outputs], scale=1000)


def gather(draw: Draw, dtype: DType) -> Case:
    rows, width, shape = draw.integer(1, 9, "rows"), draw.integer(0, 40, "width"), draw.shape(max_dims=3)
    inputs = [draw.input((rows, width), dtype, specials=True), _labels(draw, shape, rows)]
    return Case([*inputs, draw.layout((*shape, width), dtype)], exact=True)


def scatter_add(draw: Draw, dtype: DType) -> Case:
    rows, width, shape = draw.integer(1, 9, "rows"), draw.integer(0, 40, "width"), draw.shape(max_dims=3)
    inputs = [draw.input((*shape, width), dtype, specials=True), _labels(draw, shape, rows)]
    return Case([*inputs, draw.state((rows, width), dtype)], exact=dtype.kind != "floating",
                scale=200 + 16 * np.prod(shape))  # fmt: skip


def crop_images(draw: Draw, dtype: DType) -> Case:
    number, *image = _images(draw, 1)
    shape = (draw.integer(1, 4, "images"), *image)
    images = draw.layout(shape, uint8, draw.values.integers(0, 256, shape, np.uint8))
    picked = draw.values.integers(0, shape[0], (number, 1))
    windows = np.concatenate([picked, draw.values.integers(-4, 5, (number, 3))], axis=1).astype(np.int32)
    values = draw.input((shape[3], 256), dtype, specials=True)
    out = draw.layout((number, *image), dtype)
    return Case([images, draw.layout(windows.shape, int32, windows), values, out], exact=True)


def random(draw: Draw, dtype: DType, *before: float) -> Case:
    seed, offset = draw.integer(0, 2**63 - 1, "seed"), draw.integer(0, 2**40, "offset")
    return Case([draw.layout(draw.shape(), dtype), *before, seed, offset], scale=64)


def random_dropout_mask(draw: Draw, dtype: DType) -> Case:
    return random(draw, dtype, draw.data.draw(draw.st.sampled_from([0.0, 0.1, 0.5, 0.9]), label="p"))


def sgd_step(draw: Draw, dtype: DType) -> Case:
    shapes = [draw.shape() for _ in range(draw.integer(0, 3, "parameters"))]
    parameters, velocities = ([draw.state(shape, dtype) for shape in shapes] for _ in range(2))
    grads = [draw.input(shape, dtype, specials=True) for shape in shapes]
    momentum = 0.9 if draw.boolean("momentum") else 0.0
    settings = (0.1, momentum, 0.25, 0.01, draw.boolean("nesterov"))
    return Case([parameters, grads, velocities, *settings, only_if_finite(draw)], scale=200)


def adam_step(draw: Draw, dtype: DType) -> Case:
    shapes = [draw.shape() for _ in range(draw.integer(0, 3, "parameters"))]
    parameters, first_moments = ([draw.state(shape, dtype) for shape in shapes] for _ in range(2))
    grads = [draw.input(shape, dtype) for shape in shapes]
    second_moments = [draw.state(shape, dtype, positive=True) for shape in shapes]
    settings = (0.1, 0.9, 0.99, 1e-3, 0.01, draw.boolean("decoupled"), draw.integer(1, 100, "step"))
    return Case([parameters, grads, first_moments, second_moments, *settings, only_if_finite(draw)], scale=2000)


def only_if_finite(draw: Draw) -> list:
    """No number, or one that lets the step be made, or one that does not."""
    value = (None, 1.5, np.inf, -np.inf, np.nan)[draw.integer(0, 4, "only if finite")]
    dtype = float64 if draw.boolean("in float64") else float32
    return [] if value is None else [draw.layout((), dtype, np.asarray(value, dtype.numpy))]


# What makes the calls of a kernel that is not a plain function of one element or two: make(draw, dtype) -> Case
_MAKERS = {
    "copy": copy,
    "gelu_backward": gelu_backward,
    "power": power,
    "where": where,
    "fused": fused,
    "fused_sum": fused_sum,
    "sum": summation,
    "sum_of_squares": sum_of_squares,
    "max": lambda draw, dtype: reduction(draw, dtype, 1, specials=True),
    "min": lambda draw, dtype: reduction(draw, dtype, 1, specials=True),
    "argmax": arg_reduction,
    "argmin": arg_reduction,
    "matmul": matmul,
    "linear": linear,
    "conv2d": conv2d,
    "conv2d_bias": conv2d_bias,
    "conv2d_backward_data": conv2d_backward_data,
    "conv2d_backward_weight": conv2d_backward_weight,
    "max_pool2d": max_pool2d,
    "max_pool2d_backward": max_pool2d_backward,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_backward": avg_pool2d_backward,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "batch_norm_backward": batch_norm_backward,
    "layer_norm": lambda draw, dtype: norm(draw, dtype, statistics_per_row=True),
    "layer_norm_backward": lambda draw, dtype: norm_backward(draw, dtype, statistics_per_row=True),
    "softmax": softmax,
    "log_softmax": softmax,
    "logsumexp": logsumexp,
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_cross_entropy_backward": softmax_cross_entropy_backward,
    "rnn": rnn,
    "rnn_backward": rnn_backward,
    "lstm": lstm,
    "lstm_backward": lstm_backward,
    "gather": gather,
    "scatter_add": scatter_add,
    "crop_images": crop_images,
    "random_uniform": random,
    "random_normal": random,
    "random_dropout_mask": random_dropout_mask,
    "sgd_step": sgd_step,
    "adam_step": adam_step,
}
_DTYPES = {"any": DTYPES, "numbers": NUMBERS, "floating": FLOATING, "bool": (bool_,)}


def _maker(kernel: Kernel) -> Callable[[Draw, DType], Case]:
    if kernel.name in _MAKERS:
        return _MAKERS[kernel.name]
    if kernel.kind == "comparison":
        return comparison
    assert kernel.kind == "element-wise", f"{kernel.name}: nothing here makes calls of it"
    return {2: unary, 3: binary}[len(kernel.operands)]


# kernel -> (dtypes, make(draw, dtype) -> Case)
CASES = {name: (_DTYPES[kernel.dtypes], _maker(kernel)) for name, kernel in KERNELS.items()}

"""The reference backend: every kernel of kernel_table.py in plain NumPy.

Kernel operands are NumPy arrays that view a flat buffer; scalars are 0-d arrays. Nothing here is tuned: this is the
reference implementation that the other backends are tested against.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from needle.backend_ndarray import philox
from needle.backend_ndarray.device import Device
from needle.backend_ndarray.dtype import DTYPES, DType, bfloat16
from needle.backend_ndarray.kernel_table import COMPARISON, KERNELS
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape
from needle.errors import OutOfMemoryError, ShapeError
from needle.typing import NumPyArray

_HALF = (np.dtype(np.float16), bfloat16.numpy)


class _Memory(NumPyArray):
    changed_at = 0  # see changes.py


def Buffer(nbytes: int) -> NumPyArray:
    """Uninitialized memory."""
    try:
        return np.empty(nbytes, np.uint8).view(_Memory)
    except (MemoryError, ValueError):
        raise OutOfMemoryError(f"cpu_numpy(): cannot allocate {nbytes} bytes") from None


def Array(buffer: NumPyArray, code: int, shape: Shape, strides: Shape, offset: int) -> NumPyArray:
    """A strided view of a buffer; strides and offset count elements."""
    dtype = DTYPES[code].numpy
    step = dtype.itemsize
    if 0 in shape:  # the view may begin beyond its buffer
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, buffer, offset * step, tuple(stride * step for stride in strides))


def allocate(shape: Shape, strides: Shape, dtype: DType, device: Device) -> NDArray:
    """An uninitialized NDArray, whose strides leave no gaps."""
    try:
        buffer: Any = Buffer(math.prod(shape) * dtype.itemsize)  # NumPy's stubs have no __buffer__ before Python 3.12
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{device}: an array of shape {shape} and dtype {dtype}: {error}") from None
    return NDArray.make(buffer, shape, strides, 0, dtype, device)


def view(array: NDArray, shape: Shape, strides: Shape, offset: int) -> NDArray:
    """Another NDArray over the same buffer."""
    return NDArray.make(array.buffer, shape, strides, offset, array.dtype, array.device)


class _HalfScalar(NumPyArray):
    """A number beside arrays of the dtype `half`: a 0-d float64, which arithmetic uses as a float32."""

    half: np.dtype[Any]


def scalar(value: float, code: int) -> NumPyArray:
    """A 0-d operand."""
    dtype = DTYPES[code].numpy
    if dtype not in _HALF:
        return np.asarray(value).astype(dtype)
    number = np.asarray(value, np.float64).view(_HalfScalar)
    number.half = dtype
    return number


def _wide(a: NumPyArray) -> NumPyArray:
    """Converts half-precision operands to float32, the dtype of their arithmetic."""
    return np.asarray(a, np.float32) if a.dtype in _HALF or isinstance(a, _HalfScalar) else a


def _half(a: NumPyArray, dtype: np.dtype[Any]) -> NumPyArray:
    """Rounds float64 to a half type once: first to float32 towards zero, with the last bit set unless exact."""
    nearest = a.astype(np.float32)
    bits = nearest.view(np.int32) - (np.abs(nearest.astype(np.float64)) > np.abs(a))
    odd = (bits | 1).astype(np.int32).view(np.float32)
    return np.where(np.isfinite(nearest) & (nearest != a), odd, nearest).astype(dtype)


def _elementwise(function: Callable[..., NumPyArray]) -> Callable[..., None]:
    def kernel(*operands: NumPyArray) -> None:
        *inputs, out = operands
        with np.errstate(all="ignore"):
            out[...] = function(*map(_wide, inputs))

    return kernel


def copy(a: NumPyArray, out: NumPyArray) -> None:
    if a.dtype.kind in "iub" or a.dtype == out.dtype or out.dtype.kind not in "iu":
        with np.errstate(all="ignore"):
            is_rounded_once = a.dtype == np.float64 and out.dtype in _HALF
            out[...] = _half(np.asarray(a), out.dtype) if is_rounded_once else _wide(a).astype(out.dtype)
        return
    limits = np.iinfo(out.dtype)
    values = np.trunc(np.nan_to_num(_wide(a).astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    inside = (values >= limits.min) & (values < float(limits.max))
    result = np.where(values < 0, limits.min, limits.max).astype(out.dtype)
    result[inside] = values[inside].astype(out.dtype)
    out[...] = result


def _sigmoid(a: NumPyArray) -> NumPyArray:
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def _relu(a: NumPyArray) -> NumPyArray:
    return np.where(a < 0, a.dtype.type(0), a)


def _relu_backward(grad: NumPyArray, a: NumPyArray) -> NumPyArray:
    return np.where(a <= 0, grad.dtype.type(0), grad)


negate = _elementwise(np.negative)
abs = _elementwise(np.abs)
sign = _elementwise(np.sign)
relu = _elementwise(_relu)
add_relu = _elementwise(lambda a, b: _relu(a + b))
relu_backward = _elementwise(_relu_backward)
sigmoid_backward = _elementwise(lambda grad, y: grad * (y * (1 - y)))
tanh_backward = _elementwise(lambda grad, y: grad * ((1 - y) * (1 + y)))
floor = _elementwise(np.floor)
ceil = _elementwise(np.ceil)
exp = _elementwise(np.exp)
log = _elementwise(np.log)
sqrt = _elementwise(np.sqrt)
sin = _elementwise(np.sin)
cos = _elementwise(np.cos)
tanh = _elementwise(np.tanh)
sigmoid = _elementwise(_sigmoid)
erf = _elementwise(lambda a: np.vectorize(math.erf, otypes=[np.float64])(a) if a.size else a)
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@_elementwise
def gelu(a: NumPyArray) -> NumPyArray:
    a = a.astype(np.float64)
    return np.where(a == -np.inf, -0.0, 0.5 * a * _erfc(a * -math.sqrt(0.5))) if a.size else a


@_elementwise
def gelu_backward(grad_out: NumPyArray, a: NumPyArray) -> NumPyArray:
    a = a.astype(np.float64)
    density = np.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    slope = 0.5 * _erfc(a * -math.sqrt(0.5)) + np.where(np.isinf(a), 0, a * density) if a.size else a
    result: NumPyArray = grad_out * slope.astype(grad_out.dtype)
    return result


add = _elementwise(np.add)
subtract = _elementwise(np.subtract)
multiply = _elementwise(np.multiply)
divide = _elementwise(np.divide)
floor_divide = _elementwise(np.floor_divide)
remainder = _elementwise(np.remainder)
maximum = _elementwise(lambda a, b: np.where((a > b) | (a != a), a, b))
minimum = _elementwise(lambda a, b: np.where((a < b) | (a != a), a, b))
equal = _elementwise(np.equal)
not_equal = _elementwise(np.not_equal)
less = _elementwise(np.less)
less_equal = _elementwise(np.less_equal)
logical_and = _elementwise(np.logical_and)
logical_or = _elementwise(np.logical_or)
logical_xor = _elementwise(np.logical_xor)
logical_not = _elementwise(np.logical_not)


def where(condition: NumPyArray, a: NumPyArray, b: NumPyArray, out: NumPyArray) -> None:
    a, b = (_half(np.asarray(x), out.dtype) if isinstance(x, _HalfScalar) else x for x in (a, b))
    out[...] = np.where(condition, a, b)


@_elementwise
def power(a: NumPyArray, b: NumPyArray) -> NumPyArray:
    if a.dtype.kind not in "iu":
        return np.power(a, b)
    # NumPy rejects negative exponents of integers; the power is then 0, except for 1 and -1.
    result = np.power(a, np.where(b < 0, 0, b))
    odd = np.where(b % 2 == 0, np.abs(a), a)
    return np.where(b < 0, np.where(np.abs(a) == 1, odd, 0), result).astype(a.dtype)


def fused(inputs: list[NumPyArray], outputs: list[NumPyArray], instructions: tuple[tuple[Any, ...], ...]) -> None:
    before = [a if isinstance(a, _HalfScalar) else a.copy() for a in inputs]  # an output may be the same array
    registers: dict[int, NumPyArray] = dict(enumerate([*before, *outputs]))
    for kernel, out, *read in instructions:
        operands = [registers[k] for k in (read[:1] if kernel == "copy" else read)]
        if out not in registers:
            last = operands[-1]
            dtype = last.half if isinstance(last, _HalfScalar) else last.dtype
            if kernel == "copy":
                dtype = DTYPES[read[1]].numpy
            elif KERNELS[kernel].kind == COMPARISON:
                dtype = np.dtype(bool)
            registers[out] = np.empty(outputs[0].shape, dtype)
        globals()[kernel](*operands, registers[out])


def _reduced_axes(a: NumPyArray, out: NumPyArray) -> tuple[int, ...]:
    return tuple(axis for axis in range(a.ndim) if out.shape[axis] == 1 and a.shape[axis] != 1)


def _reduction(function: Callable[..., NumPyArray]) -> Callable[[NumPyArray, NumPyArray], None]:
    @np.errstate(all="ignore")
    def kernel(a: NumPyArray, out: NumPyArray) -> None:
        out[...] = function(_wide(a), axis=_reduced_axes(a, out), keepdims=True)

    return kernel


def _arg_reduction(function: Callable[..., NumPyArray]) -> Callable[[NumPyArray, NumPyArray], None]:
    def kernel(a: NumPyArray, out: NumPyArray) -> None:
        axes = _reduced_axes(a, out)
        out[...] = function(_wide(a), axis=axes[0], keepdims=True) if axes else 0

    return kernel


sum = _reduction(lambda a, axis, keepdims: np.sum(a, axis, keepdims=keepdims, dtype=a.dtype))
sum_of_squares = _reduction(lambda a, axis, keepdims: np.sum(a * a, axis, keepdims=keepdims))
max = _reduction(np.max)
min = _reduction(np.min)
argmax = _arg_reduction(np.argmax)
argmin = _arg_reduction(np.argmin)


def matmul(a: NumPyArray, b: NumPyArray, out: NumPyArray) -> None:
    with np.errstate(all="ignore"):
        out[...] = np.matmul(_wide(a), _wide(b))


def linear(x: NumPyArray, weight: NumPyArray, bias: NumPyArray, out: NumPyArray, relu: bool) -> None:
    with np.errstate(all="ignore"):
        result = _wide(x) @ _wide(weight) + _wide(bias)
        out[...] = _relu(result) if relu else result


def _windows(x: NumPyArray, kernel: tuple[int, int], stride: int, padding: int, fill: float = 0.0) -> NumPyArray:
    """(N, H', W', C, K_h, K_w): the pixels that each window sees."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=fill)
    # NumPy 2.2 declares that function for one axis only.
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))  # type: ignore[call-overload]
    result: NumPyArray = windows[:, ::stride, ::stride]
    return result


def _add_windows(values: NumPyArray, x_shape: Shape, stride: int, padding: int) -> NumPyArray:
    """The transpose of `_windows`: adds (N, H', W', C, K_h, K_w) to the pixels that each window sees."""
    n, height, width, channels = x_shape
    _, rows, columns, _, kernel_h, kernel_w = values.shape
    padded = np.zeros((n, height + 2 * padding, width + 2 * padding, channels), values.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            window = padded[:, top : top + kernel_h, left : left + kernel_w]
            window += values[:, i, j].transpose(0, 2, 3, 1)
    return padded[:, padding : padding + height, padding : padding + width]


def conv2d(x: NumPyArray, weight: NumPyArray, out: NumPyArray, stride: int, padding: int) -> None:
    windows = _windows(_wide(x), weight.shape[:2], stride, padding)
    out[...] = np.einsum("nijchw,hwcf->nijf", windows, _wide(weight), optimize=True)


def conv2d_bias(
    x: NumPyArray, weight: NumPyArray, bias: NumPyArray, out: NumPyArray, stride: int, padding: int
) -> None:
    windows = _windows(_wide(x), weight.shape[:2], stride, padding)
    out[...] = np.einsum("nijchw,hwcf->nijf", windows, _wide(weight), optimize=True) + _wide(bias)


def conv2d_backward_data(
    grad_out: NumPyArray, weight: NumPyArray, grad_x: NumPyArray, stride: int, padding: int
) -> None:
    values = np.einsum("nijf,hwcf->nijchw", _wide(grad_out), _wide(weight), optimize=True)
    grad_x[...] = _add_windows(values, grad_x.shape, stride, padding)


def conv2d_backward_weight(
    x: NumPyArray, grad_out: NumPyArray, grad_weight: NumPyArray, stride: int, padding: int
) -> None:
    windows = _windows(_wide(x), grad_weight.shape[:2], stride, padding)
    grad_weight[...] = np.einsum("nijchw,nijf->hwcf", windows, _wide(grad_out), optimize=True)


def max_pool2d(x: NumPyArray, out: NumPyArray, kernel: int, stride: int, padding: int) -> None:
    out[...] = _windows(_wide(x), (kernel, kernel), stride, padding, -np.inf).max((-2, -1))


def max_pool2d_backward(
    x: NumPyArray, grad_out: NumPyArray, grad_x: NumPyArray, kernel: int, stride: int, padding: int
) -> None:
    windows = _windows(_wide(x), (kernel, kernel), stride, padding, -np.inf)
    inside = _windows(np.ones(x.shape), (kernel, kernel), stride, padding) > 0  # to exclude the -inf of the padding
    largest = windows.max((-2, -1), keepdims=True)
    is_largest = inside & ((windows == largest) | np.isnan(windows))
    first = is_largest.reshape(*windows.shape[:4], kernel * kernel).argmax(-1)
    values = np.where(np.arange(kernel * kernel) == first[..., None], _wide(grad_out)[..., None], 0)
    grad_x[...] = _add_windows(values.reshape(windows.shape), x.shape, stride, padding)


def avg_pool2d(x: NumPyArray, out: NumPyArray, kernel: int, stride: int, padding: int) -> None:
    out[...] = _windows(_wide(x), (kernel, kernel), stride, padding).mean((-2, -1))


def avg_pool2d_backward(grad_out: NumPyArray, grad_x: NumPyArray, kernel: int, stride: int, padding: int) -> None:
    values = np.broadcast_to(_wide(grad_out)[..., None, None] / kernel**2, (*grad_out.shape, kernel, kernel))
    grad_x[...] = _add_windows(values, grad_x.shape, stride, padding)


def _normalize(
    x: NumPyArray,
    weight: NumPyArray,
    bias: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    eps: float,
    relu: bool = False,
) -> NumPyArray:
    out = (x - mean) / np.sqrt(variance + eps) * weight + bias
    return _relu(out) if relu else out


def batch_norm(
    x: NumPyArray,
    weight: NumPyArray,
    bias: NumPyArray,
    running: list[NumPyArray],
    out: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    eps: float,
    momentum: float,
    relu: bool,
) -> None:
    x, rows = _wide(x), tuple(range(x.ndim - 1))
    statistics = x.mean(rows), x.var(rows)
    mean[...], variance[...] = statistics
    out[...] = _normalize(x, _wide(weight), _wide(bias), *statistics, eps, relu)
    for old, statistic in zip(running, statistics):
        before = _wide(old)
        old[...] = before + before.dtype.type(momentum) * (_wide(statistic.astype(old.dtype)) - before)


def batch_norm_inference(
    x: NumPyArray,
    weight: NumPyArray,
    bias: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    out: NumPyArray,
    eps: float,
    relu: bool,
) -> None:
    x, weight, bias, mean, variance = map(_wide, (x, weight, bias, mean, variance))
    out[...] = _normalize(x, weight, bias, mean, variance, eps, relu)


def layer_norm(
    x: NumPyArray,
    weight: NumPyArray,
    bias: NumPyArray,
    out: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    eps: float,
) -> None:
    x = _wide(x)
    mean[...], variance[...] = x.mean(-1), x.var(-1)
    out[...] = _normalize(x, _wide(weight), _wide(bias), x.mean(-1, keepdims=True), x.var(-1, keepdims=True), eps)


def _norm_backward(
    grad_out: NumPyArray,
    x: NumPyArray,
    weight: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    grads: tuple[NumPyArray, NumPyArray, NumPyArray],
    axes: int | tuple[int, ...],
    eps: float,
) -> None:
    """With x^ = (x - mean) / sigma and g = grad_out * weight, means taken over the axes that were normalized:

    grad_x = (g - mean(g) - x^ * mean(g * x^)) / sigma, grad_weight = sum(grad_out * x^), grad_bias = sum(grad_out)
    """
    grad_x, grad_weight, grad_bias = grads
    rows = tuple(range(x.ndim - 1))
    sigma = np.sqrt(variance + eps)
    normalized = (x - mean) / sigma
    g = grad_out * weight
    means = g.mean(axes, keepdims=True), (g * normalized).mean(axes, keepdims=True)
    grad_x[...] = (g - means[0] - normalized * means[1]) / sigma
    grad_weight[...] = (grad_out * normalized).sum(rows)
    grad_bias[...] = grad_out.sum(rows)


def batch_norm_backward(
    grad_out: NumPyArray,
    x: NumPyArray,
    weight: NumPyArray,
    bias: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    grad_x: NumPyArray,
    grad_weight: NumPyArray,
    grad_bias: NumPyArray,
    eps: float,
    relu: bool,
) -> None:
    grad_out, x, weight, bias, mean, variance = map(_wide, (grad_out, x, weight, bias, mean, variance))
    if relu:
        grad_out = _relu_backward(grad_out, _normalize(x, weight, bias, mean, variance, eps))
    grads = grad_x, grad_weight, grad_bias
    _norm_backward(grad_out, x, weight, mean, variance, grads, tuple(range(x.ndim - 1)), eps)


def layer_norm_backward(
    grad_out: NumPyArray,
    x: NumPyArray,
    weight: NumPyArray,
    mean: NumPyArray,
    variance: NumPyArray,
    grad_x: NumPyArray,
    grad_weight: NumPyArray,
    grad_bias: NumPyArray,
    eps: float,
) -> None:
    grad_out, x, weight = map(_wide, (grad_out, x, weight))
    statistics = _wide(mean[..., None]), _wide(variance[..., None])
    _norm_backward(grad_out, x, weight, *statistics, (grad_x, grad_weight, grad_bias), -1, eps)


def _log_softmax(x: NumPyArray) -> NumPyArray:
    shifted = x - x.max(-1, keepdims=True)
    result: NumPyArray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


@_elementwise
def softmax(x: NumPyArray) -> NumPyArray:
    e = np.exp(x - x.max(-1, keepdims=True))
    result: NumPyArray = e / e.sum(-1, keepdims=True)
    return result


@_elementwise
def log_softmax(x: NumPyArray) -> NumPyArray:
    return _log_softmax(x)


@_elementwise
def logsumexp(x: NumPyArray) -> NumPyArray:
    largest = x.max(-1)
    return np.where(np.isfinite(largest), largest + np.log(np.exp(x - largest[..., None]).sum(-1)), largest)


def rnn(gates: NumPyArray, W_hh: NumPyArray, bias: NumPyArray, hidden: NumPyArray, relu: bool) -> None:
    steps, W_hh, bias, h = _wide(gates), _wide(W_hh), _wide(bias), _wide(hidden[0])
    for t, a in enumerate(steps):
        a = a + h @ W_hh + bias
        h = _relu(a) if relu else np.tanh(a)
        hidden[t + 1] = h


def rnn_backward(
    grad_hidden: NumPyArray,
    hidden: NumPyArray,
    W_hh: NumPyArray,
    grad_gates: NumPyArray,
    grad_h0: NumPyArray,
    relu: bool,
) -> None:
    h, W_hh = _wide(hidden), _wide(W_hh)
    grad_h = np.zeros_like(h[0])
    for t in reversed(range(len(grad_hidden))):
        grad_h = grad_h + _wide(grad_hidden[t])
        grad_a = _relu_backward(grad_h, h[t + 1]) if relu else grad_h * (1 - h[t + 1] ** 2)
        grad_gates[t] = grad_a
        grad_h = grad_a @ W_hh.T
    grad_h0[...] = grad_h


def lstm(gates: NumPyArray, W_hh: NumPyArray, bias: NumPyArray, hidden: NumPyArray, cells: NumPyArray) -> None:
    W_hh, bias, h, c = map(_wide, (W_hh, bias, hidden[0], cells[0]))
    for t, x in enumerate(gates):
        a_i, a_f, a_g, a_o = np.split(_wide(x) + h @ W_hh + bias, 4, axis=1)
        i, f, g, o = _sigmoid(a_i), _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)
        c = f * c + i * g
        h = o * np.tanh(c)
        gates[t], hidden[t + 1], cells[t + 1] = np.concatenate([i, f, g, o], axis=1), h, c


def lstm_backward(
    grad_hidden: NumPyArray,
    grad_cell: NumPyArray,
    gates: NumPyArray,
    cells: NumPyArray,
    W_hh: NumPyArray,
    grad_gates: NumPyArray,
    grad_h0: NumPyArray,
    grad_c0: NumPyArray,
) -> None:
    W_hh, grad_c = _wide(W_hh), _wide(grad_cell)
    grad_h = np.zeros_like(grad_c)
    for t in reversed(range(len(gates))):
        i, f, g, o = np.split(_wide(gates[t]), 4, axis=1)
        tanh_c = np.tanh(_wide(cells[t + 1]))
        grad_h = grad_h + _wide(grad_hidden[t])
        grad_c = grad_c + grad_h * o * (1 - tanh_c**2)
        grad_a = np.concatenate(
            [
                grad_c * g * i * (1 - i),
                grad_c * _wide(cells[t]) * f * (1 - f),
                grad_c * i * (1 - g**2),
                grad_h * tanh_c * o * (1 - o),
            ],
            axis=1,
        )
        grad_gates[t] = grad_a
        grad_c = grad_c * f
        grad_h = grad_a @ W_hh.T
    grad_h0[...], grad_c0[...] = grad_h, grad_c


def _check_indices(op: str, indices: NumPyArray, extent: int) -> None:
    wrong = indices[(indices < 0) | (indices >= extent)]
    if wrong.size:
        raise ShapeError(f"{op}: index {wrong.flat[0]}, expected 0 to {extent - 1}")


@np.errstate(all="ignore")
def softmax_cross_entropy(logits: NumPyArray, labels: NumPyArray, loss: NumPyArray) -> None:
    _check_indices("softmax_cross_entropy", labels, logits.shape[1])
    x = _wide(logits)
    loss[...] = -np.take_along_axis(_log_softmax(x), labels[:, None].astype(np.int64), -1)[:, 0]


@np.errstate(all="ignore")
def softmax_cross_entropy_backward(
    logits: NumPyArray, labels: NumPyArray, grad_loss: NumPyArray, grad_logits: NumPyArray
) -> None:
    _check_indices("softmax_cross_entropy", labels, logits.shape[1])
    x = _wide(logits)
    one_hot = labels[:, None] == np.arange(logits.shape[1])
    grad_logits[...] = (np.exp(_log_softmax(x)) - one_hot) * _wide(grad_loss)[:, None]


def gather(a: NumPyArray, indices: NumPyArray, out: NumPyArray) -> None:
    _check_indices("gather", indices, a.shape[0])
    out[...] = a[indices]


def scatter_add(a: NumPyArray, indices: NumPyArray, out: NumPyArray) -> None:
    _check_indices("scatter_add", indices, out.shape[0])
    total = _wide(out)
    np.add.at(total, indices, _wide(a))
    out[...] = total


def crop_images(images: NumPyArray, windows: NumPyArray, values: NumPyArray, out: NumPyArray) -> None:
    _, height, width, channels = images.shape
    _check_indices("crop_images", windows[:, 0], len(images))
    picked, down, right, flipped = windows.T[:, :, None]
    rows = np.arange(height) + down
    columns = np.where(flipped != 0, np.arange(width)[::-1], np.arange(width)) + right
    rows, columns = rows[:, :, None], columns[:, None, :]
    inside = (0 <= rows) & (rows < height) & (0 <= columns) & (columns < width)
    pixels = images[picked[:, :, None], rows.clip(0, height - 1), columns.clip(0, width - 1)]
    out[...] = values[np.arange(channels), np.where(inside[..., None], pixels, 0)]


def random_uniform(out: NumPyArray, seed: int, offset: int) -> None:
    out[...] = philox.uniform(out.size, out.dtype.name, seed, offset).reshape(out.shape)


def random_normal(out: NumPyArray, seed: int, offset: int) -> None:
    out[...] = philox.normal(out.size, out.dtype.name, seed, offset).reshape(out.shape)


def random_dropout_mask(out: NumPyArray, p: float, seed: int, offset: int) -> None:
    out[...] = philox.dropout_mask(out.size, p, seed, offset).reshape(out.shape)


def sgd_step(parameters: list[NumPyArray], grads: list[NumPyArray], velocities: list[NumPyArray], learning_rate: float,
             momentum: float, dampening: float, weight_decay: float, nesterov: bool,
             only_if_finite: list[NumPyArray]) -> None:  # fmt: skip
    if not np.isfinite(only_if_finite).all():
        return
    for i, (parameter, grad) in enumerate(zip(parameters, grads)):
        p = _wide(parameter)
        g = _wide(grad) + weight_decay * p if weight_decay else _wide(grad)
        if momentum:
            u = momentum * _wide(velocities[i]) + (1 - dampening) * g
            velocities[i][...] = u
            g = g + momentum * u if nesterov else u
        parameter[...] = p - learning_rate * g


def adam_step(parameters: list[NumPyArray], grads: list[NumPyArray], first_moments: list[NumPyArray],
              second_moments: list[NumPyArray], learning_rate: float, beta1: float, beta2: float, eps: float,
              weight_decay: float, decoupled: bool, step: int, only_if_finite: list[NumPyArray]) -> None:  # fmt: skip
    if not np.isfinite(only_if_finite).all():
        return
    for parameter, grad, first_moment, second_moment in zip(parameters, grads, first_moments, second_moments):
        p, g = _wide(parameter), _wide(grad)
        if decoupled:
            p = p * (1 - learning_rate * weight_decay)
        elif weight_decay:
            g = g + weight_decay * p
        m = beta1 * _wide(first_moment) + (1 - beta1) * g
        v = beta2 * _wide(second_moment) + (1 - beta2) * g * g
        first_moment[...], second_moment[...] = m, v
        parameter[...] = p - learning_rate * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)


def _of_ndarrays(kernel: Callable[..., None]) -> Callable[..., None]:
    """Lets a kernel take NDArrays."""

    @functools.wraps(kernel)
    def function(*operands: Any) -> None:
        kernel(*[[_of(x) for x in operand] if type(operand) is list else _of(operand) for operand in operands])

    return function


def _of(operand: Any) -> Any:
    return operand.operand if type(operand) is NDArray else operand


for _name in KERNELS:
    globals()[_name] = _of_ndarrays(globals()[_name])

# No function makes its result by itself here.
elementwise: dict[str, Callable[..., None]] = dict.fromkeys(KERNELS, lambda *operands: None)
reductions = elementwise


class Program:
    """Kernel calls that run in one go, see kernels/bindings/program.h."""

    def __init__(
        self, steps: list[Any], memories: list[Any], results: list[Any], changed: list[int], numbers: list[Any]
    ) -> None:
        self._steps, self._memories, self._results, self._changed = steps, memories, results, changed
        self._failed_step = -1

    def failed_step(self) -> int:
        """The index of the step that raised the exception of the last failed run."""
        return self._failed_step

    def run(self, inputs: list[NDArray], numbers: list[Any], moment: int) -> list[NDArray]:
        """Runs all steps; the results."""
        self._failed_step = -1
        buffers: list[Any] = [
            inputs[index].buffer if index >= 0 else Buffer(nbytes[0]) for index, *nbytes in self._memories
        ]

        def operand(given: Any, kind: str) -> Any:
            if isinstance(given, list):
                return [operand(entry, "array") for entry in given]
            if not isinstance(given, tuple) or kind == "instructions":
                return given
            if len(given) == 5:
                return Array(buffers[given[0]], *given[1:])
            return numbers[given[0]] if kind != "array" else scalar(numbers[given[0]], given[1])

        for self._failed_step, (name, operands) in enumerate(self._steps):
            kinds = (role.type for role in KERNELS[name].operands)
            globals()[name](*map(operand, operands, kinds))
        for memory in self._changed:
            buffers[memory].changed_at = moment
        return [
            NDArray.make(buffers[memory], shape, strides, offset, dtype, device)
            for memory, shape, strides, offset, dtype, device in self._results
        ]


program = Program

"""The work as Needle does it. Each function prepares one kind and returns a function without arguments that does it.

Images are channels-last in memory, as they are between the layers of a network here, whatever the order of the axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import needle as ndl
from benchmarks.inputs import chain_of_8, integers, normal, reduced_axis
from experiments.models.language_model import LanguageModel
from experiments.models.resnet9 import ResNet9
from needle import backend_ndarray as nd
from needle import nn, ops, optim
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import conv as array_conv
from needle.backend_ndarray import gather as array_gather
from needle.backend_ndarray import random as array_random
from needle.config import __version__

Work = Callable[[], Any]

_device = nd.cpu()
_jit = False


def configure(device: str, jit: bool = False) -> None:
    """Chooses the device, by name, and whether the work of rows that compilers take part in is given to ndl.jit."""
    global _device, _jit
    _device, _jit = next(known for known in nd.all_devices() if known.name == device), jit


def versions() -> dict[str, str]:
    if _device.is_host:
        return {"needle": f"{__version__}, {_device.kernels.level()} kernels"}
    return {"needle": __version__, "GPU": _device.kernels.backend.device_names()[_device.index]}


def threads() -> int:
    return ndl.get_num_threads()


def has_device() -> bool:
    return not _device.is_host


def synchronize() -> None:
    _device.kernels.synchronize()


def begin_peak_memory() -> None:
    ndl.reset_peak_memory(_device)


def peak_memory() -> int:
    return ndl.memory_stats(_device)["peak"]


def _tensor(values: np.ndarray, requires_grad: bool = False) -> Tensor:
    return Tensor(values, device=_device, requires_grad=requires_grad)


def _jitted(work: Work) -> Work:
    return ndl.jit(work) if _jit else work


def _from_compilation(work: Work) -> Work | None:
    """Compiles and runs the work: two calls that are recorded, and the first replay. Nothing for who does not."""
    if not _jit:
        return None

    def run() -> Any:
        program = ndl.jit(work)
        return [program() for _ in range(3)][-1]

    return run


def _images(batch: int, channels: int, size: int, seed: int = 0) -> Tensor:
    """(batch, channels, size, size), channels-last in memory."""
    array = nd.array(normal(batch, channels, size, size, seed=seed).transpose(0, 2, 3, 1).copy(), device=_device)
    return Tensor.make_const(array.permute((0, 3, 1, 2)))  # Tensor() would copy, and reorder


# Products


def matmul(m: int, k: int, n: int, transpose_a: int = 0, transpose_b: int = 0) -> Work:
    a = _tensor(normal(k, m)).T if transpose_a else _tensor(normal(m, k))
    b = _tensor(normal(n, k, seed=1)).T if transpose_b else _tensor(normal(k, n, seed=1))
    return lambda: a @ b


def matmul_batched(batch: int, m: int, k: int, n: int) -> Work:
    a, b = _tensor(normal(batch, m, k)), _tensor(normal(batch, k, n, seed=1))
    return lambda: a @ b


def _matmul_of(dtype: str, m: int, k: int, n: int) -> Work:
    a, b = (Tensor(values, device=_device, dtype=dtype) for values in (normal(m, k), normal(k, n, seed=1)))
    return lambda: a @ b


def matmul_tf32(**sizes: int) -> Work:
    product = matmul(**sizes)

    def run() -> Tensor:
        ndl.set_float32_matmul_precision("high")
        out = product()
        ndl.set_float32_matmul_precision("highest")
        return out

    return run


def matmul_float64(**sizes: int) -> Work:
    return _matmul_of("float64", **sizes)


def matmul_float16(**sizes: int) -> Work:
    return _matmul_of("float16", **sizes)


def matmul_bfloat16(**sizes: int) -> Work:
    return _matmul_of("bfloat16", **sizes)


def _conv_operands(batch: int, size: int, in_channels: int, out_channels: int, kernel: int, stride: int):
    """NHWC images, weights (K, K, C_in, C_out), and the padding of nn.Conv."""
    x = normal(batch, in_channels, size, size).transpose(0, 2, 3, 1)
    weight = normal(out_channels, in_channels, kernel, kernel, seed=1).transpose(2, 3, 1, 0)
    return *(nd.array(values, device=_device) for values in (x, weight)), kernel // 2


def _conv_gradient(batch: int, size: int, in_channels: int, out_channels: int, kernel: int, stride: int) -> nd.NDArray:
    """The gradient of the result, NHWC."""
    out_size = (size + 2 * (kernel // 2) - kernel) // stride + 1
    return nd.array(normal(batch, out_channels, out_size, out_size, seed=2).transpose(0, 2, 3, 1), device=_device)


def conv(stride: int, **sizes: int) -> Work:
    x, weight, padding = _conv_operands(stride=stride, **sizes)
    return lambda: array_conv.conv2d(x, weight, stride, padding).permute((0, 3, 1, 2))


def conv_backward_data(stride: int, **sizes: int) -> Work:
    x, weight, padding = _conv_operands(stride=stride, **sizes)
    grad = _conv_gradient(stride=stride, **sizes)
    return lambda: array_conv.conv2d_backward_data(grad, weight, x.shape, stride, padding).permute((0, 3, 1, 2))


def conv_backward_weight(stride: int, **sizes: int) -> Work:
    x, weight, padding = _conv_operands(stride=stride, **sizes)
    grad = _conv_gradient(stride=stride, **sizes)
    return lambda: array_conv.conv2d_backward_weight(x, grad, weight.shape, stride, padding).permute((3, 2, 0, 1))


# Element-wise, reductions, rows


def add(n: int) -> Work:
    x, y = _tensor(normal(n)), _tensor(normal(n, seed=1))
    return lambda: x + y


def add_transposed(rows: int, columns: int) -> Work:
    x, y = _tensor(normal(columns, rows)).T, _tensor(normal(rows, columns, seed=1))
    return lambda: x + y


def add_row(rows: int, columns: int) -> Work:
    x, y = _tensor(normal(rows, columns)), _tensor(normal(columns, seed=1))
    return lambda: x + y


def add_column(rows: int, columns: int) -> Work:
    x, y = _tensor(normal(rows, columns)), _tensor(normal(rows, 1, seed=1))
    return lambda: x + y


def add_every_other(rows: int, columns: int) -> Work:
    x = nd.array(normal(rows, columns), device=_device)[:, ::2]
    y = nd.array(normal(rows, columns // 2, seed=1), device=_device)
    return lambda: x + y


def add_orders(batch: int, channels: int, size: int) -> Work:
    x, y = _images(batch, channels, size), _tensor(normal(batch, channels, size, size, seed=1))
    return lambda: x + y


def exp(n: int) -> Work:
    x = _tensor(normal(n))
    return lambda: ops.exp(x)


def tanh(n: int) -> Work:
    x = _tensor(normal(n))
    return lambda: ops.tanh(x)


def copy(n: int) -> Work:
    x = nd.array(normal(n), device=_device)
    out = nd.empty((n,), device=_device)

    def run() -> nd.NDArray:
        out[:] = x
        return out

    return run


def chain(n: int) -> Work:
    x, y = _tensor(normal(n)), _tensor(normal(n, seed=1))
    return _jitted(lambda: chain_of_8(x, y, ops.tanh, ops.exp))


def reduce_sum(rows: int, columns: int, axis: int) -> Work:
    x = _tensor(normal(rows, columns))
    return lambda: x.sum(reduced_axis(axis))


def reduce_max(rows: int, columns: int, axis: int) -> Work:
    x = _tensor(normal(rows, columns))
    return lambda: x.max(reduced_axis(axis))


def softmax(rows: int, columns: int) -> Work:
    x = _tensor(normal(rows, columns))
    return lambda: ops.softmax(x)


def cross_entropy_training(rows: int, columns: int) -> Work:
    x = Parameter(_tensor(normal(rows, columns)))
    labels = _tensor(integers(rows, below=columns))
    loss_function = nn.SoftmaxLoss()

    def run() -> Tensor:
        loss_function(x, labels).backward()
        return x.grad

    return run


def gather(rows: int, width: int, count: int) -> Work:
    x = nd.array(normal(rows, width), device=_device)
    indices = nd.array(integers(count, below=rows), device=_device)
    return lambda: array_gather.gather(x, indices)


def scatter_add(rows: int, width: int, count: int) -> Work:
    x = nd.array(normal(count, width), device=_device)
    indices = nd.array(integers(count, below=rows), device=_device)
    return lambda: array_gather.scatter_add(x, indices, rows)


def dropout_mask(n: int) -> Work:
    return lambda: array_random.dropout_mask((n,), 0.5, device=_device)


def attention(batch: int, heads: int, length: int, width: int, causal: int = 0) -> Work:
    """Forward alone, with the probabilities that nn.MultiHeadAttention returns."""
    q, k, v = (_tensor(normal(batch, heads, length, width, seed=seed)) for seed in range(3))
    layer = nn.MultiHeadAttention(causal=bool(causal), device=_device)

    def run() -> Tensor:
        with ndl.no_grad():
            return layer(q, k, v)[0]

    return run


# Layers; "training" is forward and backward, for the input and the parameters


def _training(layer: nn.Module, x: Tensor) -> Work:
    x = Tensor.make_const(x.cached_data, requires_grad=True)
    grad = _like(layer(x), seed=3)

    def run() -> Tensor:
        layer(x).backward(grad, create_graph=False)
        return x.grad

    return run


def _like(out: Tensor, seed: int) -> Tensor:
    """Standard normal, in the shape of `out` and its order of axes in memory where that is channels-last."""
    if out.ndim == 4:
        batch, channels, size, _ = out.shape
        return _images(batch, channels, size, seed)
    return _tensor(normal(*out.shape, seed=seed))


def _inference(layer: nn.Module, x: Tensor) -> Work:
    """Forward alone, with the layer in training mode."""

    def run() -> Tensor:
        with ndl.no_grad():
            return layer(x)

    return run


def batch_norm(batch: int, channels: int, size: int) -> Work:
    return _inference(nn.BatchNorm2d(channels, device=_device), _images(batch, channels, size))


def batch_norm_training(batch: int, channels: int, size: int) -> Work:
    return _training(nn.BatchNorm2d(channels, device=_device), _images(batch, channels, size))


def layer_norm(rows: int, columns: int) -> Work:
    return _inference(nn.LayerNorm1d(columns, device=_device), _tensor(normal(rows, columns)))


def layer_norm_training(rows: int, columns: int) -> Work:
    return _training(nn.LayerNorm1d(columns, device=_device), _tensor(normal(rows, columns)))


def max_pool(batch: int, channels: int, size: int) -> Work:
    return _inference(nn.MaxPool2d(2), _images(batch, channels, size))


def max_pool_training(batch: int, channels: int, size: int) -> Work:
    return _training(nn.MaxPool2d(2), _images(batch, channels, size))


def avg_pool(batch: int, channels: int, size: int) -> Work:
    return _inference(nn.AvgPool2d(2), _images(batch, channels, size))


def avg_pool_training(batch: int, channels: int, size: int) -> Work:
    return _training(nn.AvgPool2d(2), _images(batch, channels, size))


class _OutputsOfLSTM(nn.Module):
    def __init__(self, hidden: int) -> None:
        self.layer = nn.LSTM(hidden, hidden, device=_device)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


def lstm(steps: int, batch: int, hidden: int) -> Work:
    return _inference(_OutputsOfLSTM(hidden), _tensor(normal(steps, batch, hidden)))


def lstm_training(steps: int, batch: int, hidden: int) -> Work:
    return _training(_OutputsOfLSTM(hidden), _tensor(normal(steps, batch, hidden)))


# Optimizers


def _optimizer_step(tensors: int, elements: int, make: Callable[[list[Parameter]], optim.Optimizer]) -> Work:
    parameters = [Parameter(_tensor(normal(elements, seed=seed))) for seed in range(tensors)]
    for seed, parameter in enumerate(parameters):
        parameter.grad = _tensor(normal(elements, seed=1000 + seed))
    optimizer = make(parameters)

    def run() -> Tensor:
        optimizer.step()
        return parameters[0]

    return run


def sgd_step(tensors: int, elements: int) -> Work:
    return _optimizer_step(tensors, elements, lambda parameters: optim.SGD(parameters, lr=0.01))


def adam_step(tensors: int, elements: int) -> Work:
    return _optimizer_step(tensors, elements, lambda parameters: optim.Adam(parameters, lr=0.001))


# Training steps of whole models


def mlp_step(batch: int, inputs: int, hidden: int, classes: int) -> Work:
    model = nn.Sequential(
        nn.Linear(inputs, hidden, device=_device), nn.ReLU(), nn.Linear(hidden, classes, device=_device)
    )
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return _jitted(_step(model, optimizer, _tensor(normal(batch, inputs)), _tensor(integers(batch, below=classes))))


def _step(model: nn.Module, optimizer: optim.Optimizer, x: Tensor, labels: Tensor) -> Work:
    """A training step on one batch. Returns the loss."""
    loss_function = nn.SoftmaxLoss()

    def run() -> Tensor:
        loss = loss_function(model(x), labels)
        optimizer.reset_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def resnet9_step(batch: int, dtype: str | None = None) -> Work:
    return _jitted(_resnet9_step(batch, dtype))


def resnet9_compile(batch: int) -> Work | None:
    return _from_compilation(_resnet9_step(batch))


def resnet9_inference(batch: int) -> Work:
    model = ResNet9(num_classes=10, device=_device).eval()
    x = _tensor(normal(batch, 3, 32, 32))

    def run() -> Tensor:
        with ndl.no_grad():
            return model(x)

    return _jitted(run)


def _resnet9_step(batch: int, dtype: str | None = None) -> Work:
    model = ResNet9(num_classes=10, device=_device)
    optimizer = optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    loss_function = nn.SoftmaxLoss()
    scaler = ndl.amp.GradScaler(enabled=dtype == "float16")
    x, labels = _tensor(normal(batch, 3, 32, 32)), _tensor(integers(batch, below=10))

    def run() -> Tensor:
        with _autocast(dtype):
            loss = loss_function(model(x), labels)
        optimizer.reset_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return run


def resnet9_step_bfloat16(batch: int) -> Work:
    return resnet9_step(batch, "bfloat16")


def resnet9_step_float16(batch: int) -> Work:
    return resnet9_step(batch, "float16")


class GPT(nn.Module):
    """Word ids (B, T) to logits (B * T, vocabulary): a causal Transformer, with learned positions."""

    def __init__(self, vocabulary: int, layers: int, width: int, heads: int, length: int) -> None:
        sizes = {"num_head": heads, "dim_head": width // heads, "sequence_len": length}
        self.embedding = nn.Embedding(vocabulary, width, device=_device)
        self.layers = nn.Transformer(width, 4 * width, layers, **sizes, batch_first=True, device=_device)
        self.norm = nn.LayerNorm1d(width, device=_device)
        self.linear = nn.Linear(width, vocabulary, device=_device)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.layers(self.embedding(x))[0])
        return self.linear(hidden.reshape((-1, hidden.shape[-1])))


def gpt_step(vocabulary: int, layers: int, width: int, heads: int, length: int, batch: int) -> Work:
    model = GPT(vocabulary, layers, width, heads, length)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    x = _tensor(integers(batch, length, below=vocabulary))
    return _jitted(_step(model, optimizer, x, _tensor(integers(batch * length, below=vocabulary, seed=1))))


def lstm_cell_training(batch: int, hidden: int, steps: int) -> Work:
    return _jitted(_lstm_cell_training(batch, hidden, steps))


def lstm_cell_compile(batch: int, hidden: int, steps: int) -> Work | None:
    return _from_compilation(_lstm_cell_training(batch, hidden, steps))


def _lstm_cell_training(batch: int, hidden: int, steps: int) -> Work:
    """The gradients of the sum of the last state, of the weights; not nn.LSTMCell, which fuses the step by hand."""
    w_ih, w_hh = (Parameter(_tensor(normal(hidden, 4 * hidden, seed=seed) / hidden)) for seed in (1, 2))
    bias = Parameter(_tensor(normal(4 * hidden, seed=3)))
    inputs = [_tensor(normal(batch, hidden, seed=10 + step)) for step in range(steps)]
    zeros = _tensor(np.zeros((batch, hidden), np.float32))

    def run() -> Tensor:
        for weight in (w_ih, w_hh, bias):
            weight.grad = None
        h = c = zeros
        for x in inputs:
            h, c = ops.lstm_cell(x, h, c, w_ih, w_hh, bias)
        h.sum().backward()
        return w_ih.grad

    return run


def lstm_step(vocabulary: int, hidden: int, layers: int, steps: int, batch: int, dtype: str | None = None) -> Work:
    model = LanguageModel(vocabulary, hidden, layers, device=_device)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    loss_function = nn.SoftmaxLoss()
    x, labels = _tensor(integers(steps, batch, below=vocabulary)), _tensor(integers(steps * batch, below=vocabulary))
    state = None

    def run() -> Tensor:
        nonlocal state
        with _autocast(dtype):
            logits, after = model(x, state)
            loss = loss_function(logits, labels)
        state = tuple(part.detach() for part in after)
        optimizer.reset_grad()
        loss.backward()
        optimizer.clip_grad_norm(5.0)
        optimizer.step()
        return loss

    return run


def lstm_step_bfloat16(**sizes: int) -> Work:
    return lstm_step(dtype="bfloat16", **sizes)


def _autocast(dtype: str | None) -> ndl.autocast:
    """Mixed precision, or none where `dtype` is None."""
    return ndl.autocast(dtype or "bfloat16", enabled=dtype is not None)

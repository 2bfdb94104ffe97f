"""The work as PyTorch does it, eagerly or by torch.compile: see needle_work.py, whose functions these are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from torch import nn
from torch.nn import functional

from benchmarks.inputs import chain_of_8, integers, normal, reduced_axis

Work = Callable[[], Any]

_device = torch.device("cpu")  # set_default_device would slow down every call a little
_memory_format = torch.contiguous_format
_compiled = False


class Absent(Exception):
    """The work cannot be done on this machine."""


def configure(channels_last: bool = False, device: str = "cpu", compiled: bool = False) -> None:
    """Chooses the order in memory of images and weights of convolutions, the device, and whether to use torch.compile.

    No TF32, as with Needle: PyTorch would let cuDNN use it. cuDNN may try its algorithms in the warm-up and take the
    fastest, as those who train on images of one size have it do.
    """
    global _device, _memory_format, _compiled
    _device, _compiled = torch.device(device), compiled
    _memory_format = torch.channels_last if channels_last else torch.contiguous_format
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def versions() -> dict[str, str]:
    versions = {"torch": torch.__version__}
    if has_device():
        versions["PyTorch's CUDA"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, cudnn.benchmark on"
    return versions


def threads() -> int:
    return torch.get_num_threads()


def has_device() -> bool:
    return _device.type == "cuda"


def synchronize() -> None:
    torch.cuda.synchronize()


def begin_peak_memory() -> None:
    torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    return torch.cuda.max_memory_allocated()


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).to(_device)


def _compiled_or_not(function: Callable) -> Callable:
    """By torch.compile with its defaults, where that is configured. Raises Absent where there is no compiler for it."""
    if not _compiled:
        return function
    if _device.type == "cpu":
        from torch._inductor import cpp_builder, exc

        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler:
            raise Absent("torch.compile finds no C++ compiler") from None
    return torch.compile(function)


def _from_compilation(make: Callable[[], Work]) -> Work | None:
    """Compiles and runs the work that `make` makes, which the first call does. Nothing for who does not compile.

    What earlier calls, or earlier programs, have compiled is not used.
    """
    if not _compiled:
        return None
    torch._inductor.config.force_disable_caches = True

    def run() -> Any:
        torch.compiler.reset()
        return make()()

    return run


def _images(*shape: int, seed: int = 0) -> torch.Tensor:
    return _tensor(normal(*shape, seed=seed)).contiguous(memory_format=_memory_format)


# Products


def matmul(m: int, k: int, n: int, transpose_a: int = 0, transpose_b: int = 0) -> Work:
    a = _tensor(normal(k, m)).T if transpose_a else _tensor(normal(m, k))
    b = _tensor(normal(n, k, seed=1)).T if transpose_b else _tensor(normal(k, n, seed=1))
    return lambda: a @ b


def matmul_batched(batch: int, m: int, k: int, n: int) -> Work:
    a, b = _tensor(normal(batch, m, k)), _tensor(normal(batch, k, n, seed=1))
    return lambda: a @ b


def _matmul_of(dtype: torch.dtype, m: int, k: int, n: int) -> Work:
    a, b = _tensor(normal(m, k)).to(dtype), _tensor(normal(k, n, seed=1)).to(dtype)
    return lambda: a @ b


def matmul_tf32(**sizes: int) -> Work:
    product = matmul(**sizes)

    def run() -> torch.Tensor:
        torch.set_float32_matmul_precision("high")
        out = product()
        torch.set_float32_matmul_precision("highest")
        return out

    return run


def matmul_float64(**sizes: int) -> Work:
    return _matmul_of(torch.float64, **sizes)


def matmul_float16(**sizes: int) -> Work:
    return _matmul_of(torch.float16, **sizes)


def matmul_bfloat16(**sizes: int) -> Work:
    return _matmul_of(torch.bfloat16, **sizes)


def _conv_operands(batch: int, size: int, in_channels: int, out_channels: int, kernel: int, stride: int):
    padding = kernel // 2
    out_size = (size + 2 * padding - kernel) // stride + 1
    x = _images(batch, in_channels, size, size)
    weight = _images(out_channels, in_channels, kernel, kernel, seed=1)
    return x, weight, _images(batch, out_channels, out_size, out_size, seed=2), padding


def conv(stride: int, **sizes: int) -> Work:
    x, weight, _, padding = _conv_operands(stride=stride, **sizes)
    return lambda: functional.conv2d(x, weight, stride=stride, padding=padding)


def _conv_backward(which: int, stride: int, sizes: dict[str, int]) -> Work:
    """which: 0 for the gradient of the images, 1 for that of the weights."""
    x, weight, grad, padding = _conv_operands(stride=stride, **sizes)
    wanted = [index == which for index in range(3)]
    arguments = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, wanted)
    return lambda: torch.ops.aten.convolution_backward(grad, x, weight, *arguments)[which]


def conv_backward_data(stride: int, **sizes: int) -> Work:
    return _conv_backward(0, stride, sizes)


def conv_backward_weight(stride: int, **sizes: int) -> Work:
    return _conv_backward(1, stride, sizes)


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
    x, y = _tensor(normal(rows, columns))[:, ::2], _tensor(normal(rows, columns // 2, seed=1))
    return lambda: x + y


def add_orders(batch: int, channels: int, size: int) -> Work:
    x = _tensor(normal(batch, channels, size, size)).contiguous(memory_format=torch.channels_last)
    y = _tensor(normal(batch, channels, size, size, seed=1))
    return lambda: x + y


def exp(n: int) -> Work:
    x = _tensor(normal(n))
    return lambda: torch.exp(x)


def tanh(n: int) -> Work:
    x = _tensor(normal(n))
    return lambda: torch.tanh(x)


def copy(n: int) -> Work:
    x, out = _tensor(normal(n)), torch.empty(n, device=_device)
    return lambda: out.copy_(x)


def chain(n: int) -> Work:
    x, y = _tensor(normal(n)), _tensor(normal(n, seed=1))
    chain_of = _compiled_or_not(lambda x, y: chain_of_8(x, y, torch.tanh, torch.exp))
    return lambda: chain_of(x, y)


def reduce_sum(rows: int, columns: int, axis: int) -> Work:
    x = _tensor(normal(rows, columns))
    return lambda: torch.sum(x, reduced_axis(axis))


def reduce_max(rows: int, columns: int, axis: int) -> Work:
    x = _tensor(normal(rows, columns))
    axes = () if axis == 2 else axis
    return lambda: torch.amax(x, axes)


def softmax(rows: int, columns: int) -> Work:
    x = _tensor(normal(rows, columns))
    return lambda: torch.softmax(x, -1)


def cross_entropy_training(rows: int, columns: int) -> Work:
    x = _tensor(normal(rows, columns)).requires_grad_()
    labels = _tensor(integers(rows, below=columns))

    def run() -> torch.Tensor:
        x.grad = None
        functional.cross_entropy(x, labels).backward()
        return x.grad

    return run


def gather(rows: int, width: int, count: int) -> Work:
    x, indices = _tensor(normal(rows, width)), _tensor(integers(count, below=rows))
    return lambda: torch.index_select(x, 0, indices)


def scatter_add(rows: int, width: int, count: int) -> Work:
    x, indices = _tensor(normal(count, width)), _tensor(integers(count, below=rows))
    return lambda: torch.zeros(rows, width, device=_device).index_add_(0, indices, x)


def dropout_mask(n: int) -> Work:
    return lambda: torch.empty(n, device=_device).bernoulli_(0.5).mul_(2)


def attention(batch: int, heads: int, length: int, width: int, causal: int = 0) -> Work:
    q, k, v = (_tensor(normal(batch, heads, length, width, seed=seed)) for seed in range(3))
    return lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=bool(causal))


# Layers


def _training(layer: nn.Module, x: torch.Tensor) -> Work:
    layer, x = layer.to(_device), x.requires_grad_()
    out = layer(x)
    grad = _tensor(normal(*out.shape, seed=3))
    if x.ndim == 4:
        grad = grad.contiguous(memory_format=_memory_format)

    def run() -> torch.Tensor:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(grad)
        return x.grad

    return run


def _inference(layer: nn.Module, x: torch.Tensor) -> Work:
    layer = layer.to(_device)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return layer(x)

    return run


def batch_norm(batch: int, channels: int, size: int) -> Work:
    return _inference(nn.BatchNorm2d(channels), _images(batch, channels, size, size))


def batch_norm_training(batch: int, channels: int, size: int) -> Work:
    return _training(nn.BatchNorm2d(channels), _images(batch, channels, size, size))


def layer_norm(rows: int, columns: int) -> Work:
    return _inference(nn.LayerNorm(columns), _tensor(normal(rows, columns)))


def layer_norm_training(rows: int, columns: int) -> Work:
    return _training(nn.LayerNorm(columns), _tensor(normal(rows, columns)))


def max_pool(batch: int, channels: int, size: int) -> Work:
    return _inference(nn.MaxPool2d(2), _images(batch, channels, size, size))


def max_pool_training(batch: int, channels: int, size: int) -> Work:
    return _training(nn.MaxPool2d(2), _images(batch, channels, size, size))


def avg_pool(batch: int, channels: int, size: int) -> Work:
    return _inference(nn.AvgPool2d(2), _images(batch, channels, size, size))


def avg_pool_training(batch: int, channels: int, size: int) -> Work:
    return _training(nn.AvgPool2d(2), _images(batch, channels, size, size))


class _OutputsOfLSTM(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(hidden, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def lstm(steps: int, batch: int, hidden: int) -> Work:
    return _inference(_OutputsOfLSTM(hidden), _tensor(normal(steps, batch, hidden)))


def lstm_training(steps: int, batch: int, hidden: int) -> Work:
    return _training(_OutputsOfLSTM(hidden), _tensor(normal(steps, batch, hidden)))


# Optimizers


def _optimizer_step(tensors: int, elements: int, make: Callable[[list], torch.optim.Optimizer]) -> Work:
    parameters = [nn.Parameter(_tensor(normal(elements, seed=seed))) for seed in range(tensors)]
    for seed, parameter in enumerate(parameters):
        parameter.grad = _tensor(normal(elements, seed=1000 + seed))
    optimizer = make(parameters)

    def run() -> torch.Tensor:
        optimizer.step()
        return parameters[0]

    return run


def sgd_step(tensors: int, elements: int) -> Work:
    return _optimizer_step(tensors, elements, lambda parameters: torch.optim.SGD(parameters, lr=0.01))


def adam_step(tensors: int, elements: int) -> Work:
    return _optimizer_step(tensors, elements, lambda parameters: torch.optim.Adam(parameters, lr=0.001))


# Training steps of whole models: those of experiments/models, layer for layer


class ConvBN(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2), nn.BatchNorm2d(out_channels), nn.ReLU()
        )


class Residual(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(ConvBN(channels, channels, 3), ConvBN(channels, channels, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x


def resnet9() -> nn.Module:
    return nn.Sequential(
        ConvBN(3, 16, 7, 4),
        ConvBN(16, 32, 3, 2),
        Residual(32),
        ConvBN(32, 64, 3, 2),
        ConvBN(64, 128, 3, 2),
        Residual(128),
        nn.Flatten(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


class LanguageModel(nn.Module):
    def __init__(self, vocabulary: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers)
        self.linear = nn.Linear(hidden, vocabulary)

    def forward(self, x: torch.Tensor, state: tuple | None) -> tuple[torch.Tensor, tuple]:
        outputs, state = self.lstm(self.embedding(x), state)
        return self.linear(outputs.reshape(-1, outputs.shape[-1])), state


def mlp_step(batch: int, inputs: int, hidden: int, classes: int) -> Work:
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes)).to(_device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return _step(model, optimizer, _tensor(normal(batch, inputs)), _tensor(integers(batch, below=classes)))


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, labels: torch.Tensor) -> Work:
    forward = _compiled_or_not(model)

    def run() -> torch.Tensor:
        loss = functional.cross_entropy(forward(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


class GPT(nn.Module):
    """Layer for layer that of needle_work.py, with PyTorch's fused attention."""

    def __init__(self, vocabulary: int, layers: int, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(length, width)
        self.layers = nn.Sequential(*(TransformerLayer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, vocabulary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(self.embedding(x) + self.position_embedding.weight[: x.shape[1]])
        return self.linear(self.norm(hidden).flatten(0, 1))


class TransformerLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.projections = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(3))
        self.out_projection = nn.Linear(width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = (
            projection(norm(x)).view(batch, length, self.heads, -1).transpose(1, 2)
            for norm, projection in zip(self.norms, self.projections)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out_projection(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed_forward(x)


def gpt_step(vocabulary: int, layers: int, width: int, heads: int, length: int, batch: int) -> Work:
    model = GPT(vocabulary, layers, width, heads, length).to(_device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    x = _tensor(integers(batch, length, below=vocabulary))
    return _step(model, optimizer, x, _tensor(integers(batch * length, below=vocabulary, seed=1)))


def lstm_cell_training(batch: int, hidden: int, steps: int) -> Work:
    w_ih, w_hh = (nn.Parameter(_tensor(normal(hidden, 4 * hidden, seed=seed) / hidden)) for seed in (1, 2))
    bias = nn.Parameter(_tensor(normal(4 * hidden, seed=3)))
    inputs = [_tensor(normal(batch, hidden, seed=10 + step)) for step in range(steps)]
    zeros = torch.zeros(batch, hidden, device=_device)
    sum_of = _compiled_or_not(_sum_of_last_state)

    def run() -> torch.Tensor:
        for weight in (w_ih, w_hh, bias):
            weight.grad = None
        sum_of(inputs, zeros, w_ih, w_hh, bias).backward()
        return w_ih.grad

    return run


def _sum_of_last_state(
    inputs: list[torch.Tensor], zeros: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    h = c = zeros
    for x in inputs:
        i, f, g, o = (x @ w_ih + h @ w_hh + bias).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h.sum()


def lstm_cell_compile(batch: int, hidden: int, steps: int) -> Work | None:
    return _from_compilation(lambda: lstm_cell_training(batch, hidden, steps))


def resnet9_compile(batch: int) -> Work | None:
    return _from_compilation(lambda: resnet9_step(batch))


def resnet9_inference(batch: int) -> Work:
    model = resnet9().to(_device, memory_format=_memory_format).eval()
    forward, x = _compiled_or_not(model), _images(batch, 3, 32, 32)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return forward(x)

    return run


def resnet9_step(batch: int, dtype: torch.dtype | None = None) -> Work:
    model = resnet9().to(_device, memory_format=_memory_format)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    scaler = _scaler(dtype)
    forward = _compiled_or_not(model)
    x, labels = _images(batch, 3, 32, 32), _tensor(integers(batch, below=10))

    def run() -> torch.Tensor:
        with _autocast(dtype):
            loss = functional.cross_entropy(forward(x), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return run


def resnet9_step_bfloat16(batch: int) -> Work:
    return resnet9_step(batch, torch.bfloat16)


def resnet9_step_float16(batch: int) -> Work:
    return resnet9_step(batch, torch.float16)


def lstm_step(
    vocabulary: int, hidden: int, layers: int, steps: int, batch: int, dtype: torch.dtype | None = None
) -> Work:
    model = LanguageModel(vocabulary, hidden, layers).to(_device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    x, labels = _tensor(integers(steps, batch, below=vocabulary)), _tensor(integers(steps * batch, below=vocabulary))
    state = None

    def run() -> torch.Tensor:
        nonlocal state
        with _autocast(dtype):
            logits, after = model(x, state)
            loss = functional.cross_entropy(logits, labels)
        state = tuple(part.detach() for part in after)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss

    return run


def lstm_step_bfloat16(**sizes: int) -> Work:
    return lstm_step(dtype=torch.bfloat16, **sizes)


def _autocast(dtype: torch.dtype | None) -> torch.autocast:
    """Mixed precision, or none where `dtype` is None."""
    return torch.autocast(_device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def _scaler(dtype: torch.dtype | None) -> torch.amp.GradScaler:
    """The loss scaler that float16 needs; for others it does nothing."""
    return torch.amp.GradScaler(_device.type, enabled=dtype is torch.float16)

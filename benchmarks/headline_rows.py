"""The rows of the headline program."""

from __future__ import annotations

from benchmarks.row import Row


def _matmul(m: int, k: int, n: int) -> dict[str, float]:
    return {"GFLOP": 2e-9 * m * k * n}


def _conv(batch: int, size: int, in_channels: int, out_channels: int, kernel: int, stride: int) -> dict[str, float]:
    return {"GFLOP": 2e-9 * batch * (size / stride) ** 2 * out_channels * in_channels * kernel**2}


def _images(batch: int, **_: int) -> dict[str, float]:
    return {"images": batch}


def _words(steps: int, batch: int, **_: int) -> dict[str, float]:
    return {"words": steps * batch}


def _sequences(batch: int, length: int, **_: int) -> dict[str, float]:
    return {"words": batch * length}


def _one_pass(n: int) -> dict[str, float]:
    """Two arrays of float32 read and one written: the least that has to go through memory."""
    return {"GB": 12e-9 * n}


def _nothing(**_: int) -> dict[str, float]:
    return {}


def _product(size: int, dtype: str = "float32", gpu: bool = True) -> Row:
    work = "matmul" if dtype == "float32" else f"matmul_{dtype}"
    name = "_".join([work] + [str(size)] * (size > 2048))
    title = f"matrix product {size} x {size}" + f", {dtype}" * gpu
    return Row(name, title, work, dict.fromkeys("mkn", size), _matmul, gpu=gpu, dtype=dtype)


def _resnet9(amp: str = "") -> Row:
    title = "training step: course ResNet-9, batch 128, Adam"
    if not amp:
        return Row("resnet9", title, "resnet9_step", {"batch": 128}, _images, images=True, compiled=True)
    return Row(
        f"resnet9_{amp}", f"{title}, AMP {amp}", f"resnet9_step_{amp}", {"batch": 128}, _images,
        images=True, compiled=True, gpu=True, dtype=amp,
    )  # fmt: skip


def _lstm(hidden: int, amp: str = "", gpu: bool = False) -> Row:
    sizes = {"vocabulary": 10000, "hidden": hidden, "layers": 2, "steps": 35, "batch": 20}
    title = f"training step: LSTM 2 x {hidden}, T 35, batch 20, SGD, clipping"
    if not amp:
        return Row(f"lstm_{hidden}", title, "lstm_step", sizes, _words, gpu=gpu)
    return Row(f"lstm_{hidden}_{amp}", f"{title}, AMP {amp}", f"lstm_step_{amp}", sizes, _words, gpu=True, dtype=amp)


def _gpt(layers: int, width: int, heads: int, length: int, batch: int) -> Row:
    sizes = {"vocabulary": 65, "layers": layers, "width": width, "heads": heads, "length": length, "batch": batch}
    title = f"training step: GPT {layers} x {width}, T {length}, batch {batch}, AdamW"
    return Row(f"gpt_{width}", title, "gpt_step", sizes, _sequences, compiled=True)


_CELL = {"batch": 16, "hidden": 64, "steps": 20}
_CELL_TITLE = "LSTMCell of 64, 20 steps in small operations, batch 16"

ROWS = [
    _product(2048, gpu=False),
    _product(8192),
    *(_product(size, dtype) for dtype in ("tf32", "bfloat16") for size in (2048, 8192)),
    Row(
        "conv",
        "convolution 32 x 224 x 224 x 3, 7 x 7, stride 2, 64 channels",
        "conv",
        {"batch": 32, "size": 224, "in_channels": 3, "out_channels": 64, "kernel": 7, "stride": 2},
        _conv,
        images=True,
    ),
    Row(
        "batch_norm",
        "batch norm 32 x 64 x 56 x 56, forward and backward",
        "batch_norm_training",
        {"batch": 32, "channels": 64, "size": 56},
        _nothing,
        images=True,
    ),
    _resnet9(),
    _resnet9("bfloat16"),
    _resnet9("float16"),
    _lstm(200),
    _lstm(512),
    _lstm(650, gpu=True),
    _lstm(650, "bfloat16"),
    Row(
        "resnet9_inference",
        "inference of one image: course ResNet-9",
        "resnet9_inference",
        {"batch": 1},
        _images,
        images=True,
        compiled=True,
    ),
    Row(
        "mlp",
        "training step: MLP 784-100-10, batch 64, SGD",
        "mlp_step",
        {"batch": 64, "inputs": 784, "hidden": 100, "classes": 10},
        _images,
        compiled=True,
    ),
    Row("lstm_cell", f"{_CELL_TITLE}, forward and backward", "lstm_cell_training", _CELL, _nothing, compiled=True),
    _gpt(layers=4, width=128, heads=4, length=64, batch=12),
    _gpt(layers=6, width=256, heads=8, length=256, batch=4),
    Row("chain", "chain of 8 element-wise operations on 16M numbers", "chain", {"n": 2**24}, _one_pass, compiled=True),
    Row(
        "resnet9_compile",
        "compiling: ResNet-9 step, batch 128, Adam, until one call has run",
        "resnet9_compile",
        {"batch": 128},
        _nothing,
        images=True,
        compiled=True,
        cold=True,
    ),
    Row(
        "lstm_cell_compile",
        f"compiling: {_CELL_TITLE}, until one call has run",
        "lstm_cell_compile",
        _CELL,
        _nothing,
        compiled=True,
        cold=True,
    ),
    Row("add", "one small operation: x + y of 16 numbers", "add", {"n": 16}, _nothing),
]

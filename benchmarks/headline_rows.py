"""The rows of the headline program."""

from __future__ import annotations

from benchmarks.row import Row


def _matmul(m: int, k: int, n: int) -> dict[str, float]:
    return {"GFLOP": 2e-9 * m * k * n}


def _conv(batch: int, size: int, in_channels: int, out_channels: int, kernel: int, stride: int) -> dict[str, float]:
    return {"GFLOP": 2e-9 * batch * (size / stride) ** 2 * out_channels * in_channels * kernel**2}


def _images(batch: int) -> dict[str, float]:
    return {"images": batch}


def _words(steps: int, batch: int, **_: int) -> dict[str, float]:
    return {"words": steps * batch}


def _nothing(**_: int) -> dict[str, float]:
    return {}


def _lstm(hidden: int) -> Row:
    sizes = {"vocabulary": 10000, "hidden": hidden, "layers": 2, "steps": 35, "batch": 20}
    return Row(
        f"lstm_{hidden}", f"training step: LSTM 2 x {hidden}, T 35, batch 20, SGD, clipping", "lstm_step", sizes, _words
    )


ROWS = [
    Row("matmul", "matrix product 2048 x 2048", "matmul", {"m": 2048, "k": 2048, "n": 2048}, _matmul),
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
    Row(
        "resnet9",
        "training step: course ResNet-9, batch 128, Adam",
        "resnet9_step",
        {"batch": 128},
        _images,
        images=True,
    ),
    _lstm(200),
    _lstm(512),
    Row("add", "one small operation: x + y of 16 numbers", "add", {"n": 16}, _nothing),
]

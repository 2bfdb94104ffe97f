"""The rows of the kernels program: what each kernel computes with and moves, at the least.

GFLOP counts additions and multiplications, one each; it is absent where memory alone can matter. GB counts each operand
and each result once, as if caches held what is used again: a chain of operations that goes through memory eight times
is measured against one that goes once per operation, which is what eager execution can do at best.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.row import Row, Sizes

_NUMBER = 4e-9  # GB in a float32


def _matmul(m: int, k: int, n: int, batch: int = 1, **_: int) -> dict[str, float]:
    return {"GFLOP": 2e-9 * batch * m * k * n, "GB": _NUMBER * batch * (m * k + k * n + m * n)}


def _matmul_of(itemsize: int) -> Callable[..., dict[str, float]]:
    def amounts(**sizes: int) -> dict[str, float]:
        return {unit: amount * (itemsize / 4 if unit == "GB" else 1) for unit, amount in _matmul(**sizes).items()}

    return amounts


def _conv(batch: int, size: int, in_channels: int, out_channels: int, kernel: int, stride: int) -> dict[str, float]:
    """The same for the result and for either gradient."""
    out_size = (size + 2 * (kernel // 2) - kernel) // stride + 1
    weights = in_channels * out_channels * kernel**2
    pixels = batch * size**2 * in_channels + batch * out_size**2 * out_channels
    return {"GFLOP": 2e-9 * batch * out_size**2 * weights, "GB": _NUMBER * (pixels + weights)}


def _moved(numbers_per_item: float) -> Callable[..., dict[str, float]]:
    """Of work that moves so many float32 numbers for each of the product of its sizes."""

    def amounts(**sizes: int) -> dict[str, float]:
        items = 1
        for name, size in sizes.items():
            items *= size**2 if name == "size" else 1 if name == "axis" else size
        return {"GB": _NUMBER * numbers_per_item * items}

    return amounts


def _rows_by_number(rows: int, width: int, count: int) -> dict[str, float]:
    return {"GB": _NUMBER * 2 * count * width}


def _rows_added(rows: int, width: int, count: int) -> dict[str, float]:
    """Zeros are written, and each row is read, and read and written where it is added."""
    return {"GB": _NUMBER * (rows * width + 3 * count * width)}


def _attention(batch: int, heads: int, length: int, width: int, **_: int) -> dict[str, float]:
    """Two products of every query with every key, though causal ones see half; scores are not counted as moved."""
    return {"GFLOP": 4e-9 * batch * heads * length**2 * width, "GB": _NUMBER * 4 * batch * heads * length * width}


def _lstm(products: int) -> Callable[..., dict[str, float]]:
    """products: 1 forward; 3 forward and backward, which has two products for each one."""

    def amounts(steps: int, batch: int, hidden: int) -> dict[str, float]:
        weights = 8 * hidden**2
        activations = steps * batch * 8 * hidden
        return {
            "GFLOP": 2e-9 * products * steps * batch * weights,
            "GB": _NUMBER * products * (weights + activations),
        }

    return amounts


def _matmul_rows() -> list[Row]:
    shapes = {
        "matmul_64": (64, 64, 64),
        "matmul_256": (256, 256, 256),
        "matmul_512": (512, 512, 512),
        "matmul_1024": (1024, 1024, 1024),
        "matmul_2048": (2048, 2048, 2048),
        "matmul_tall": (65536, 64, 64),
        "matmul_wide": (64, 64, 65536),
        "matmul_deep": (64, 65536, 64),
        "matmul_thin": (20, 512, 2048),
        "matmul_logits": (700, 512, 10000),
    }
    rows = [
        Row(name, f"matmul {m} x {k} x {n}", "matmul", {"m": m, "k": k, "n": n}, _matmul)
        for name, (m, k, n) in shapes.items()
    ]
    square = {"m": 1024, "k": 1024, "n": 1024}
    for which, title in (("a", "A.T B"), ("b", "A B.T")):
        sizes = square | {f"transpose_{which}": 1}
        rows.append(Row(f"matmul_transposed_{which}", f"matmul {title}, 1024", "matmul", sizes, _matmul))
    for batch, m, k, n in ((64, 64, 64, 64), (160, 35, 64, 35)):
        sizes = {"batch": batch, "m": m, "k": k, "n": n}
        rows.append(_row(f"matmul_batched_{m}", f"{batch} matmuls {m} x {k} x {n}", sizes, _matmul, "matmul_batched"))
    # PyTorch 2.13 takes two seconds for a float16 product of that size, without AVX-512's instructions for them.
    for dtype, itemsize, size in (("float64", 8, 1024), ("float16", 2, 256), ("bfloat16", 2, 1024)):
        sizes, title = dict.fromkeys("mkn", size), f"matmul {size} x {size} x {size}, {dtype}"
        rows.append(Row(f"matmul_{dtype}", title, f"matmul_{dtype}", sizes, _matmul_of(itemsize), dtype=dtype))
    return rows


def _conv_rows() -> list[Row]:
    """The convolutions of the course's ResNet-9 and one of the wide one, batch 128: forward and both gradients."""
    layers = [(32, 3, 16, 7, 4), (8, 16, 32, 3, 2), (4, 32, 32, 3, 1), (4, 32, 64, 3, 2), (2, 64, 128, 3, 2)]
    layers += [(1, 128, 128, 3, 1), (16, 128, 128, 3, 1)]
    names = ("size", "in_channels", "out_channels", "kernel", "stride")
    rows = []
    for work, title in (
        ("conv", "conv"),
        ("conv_backward_data", "conv, grad of x"),
        ("conv_backward_weight", "conv, grad of W"),
    ):
        for layer in layers:
            size, in_channels, out_channels, kernel, stride = layer
            shape = f"{size}x{size}x{in_channels} to {out_channels}, {kernel}x{kernel} / {stride}"
            sizes = {"batch": 128, **dict(zip(names, layer))}
            name = f"{work}_{size}_{in_channels}_{out_channels}"
            rows.append(Row(name, f"{title} {shape}", work, sizes, _conv, images=True))
    return rows


def _row(name: str, title: str, sizes: Sizes, amounts: Callable, work: str = "", images: bool = False) -> Row:
    return Row(name, title, work or name, sizes, amounts, images)


def _reduction_rows() -> list[Row]:
    rows = []
    for function in ("sum", "max"):
        for axis, title in ((0, "of columns"), (1, "of rows"), (2, "of all")):
            sizes = {"rows": 4096, "columns": 4096, "axis": axis}
            name = f"{function}_{title.removeprefix('of ')}"
            rows.append(_row(name, f"{function} {title}, 4096 x 4096", sizes, _moved(1), f"reduce_{function}"))
    return rows


def _large_rows() -> list[Row]:
    """What is bound by memory, beyond a GPU's caches of some 50 MB, too: 256 MiB and more."""
    images, matrix = {"batch": 320, "channels": 64, "size": 56}, {"rows": 16384, "columns": 4096}
    rows = [
        ("add", "x + y of 64M", {"n": 2**26}, _moved(3), "add", False),
        *(
            (f"sum_{title}", f"sum of {title}, 16384 x 4096", {**matrix, "axis": axis}, _moved(1), "reduce_sum", False)
            for axis, title in ((0, "columns"), (1, "rows"), (2, "all"))
        ),
        ("softmax", "softmax 16384 x 4096", matrix, _moved(2), "softmax", False),
        ("layer_norm_training", "layer norm 16384 x 4096, f + b", matrix, _moved(5), "layer_norm_training", False),
        ("batch_norm", "batch norm 320x64x56x56", images, _moved(3), "batch_norm", True),
        ("batch_norm_training", "batch norm 320x64x56x56, f + b", images, _moved(8), "batch_norm_training", True),
    ]
    return [
        Row(f"{name}_large", title, work, sizes, amounts, images=is_images, gpu=True)
        for name, title, sizes, amounts, work, is_images in rows
    ]


_IMAGES = {"batch": 32, "channels": 64, "size": 56}
_SQUARE = {"rows": 4096, "columns": 4096}
_MATRIX = {"rows": 4096, "columns": 1024}
_HEADS = {"batch": 2, "heads": 8, "length": 1024, "width": 64}
_PARAMETERS = {"tensors": 40, "elements": 160_000}

ROWS = [
    *_matmul_rows(),
    *_conv_rows(),
    _row("copy", "copy of 16M", {"n": 2**24}, _moved(2)),
    _row("add_16k", "x + y of 16K", {"n": 2**14}, _moved(3), "add"),
    _row("add_16m", "x + y of 16M", {"n": 2**24}, _moved(3), "add"),
    _row("add_transposed", "x.T + y, 4096 x 4096", _SQUARE, _moved(3)),
    _row("add_row", "x + row, 4096 x 4096", _SQUARE, _moved(2)),
    _row("add_column", "x + column, 4096 x 4096", _SQUARE, _moved(2)),
    # Half of x is added, but all of its cache lines are read.
    _row("add_every_other", "x[:, ::2] + y, of 4096 x 4096", _SQUARE, _moved(2)),
    _row("add_orders", "channels-last + channels-first, 32x64x56x56", _IMAGES, _moved(3)),
    _row("exp", "exp of 16M", {"n": 2**24}, _moved(2)),
    _row("tanh", "tanh of 16M", {"n": 2**24}, _moved(2)),
    # Four of the eight operations read two arrays, and four read one; each writes one.
    _row("chain", "chain of 8 operations on 16M", {"n": 2**24}, _moved(4 * 3 + 4 * 2)),
    *_reduction_rows(),
    _row("softmax", "softmax 700 x 10,000", {"rows": 700, "columns": 10_000}, _moved(2)),
    # Forward reads the logits; backward reads them again and writes the gradient.
    _row("cross_entropy_training", "cross-entropy 700 x 10,000, f + b", {"rows": 700, "columns": 10_000}, _moved(3)),
    # Forward reads x twice, for the statistics and to normalize, and writes; backward reads x and the gradient twice.
    _row("layer_norm", "layer norm 4096 x 1024", _MATRIX, _moved(2)),
    _row("layer_norm_training", "layer norm 4096 x 1024, f + b", _MATRIX, _moved(5)),
    _row("batch_norm", "batch norm 32x64x56x56", _IMAGES, _moved(3), images=True),
    _row("batch_norm_training", "batch norm 32x64x56x56, f + b", _IMAGES, _moved(8), images=True),
    _row("max_pool", "max pool 2, 32x64x56x56", _IMAGES, _moved(1.25), images=True),
    _row("max_pool_training", "max pool 2, 32x64x56x56, f + b", _IMAGES, _moved(3.5), images=True),
    _row("avg_pool", "average pool 2, 32x64x56x56", _IMAGES, _moved(1.25), images=True),
    _row("avg_pool_training", "average pool 2, 32x64x56x56, f + b", _IMAGES, _moved(2.5), images=True),
    *[
        _row(f"attention{name}", f"attention 1024 x 64, 8 heads{title}", _HEADS | causal, _attention, "attention")
        for causal, name, title in (({}, "", ""), ({"causal": 1}, "_causal", ", causal"))
    ],
    *[
        _row(f"{work}_{hidden}", f"LSTM layer {hidden}, T 35, B 20{title}", sizes, _lstm(products), work)
        for hidden in (200, 512)
        for sizes in [{"steps": 35, "batch": 20, "hidden": hidden}]
        for work, title, products in (("lstm", "", 1), ("lstm_training", ", f + b", 3))
    ],
    _row("gather", "8192 rows of 512 by number", {"rows": 10_000, "width": 512, "count": 8192}, _rows_by_number),
    _row("scatter_add", "add to rows of 512", {"rows": 10_000, "width": 512, "count": 8192}, _rows_added),
    _row("sgd_step", "SGD, 40 x 160,000 numbers", _PARAMETERS, _moved(3)),
    _row("adam_step", "Adam, 40 x 160,000 numbers", _PARAMETERS, _moved(7)),
    _row("dropout_mask", "dropout mask of 16M", {"n": 2**24}, _moved(1)),
    *_large_rows(),
]

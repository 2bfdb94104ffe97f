"""What choose_kernels.py measures: calls that networks make of the kernels that a library has, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from needle import backend_ndarray as nd
from needle.backend_ndarray import Device, conv, matmul, norm, pool

_QUICK = 8


class Case(NamedTuple):
    """A call of a kernel: `work` is what the choice counts, multiply-adds or elements."""

    kernel: str
    shape_class: str
    work: int
    text: str
    call: Callable[[], object]


# (N, H, W, C_in, C_out, kernel, stride, padding): the course's ResNet-9, David Page's, first layers, ResNet-50's
CONVOLUTIONS = [
    (128, 32, 3, 16, 7, 4, 3), (128, 8, 16, 32, 3, 2, 1), (128, 4, 32, 32, 3, 1, 1), (128, 4, 32, 64, 3, 2, 1),
    (128, 2, 64, 128, 3, 2, 1), (128, 1, 128, 128, 3, 1, 1),
    (64, 32, 3, 64, 3, 1, 1), (8, 32, 64, 128, 3, 1, 1), (16, 16, 128, 128, 3, 1, 1), (8, 16, 128, 256, 3, 1, 1),
    (16, 8, 256, 512, 3, 1, 1), (32, 4, 512, 512, 3, 1, 1),
    (8, 28, 1, 8, 5, 1, 2), (64, 28, 1, 32, 3, 1, 1), (16, 224, 3, 64, 7, 2, 3), (8, 224, 3, 64, 3, 1, 1),
    (8, 56, 64, 64, 1, 1, 0), (8, 56, 64, 64, 3, 1, 1), (8, 28, 128, 128, 3, 2, 1), (16, 14, 256, 256, 3, 2, 1),
    (128, 32, 3, 32, 3, 1, 1), (16, 32, 64, 128, 3, 2, 1), (8, 56, 64, 128, 1, 2, 0), (128, 16, 32, 32, 3, 1, 1),
    (4, 16, 16, 16, 3, 1, 1), (1, 16, 32, 32, 3, 1, 1), (1, 8, 16, 32, 3, 2, 1), (16, 16, 32, 64, 3, 2, 1),
]  # fmt: skip

# (m, k, n, a is transposed, b is transposed): an LSTM's, forward and backward, layers of perceptrons, squares
PRODUCTS = [
    (700, 200, 10000, 0, 0), (700, 10000, 200, 0, 1), (200, 700, 10000, 1, 0),
    (700, 200, 800, 0, 0), (700, 800, 200, 0, 1), (200, 700, 800, 1, 0),
    (700, 512, 2048, 0, 0), (700, 2048, 512, 0, 1), (512, 700, 2048, 1, 0), (64, 512, 10, 0, 0), (512, 64, 10, 1, 0),
    (128, 784, 512, 0, 0), (784, 128, 512, 1, 0), (128, 512, 784, 0, 1), (128, 128, 128, 0, 0), (20000, 64, 64, 0, 0),
    (32, 32, 32, 0, 0), (64, 64, 64, 0, 0), (256, 256, 256, 0, 0), (512, 512, 512, 0, 0), (1024, 1024, 1024, 0, 0),
    (128, 128, 10, 0, 0), (20, 200, 800, 0, 0), (20, 800, 200, 0, 1), (200, 20, 800, 1, 0), (128, 10, 128, 0, 1),
    (4096, 16, 64, 0, 0), (1, 1024, 1024, 0, 0), (1024, 1024, 1, 0, 0), (8, 512, 512, 0, 0), (16, 16, 16, 0, 0),
]  # fmt: skip

# (N, H, W, C)
IMAGES = [
    (128, 1, 1, 128), (128, 2, 2, 64), (128, 4, 4, 32), (128, 8, 8, 16), (128, 4, 4, 128), (128, 8, 8, 64),
    (32, 16, 16, 128), (32, 32, 32, 64), (32, 56, 56, 64), (128, 16, 16, 128), (8, 112, 112, 64),
]  # fmt: skip


def pairs_inside(extent: int, windows: int, kernel: int, stride: int, padding: int) -> int:
    """How many pixels of an axis all windows meet together, those of the padding left out."""
    pixels = np.arange(windows)[:, None] * stride + np.arange(kernel) - padding
    return int(((pixels >= 0) & (pixels < extent)).sum())


class Cases:
    """The cases of a device, in float32 and, where it has kernels of their own for them, in bfloat16.

    `quick` leaves nothing above 8 of their sizes, to see that all works.
    """

    def __init__(self, device: Device, quick: bool = False) -> None:
        self._device, self._quick = device, quick
        self._is_cpu = device.name == "cpu"
        self.pieces: dict[str, Callable[[], Iterator[Case]]] = {
            "convolutions": self._convolutions,
            "bfloat16_convolutions": lambda: self._convolutions("bfloat16"),
            "products": self._products,
            "bfloat16_products": lambda: self._products("bfloat16"),
            "images": self._images,
        }
        if self._is_cpu:  # oneDNN would do them in float32, too
            del self.pieces["bfloat16_convolutions"]

    def _sizes(self, cases: Iterable[tuple[int, ...]]) -> Iterable[tuple[int, ...]]:
        return dict.fromkeys(tuple(min(size, _QUICK) for size in case) for case in cases) if self._quick else cases

    def _array(self, *shape: int, dtype: str = "float32"):
        values = np.random.default_rng(0).standard_normal(shape, np.float32)
        return nd.array(values, device=self._device, dtype=dtype)

    def _convolutions(self, dtype: str = "float32") -> Iterator[Case]:
        for n, size, c_in, c_out, kernel, stride, padding in self._sizes(CONVOLUTIONS):
            x = self._array(n, size, size, c_in, dtype=dtype)
            weight = self._array(kernel, kernel, c_in, c_out, dtype=dtype)
            out = conv.conv2d(x, weight, stride, padding)
            # kernels/cpu/libraries leaves the padding out, kernels/cuda/libraries counts it.
            pairs = pairs_inside(size, out.shape[1], kernel, stride, padding)
            work = n * c_in * c_out * (pairs**2 if self._is_cpu else (out.shape[1] * kernel) ** 2)
            shape_class = _dtypes(dtype)
            if self._is_cpu:
                shape_class = "few_channels" if c_in < 16 else "strided" if stride > 1 else "any"
            text = f"{n} x {size} x {size} x {c_in}, {kernel} x {kernel} / {stride}, {c_out}"
            yield Case("conv2d", shape_class, work, text, lambda: conv.conv2d(x, weight, stride, padding))
            if not self._is_cpu:
                bias = self._array(c_out, dtype=dtype)
                yield Case("conv2d_bias", shape_class, work, text,
                           lambda: conv.conv2d(x, weight, stride, padding, bias))  # fmt: skip
            yield Case("conv2d_backward_data", shape_class, work, text,
                       lambda: conv.conv2d_backward_data(out, weight, x.shape, stride, padding))  # fmt: skip
            yield Case("conv2d_backward_weight", shape_class, work, text,
                       lambda: conv.conv2d_backward_weight(x, out, weight.shape, stride, padding))  # fmt: skip

    def _products(self, dtype: str = "float32") -> Iterator[Case]:
        for m, k, n, transpose_a, transpose_b in self._sizes(PRODUCTS):
            is_thin = min(m, k, n) < 32
            if self._is_cpu and is_thin and dtype == "bfloat16":  # they follow those in float32
                continue
            a = self._array(k, m, dtype=dtype).permute((1, 0)) if transpose_a else self._array(m, k, dtype=dtype)
            b = self._array(n, k, dtype=dtype).permute((1, 0)) if transpose_b else self._array(k, n, dtype=dtype)
            shape_class = _dtypes(dtype)
            if self._is_cpu:
                shape_class = "thin" if is_thin else "bfloat16" if dtype == "bfloat16" else "any"
            text = f"{m} x {k}{' T' * transpose_a}, {k} x {n}{' T' * transpose_b}"
            yield Case("matmul", shape_class, m * k * n, text, lambda: matmul.matmul(a, b))
            if not transpose_a:
                bias = self._array(n, dtype=dtype)
                yield Case("linear", shape_class, m * k * n, text, lambda: matmul.linear(a, b, bias))

    def _images(self) -> Iterator[Case]:
        for shape in self._sizes(IMAGES):
            x = self._array(*shape)
            work, text = math.prod(shape), " x ".join(map(str, shape))
            if self._is_cpu:
                weight, bias = (self._array(shape[3]) for _ in range(2))
                _, mean, variance = norm.batch_norm(x, weight, bias, 1e-5)
                yield Case("batch_norm_inference", "any", work, text,
                           lambda: norm.batch_norm_inference(x, weight, bias, mean, variance, 1e-5))  # fmt: skip
            if shape[1] > 1:
                out = pool.avg_pool2d(x, 2, 2)
                if not self._is_cpu:
                    work += out.size
                    yield Case("max_pool2d", "any", work, text, lambda: pool.max_pool2d(x, 2, 2))
                yield Case("avg_pool2d", "any", work, text, lambda: pool.avg_pool2d(x, 2, 2))
                yield Case("avg_pool2d_backward", "any", work, text,
                           lambda: pool.avg_pool2d_backward(out, shape, 2, 2))  # fmt: skip


def _dtypes(dtype: str) -> str:
    """The class of a call on a GPU: kernels/cuda/libraries/provider.h."""
    return "any" if dtype == "float32" else "half"

"""How far float32 sums of products are from float64's, beside NumPy's BLAS: the order of a sum decides.

Adding k products one by one is off by some sqrt(k) roundings, adding blocks of them by far less. The tests of correctness
elsewhere allow for k roundings, and so would not notice the difference.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import conv, cpu, matmul, ndarray

kernels = cpu().kernels
# Times the peer's error. Measured with sums of 4,096 to 65,536 products: ours 1.0 to 1.2, oneDNN's matmul 1.6 to 2.2 and
# its conv2d, which adds a window nearly one by one, up to 7. Of short sums BLAS adds several parts side by side, which is
# more exact than one after the other: there the bound is a few units.
MATMUL_BOUNDS = {"native": 2, "onednn": 3, "auto": 3}
CONV_BOUNDS = {"native": 2, "onednn": 10, "auto": 10}
FEW_UNITS = 2

extents = st.integers(8, 40)
lengths = st.one_of(st.integers(1, 600), st.sampled_from([4096, 10000, 65536]))
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(params=kernels.providers(), autouse=True, scope="module")
def provider(request):
    before = kernels.provider()
    kernels.set_provider(request.param)
    yield
    kernels.set_provider(before)


def error(met: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square, in units of the last place of a typical element."""
    unit = np.finfo(np.float32).eps * np.sqrt(np.mean(exact**2))
    return float(np.sqrt(np.mean((met - exact) ** 2)) / unit)


def random(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def on_cpu(array: np.ndarray):
    return ndarray.array(array, device=cpu())


@settings(max_examples=15, deadline=None)
@given(extents, lengths, extents, seeds)
def test_matmul_is_as_accurate_as_blas(m: int, k: int, n: int, seed: int):
    a, b = random(seed, (m, k), (k, n))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    ours = error(matmul.matmul(on_cpu(a), on_cpu(b)).numpy(), exact)
    assert ours <= MATMUL_BOUNDS[kernels.provider()] * error(a @ b, exact) + FEW_UNITS


@settings(max_examples=8, deadline=None)
@given(st.integers(4, 10), st.integers(1, 3), st.sampled_from([1, 3, 16, 512, 2048]), st.integers(8, 20), seeds)
def test_conv2d_is_as_accurate_as_blas(extent: int, kernel: int, channels: int, out_channels: int, seed: int):
    x, weight = random(seed, (2, extent, extent, channels), (kernel, kernel, channels, out_channels))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))  # (N, H, W, C, K_h, K_w)
    windows = np.moveaxis(windows, 3, -1).reshape(-1, kernel * kernel * channels)
    matrix = weight.reshape(-1, out_channels)
    exact = windows.astype(np.float64) @ matrix.astype(np.float64)
    ours = error(conv.conv2d(on_cpu(x), on_cpu(weight)).numpy().reshape(exact.shape), exact)
    assert ours <= CONV_BOUNDS[kernels.provider()] * error(windows @ matrix, exact) + FEW_UNITS


def test_one_by_one_would_be_noticed():
    a, b = random(0, (16, 65536), (65536, 16))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    one_by_one = np.zeros(exact.shape, np.float32)
    for p in range(a.shape[1]):
        one_by_one += np.outer(a[:, p], b[p])
    assert error(one_by_one, exact) > max(CONV_BOUNDS.values()) * error(a @ b, exact) + FEW_UNITS

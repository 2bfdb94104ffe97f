"""cuBLAS and cuDNN behind the kernel table. Without a GPU stand-ins check what is asked of them, and compute it."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray import conv, matmul, pool
from needle.backend_ndarray.dispatch import call
from needle.errors import ShapeError
from tests.devices import EMULATED

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)
emulated = pytest.mark.skipif(not EMULATED, reason="what is counted here, only the stand-ins count")

FLOATING = ["float32", "float64", "float16", "bfloat16"]
TOLERANCE = {"float32": 1e-4, "float64": 1e-10, "float16": 3e-2, "bfloat16": 2e-1}


def backend():
    return ndl.cuda().kernels.backend


@pytest.fixture(autouse=True)
def library():
    before = backend().provider()
    backend().set_provider("library")
    yield
    backend().set_provider(before)
    ndl.set_float32_matmul_precision("highest")


def calls_inside(name: str) -> int:
    """How often a function of the stand-ins was called; "name/algorithm" for those that have algorithms."""
    count = ctypes.CDLL(backend().__file__).emulated_library_calls
    count.restype = ctypes.c_int64
    return count(name.encode())


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def convolutions(x, weight, bias, grad_out, stride, padding) -> list[np.ndarray]:
    """The convolution with and without a bias, and its gradients."""
    results = [
        conv.conv2d(x, weight, stride, padding),
        conv.conv2d(x, weight, stride, padding, bias),
        conv.conv2d_backward_data(grad_out, weight, x.shape, stride, padding),
        conv.conv2d_backward_weight(x, grad_out, weight.shape, stride, padding),
    ]
    return [result.numpy().astype(np.float64) for result in results]


def as_it_is(values, dtype):
    return nd.array(values, dtype, ndl.cuda())


def channels_first(values, dtype):
    return nd.array(values.transpose(0, 3, 1, 2), dtype, ndl.cuda()).permute(0, 2, 3, 1)


def between_others(values, dtype):
    wide = np.full((*values.shape[:3], values.shape[3] + 1), 7.0)
    wide[..., 1:] = values
    return nd.array(wide, dtype, ndl.cuda())[..., 1:]


def backwards(values, dtype):
    return nd.array(values[:, ::-1], dtype, ndl.cuda())[:, ::-1]


LAYOUTS = [as_it_is, channels_first, between_others, backwards]


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (1, 1, 0), (2, 3, 2), (5, 2, 0)])
def test_convolutions_of_any_layout(dtype, layout, kernel, stride, padding):
    x, weight, bias = random(2, 7, 9, 8), random(kernel, kernel, 8, 12), random(12)
    height, width = ((extent + 2 * padding - kernel) // stride + 1 for extent in (7, 9))
    grad_out = random(2, height, width, 12)
    before = backend().library_calls()
    there = convolutions(
        layout(x, dtype), as_it_is(weight, dtype), as_it_is(bias, dtype), layout(grad_out, dtype), stride, padding
    )
    after = backend().library_calls()
    kernels = ["conv2d", "conv2d_bias", "conv2d_backward_data", "conv2d_backward_weight"]
    assert [after[name] - before[name] for name in kernels] == [1, 1, 1, 1]
    here = convolutions(
        *(nd.array(a, "float64", ndl.cpu_numpy()) for a in (x, weight, bias, grad_out)), stride, padding
    )
    for actual, expected in zip(there, here):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * largest / 4)


def test_results_of_any_layout_are_written_where_they_belong():
    x, weight = random(2, 6, 6, 8), random(3, 3, 8, 5)
    x_there, weight_there = as_it_is(x, "float32"), as_it_is(weight, "float32")
    grad_out = as_it_is(random(2, 6, 6, 5), "float32")
    for kernel, operands, shape in [
        ("conv2d", (x_there, weight_there), (2, 5, 6, 6)),
        ("conv2d_backward_data", (grad_out, weight_there), (2, 8, 6, 6)),
        ("conv2d_backward_weight", (x_there, grad_out), (3, 5, 3, 8)),
    ]:
        strided = nd.empty(shape, "float32", ndl.cuda()).permute(0, 2, 3, 1)
        compact = nd.empty(strided.shape, "float32", ndl.cuda())
        call(ndl.cuda(), kernel, *operands, strided, 1, 1)
        call(ndl.cuda(), kernel, *operands, compact, 1, 1)
        np.testing.assert_array_equal(strided.numpy(), compact.numpy())
        assert np.abs(compact.numpy()).max() > 0.1


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("layout", [as_it_is, channels_first])
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_pooling(dtype, layout, kernel, stride, padding):
    window = kernel, stride, padding
    height, width = ((extent + 2 * padding - kernel) // stride + 1 for extent in (7, 8))
    x, grad_out = random(2, 7, 8, 16), random(2, height, width, 16)
    before = backend().library_calls()
    there = [
        pool.max_pool2d(layout(x, dtype), *window),
        pool.avg_pool2d(layout(x, dtype), *window),
        pool.avg_pool2d_backward(layout(grad_out, dtype), x.shape, *window),
    ]
    after = backend().library_calls()
    assert [after[name] - before[name] for name in ("max_pool2d", "avg_pool2d", "avg_pool2d_backward")] == [1, 1, 1]
    x, grad_out = (nd.array(a, "float64", ndl.cpu_numpy()) for a in (x, grad_out))
    here = [
        pool.max_pool2d(x, *window),
        pool.avg_pool2d(x, *window),
        pool.avg_pool2d_backward(grad_out, x.shape, *window),
    ]
    for actual, expected in zip(there, here):
        tolerance = TOLERANCE[dtype] / 4
        np.testing.assert_allclose(actual.numpy().astype(np.float64), expected.numpy(), rtol=tolerance, atol=tolerance)


def test_maxima_of_nan_and_infinity():
    x = np.full((1, 4, 4, 8), -np.inf, np.float32)
    x[0, 0, 0, :4] = np.nan
    pooled = pool.max_pool2d(as_it_is(x, "float32"), 2, 2, 0).numpy()
    assert np.isnan(pooled[0, 0, 0, :4]).all() and np.isneginf(pooled[0, 0, 0, 4:]).all()
    assert np.isneginf(pooled[0, 1:]).all()


def transposed(values, dtype):
    return nd.array(np.swapaxes(values, -1, -2).copy(), dtype, ndl.cuda()).permute(*range(values.ndim - 2), -1, -2)


def with_gaps(values, dtype):
    """Rows 3 numbers further apart than they are long, the first one not at 16 bytes."""
    wide = np.full((*values.shape[:-1], values.shape[-1] + 3), 7.0)
    wide[..., 3:] = values
    return nd.array(wide, dtype, ndl.cuda())[..., 3:]


def all_alike(values, dtype):
    """One matrix for the whole stack."""
    return nd.array(values[:1], dtype, ndl.cuda()).broadcast_to(values.shape)


MATRICES = [as_it_is, transposed, with_gaps]


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("left", [*MATRICES, all_alike])
@pytest.mark.parametrize("right", MATRICES)
@pytest.mark.parametrize("m, k, n", [(6, 16, 24), (1, 5, 7), (9, 1, 4), (3, 8, 1)])
def test_products(dtype, left, right, m, k, n):
    a, b = random(3, m, k), random(3, k, n)
    if left is all_alike:
        a = np.broadcast_to(a[:1], a.shape)
    before = backend().library_calls()["matmul"]
    there = matmul.matmul(left(a, dtype), right(b, dtype)).numpy().astype(np.float64)
    assert backend().library_calls()["matmul"] == before + 1
    np.testing.assert_allclose(there, a @ b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("layout", MATRICES)
@pytest.mark.parametrize("relu", [False, True])
def test_linear_layers(dtype, layout, relu):
    x, weight, bias = random(5, 12), random(12, 9), random(9)
    before = backend().library_calls()["linear"]
    there = matmul.linear(layout(x, dtype), layout(weight, dtype), as_it_is(bias, dtype), "relu" if relu else None)
    if EMULATED or dtype != "float64":  # of which cuBLAS does not say that it adds a bias
        assert backend().library_calls()["linear"] == before + 1
    expected = x @ weight + bias
    expected = np.maximum(expected, 0) if relu else expected
    np.testing.assert_allclose(there.numpy().astype(np.float64), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_wrong_calls_are_refused_as_ever():
    x, weight = as_it_is(random(1, 4, 4, 8), "float32"), as_it_is(random(3, 3, 4, 8), "float32")
    kernels = ndl.cuda().kernels
    out = nd.empty((1, 2, 2, 8), "float32", ndl.cuda())
    with pytest.raises(ShapeError, match=r"conv2d: x \(1, 4, 4, 8\) and weight \(3, 3, 4, 8\) do not match"):
        kernels.conv2d(x.operand, weight.operand, out.operand, 1, 0)


def test_calls_without_elements_are_ours():
    before = backend().library_calls()
    assert conv.conv2d(as_it_is(random(0, 4, 4, 8), "float32"), as_it_is(random(3, 3, 8, 8), "float32")).shape[0] == 0
    assert backend().library_calls() == before


def test_float32_is_rounded_to_tf32_only_when_that_is_asked_for():
    x, weight = random(2, 8, 8, 32), random(3, 3, 32, 32)
    exact = conv.conv2d(*(nd.array(a, "float64", ndl.cpu_numpy()) for a in (x, weight)), 1, 1).numpy()
    errors = {}
    for precision in ("highest", "high", "highest"):
        ndl.set_float32_matmul_precision(precision)
        errors[precision] = np.abs(
            conv.conv2d(as_it_is(x, "float32"), as_it_is(weight, "float32"), 1, 1).numpy() - exact
        ).max()
    assert errors["highest"] < 1e-4
    if EMULATED:  # a GPU's algorithm may be none for tensor cores
        assert 1e-3 < errors["high"] < 1e-1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])  # one of each class of the table
def test_auto_takes_large_products_and_convolutions_from_the_libraries(dtype):
    """What is smaller than all that the choice's table was measured on stays ours, whatever the table says."""
    backend().set_provider("auto")
    before = backend().library_calls()
    small = as_it_is(random(4, 4), dtype)
    matmul.matmul(small, small)
    conv.conv2d(as_it_is(random(1, 4, 4, 4), dtype), as_it_is(random(3, 3, 4, 4), dtype))
    pool.avg_pool2d(as_it_is(random(1, 16, 16, 32), dtype), 2, 2, 0)
    assert backend().library_calls() == before
    large = as_it_is(random(512, 512), dtype)
    matmul.matmul(large, large)
    conv.conv2d(as_it_is(random(4, 16, 16, 64), dtype), as_it_is(random(3, 3, 64, 64), dtype), 1, 1)
    after = backend().library_calls()
    assert after["matmul"] == before["matmul"] + 1 and after["conv2d"] == before["conv2d"] + 1


def test_the_choice_is_reported():
    assert "cuda provider: library" in ndl.show_config()
    assert "cuBLAS's and cuDNN's wherever they can do the call" in ndl.show_config()


@emulated
def test_an_algorithm_is_looked_for_once_for_each_form_of_call():
    searches = "cudnnGetConvolutionForwardAlgorithm_v7"
    weight = as_it_is(random(3, 3, 8, 8), "float32")

    def convolve(*shape: int) -> int:
        before = calls_inside(searches)
        conv.conv2d(as_it_is(random(*shape), "float32"), weight, 1, 1)
        return calls_inside(searches) - before

    assert [convolve(1, 21, 4, 8), convolve(1, 21, 4, 8), convolve(1, 21, 4, 8)] == [1, 0, 0]
    assert [convolve(1, 22, 4, 8), convolve(1, 21, 4, 8)] == [1, 0]
    ndl.set_float32_matmul_precision("high")
    assert convolve(1, 21, 4, 8) == 1


@emulated
def test_what_is_kept_of_searches_is_bounded():
    searches = "cudnnGetConvolutionForwardAlgorithm_v7"
    weight = as_it_is(random(1, 1, 1, 1), "float32")
    first, again = (as_it_is(random(1, 1, extent, 1), "float32") for extent in (1000, 1001))
    conv.conv2d(first, weight)
    before = calls_inside(searches)
    for extent in range(1, 600):
        conv.conv2d(as_it_is(np.ones((1, 1, extent, 1)), "float32"), weight)
        conv.conv2d(again, weight)
    assert calls_inside(searches) == before + 600  # what is in use stays
    conv.conv2d(first, weight)
    assert calls_inside(searches) == before + 601  # what is not makes room


@emulated
def test_algorithms_that_no_two_runs_agree_in_or_that_want_much_memory_are_not_taken():
    test_convolutions_of_any_layout("float32", as_it_is, 3, 1, 1)
    for algorithm in ("Forward/4", "BackwardData/0", "BackwardData/2", "BackwardFilter/0", "BackwardFilter/2"):
        assert calls_inside(f"cudnnConvolution{algorithm}") == 0


WITHOUT_MEMORY = """
import tests.devices, numpy as np, needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray import conv
from tests.kernels.test_cuda_libraries import backend, calls_inside

x, weight = np.ones((8, 32, 32, 16), np.float32), np.ones((1, 1, 16, 16), np.float32)
x, weight = nd.array(x, device=ndl.cuda()), nd.array(weight, device=ndl.cuda())
for _ in range(3):
    assert (conv.conv2d(x, weight).numpy() == 16).all()
    assert (conv.conv2d_backward_data(x, weight, x.shape).numpy() == 16).all()
calls = backend().library_calls()
print(calls["conv2d"], calls["conv2d_backward_data"], calls_inside("cudnnConvolutionForward/1"),
      calls_inside("cudnnConvolutionForward/0"), calls_inside("cudnnConvolutionBackwardData/1"))
"""


@emulated
def test_without_memory_for_a_workspace_another_algorithm_does_it_and_else_we():
    """8 MiB of workspace for 0.5 MiB of images, on a device of 6 MiB."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NEEDLE_TEST_CUDA": "emulated",
        "NEEDLE_CUDA_KERNELS": "library",
        "NEEDLE_EMULATED_MIB": "6",
    }
    command = [sys.executable, "-c", WITHOUT_MEMORY]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == ["3", "0", "0", "3", "0"], run.stdout + run.stderr

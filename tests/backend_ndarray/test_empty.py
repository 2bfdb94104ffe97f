"""Arrays without elements that begin, as views, far outside their buffers: no kernel reads anything of them."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle import ops
from needle.backend_ndarray import conv, cpu, gather, matmul, reduce, softmax


def nothing(shape, dtype="float32"):
    """An array of no elements whose last axis was cut at the far end of 2^45 columns."""
    view = nd.array(np.zeros((0, 2**45), np.float32), dtype=dtype)[:, -1]
    assert view.shape == (0,)
    return view.reshape(shape)


def raw_nothing(shape, dtype="float32"):
    """The same as a kernel might get it, whatever indexing makes of offsets; of one element that is repeated no times."""
    return nd.empty((0,), dtype).view(shape, (0,) * len(shape), 2**45)


def test_a_view_of_nothing_begins_at_the_start():
    assert nothing((0,)).offset == 0
    assert nd.zeros((4, 5))[2:2, 3:].offset == 0
    assert nd.zeros((4, 5))[1:, 3:].offset == 8


def test_linear_with_a_bias_of_nothing():
    bias = ndl.Tensor(np.zeros((0, 2**33), np.float32))[:, -1]
    out = ops.linear(ndl.Tensor(np.ones((2, 3))), ndl.Tensor(np.ones((3, 0))), bias)
    assert out.shape == (2, 0)


@pytest.mark.parametrize("make", [nothing, raw_nothing])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_kernels_read_nothing(make, dtype):
    x, image = nd.ones((2, 3), dtype), nd.ones((1, 4, 4, 2), dtype)
    weight, vector, rows, columns = (make(shape, dtype) for shape in ((3, 0), (0,), (0, 3), (2, 0)))
    assert matmul.linear(x, weight, vector).shape == (2, 0)
    assert matmul.linear(x, weight, vector, "relu").shape == (2, 0)
    assert matmul.matmul(x, weight).shape == (2, 0)
    assert (matmul.matmul(columns, make((0, 5), dtype)).numpy() == 0).all()
    assert conv.conv2d(image, make((3, 3, 2, 0), dtype), 1, 0, vector).shape == (1, 2, 2, 0)
    grad_weight = conv.conv2d_backward_weight(image, make((1, 2, 2, 0), dtype), (3, 3, 2, 0), 1, 0)
    assert grad_weight.shape == (3, 3, 2, 0)
    a, v = columns.operand, vector.operand  # NDArray's own functions refuse rows without channels
    cpu().kernels.batch_norm(a, v, v, [v, v], a, v, v, 0.1, 0.1, False)
    cpu().kernels.batch_norm_inference(a, v, v, v, v, a, 0.1, True)
    cpu().kernels.batch_norm_backward(a, a, v, v, v, v, a, v, v, 0.1, False)
    labels = make((0,), "int64")
    assert softmax.softmax_cross_entropy(rows, labels).shape == (0,)
    assert softmax.softmax_cross_entropy_backward(rows, labels, vector).shape == (0, 3)
    assert (gather.scatter_add(rows, labels, 4).numpy() == np.zeros((4, 3))).all()
    assert gather.gather(x, labels).shape == (0, 3)
    assert (reduce.sum(rows, 0).numpy() == 0).all()
    assert (rows + rows).numpy().shape == (0, 3)
    assert rows.to(nd.cpu_numpy()).shape == (0, 3)


@pytest.mark.parametrize("index", [np.s_[:: 2**62], np.s_[: 2**70 : 2**65], np.s_[:: -(2**64)], np.s_[0:0, :: 2**63]])
def test_a_step_that_64_bits_do_not_hold(index):
    values = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    expected = values[tuple(i if i.step is None else slice(i.start, i.stop, int(np.sign(i.step)) * 99)
                            for i in (index if isinstance(index, tuple) else (index,)))]  # fmt: skip
    np.testing.assert_array_equal((nd.array(values)[index] + 1).numpy(), expected + 1)

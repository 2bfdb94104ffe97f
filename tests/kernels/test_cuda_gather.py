"""Rows by number on the GPU: more of them than a launch or a block takes, and wrong numbers, found after the call."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call
from needle.errors import ShapeError

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)


def on_device(values, device=None):
    values = np.asarray(values)
    return nd.array(values, str(values.dtype), device or ndl.cuda())


def gather(a, indices):
    out = nd.empty((*indices.shape, a.shape[1]), a.dtype, a.device)
    call(a.device, "gather", a, indices, out)
    return out


def scatter_add(a, indices, out):
    out = on_device(out)
    call(ndl.cuda(), "scatter_add", on_device(a), on_device(indices), out)
    return out.numpy()


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("width", [1, 2, 48, 333, 1030])
def test_gather_of_rows_of_any_length(dtype, width):
    a = np.random.randint(0, 255, (11, width)).astype(dtype)
    indices = np.random.randint(0, 11, (3, 17))
    there, numbers = on_device(a), on_device(indices)
    np.testing.assert_array_equal(gather(there, numbers).numpy(), a[indices])
    np.testing.assert_array_equal(gather(there[::-1], numbers).numpy(), a[::-1][indices])
    np.testing.assert_array_equal(gather(there[:, 1:], numbers).numpy(), a[:, 1:][indices])  # not aligned as a row is
    np.testing.assert_array_equal(gather(there[:, ::-2], numbers).numpy(), a[:, ::-2][indices])


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_scatter_add_is_in_the_order_of_the_indices(index_dtype):
    count, rows, width = 2100, 40, 520  # more than a launch takes, and more than the columns of a block
    indices = np.random.randint(0, rows, count).astype(index_dtype)
    a = np.random.randn(count, width).astype(np.float32)
    expected = np.random.randn(rows, width).astype(np.float32)
    actual = scatter_add(a, indices, expected)
    np.add.at(expected, indices, a)  # in order, in float32
    np.testing.assert_array_equal(actual, expected)


def test_scatter_add_of_many_rows_to_one():
    a = np.random.randn(4500, 3).astype(np.float32)
    expected = np.zeros((2, 3), np.float32)
    indices = np.ones(4500, np.int32)
    actual = scatter_add(a, indices, expected)
    np.add.at(expected, indices, a)
    np.testing.assert_array_equal(actual, expected)


def test_scatter_add_rounds_the_sum_of_a_half_type_once():
    a = np.full((2500, 1), 1, np.float16)
    out = np.full((3, 1), 2048, np.float16)  # to which 1 adds nothing in float16
    assert scatter_add(a, np.full(2500, 1), out)[:, 0].tolist() == [2048, 4548, 2048]
    assert scatter_add(a[:500], np.full(500, 1), out)[:, 0].tolist() == [2048, 2548, 2048]


@pytest.mark.parametrize("wrong", [-1, 5, 2**40])
def test_the_first_wrong_index_is_named_at_the_next_wait(wrong):
    indices = np.zeros((4, 10), np.int64)
    indices[1, 3] = wrong
    indices[1, 4:] = 77
    there = on_device(np.ones((5, 6), np.float32))
    message = f"gather: index {wrong} at position 13, expected 0 to 4; the call was an earlier one"
    for _ in range(2):  # the emulation runs threads forwards and backwards
        out = gather(there, on_device(indices))
        with pytest.raises(ShapeError, match=message):
            ndl.cuda().kernels.synchronize()
        assert (out.numpy()[0] == 1).all()  # and work goes on
        assert (out.numpy()[1, 3:] == 0).all()


def test_of_two_calls_the_first_is_named():
    there, out = on_device(np.ones((5, 6), np.float32)), ndl.cuda().zeros(5, 6)
    call(ndl.cuda(), "scatter_add", there, on_device([0, 1, 2, 3, 9]), out)
    gather(there, on_device([8]))
    with pytest.raises(ShapeError, match="scatter_add: index 9 at position 4, expected 0 to 4;"):
        out.numpy()
    assert out.numpy().sum(axis=1).tolist() == [6, 6, 6, 6, 0]


def test_a_number_that_is_read_later_reports_a_wrong_index():
    pending = gather(on_device(np.ones((5, 6), np.float32)), on_device([7]))[0, 0].begin_read()
    with pytest.raises(ShapeError, match="gather: index 7 at position 0"):
        pending.item()
    assert pending.item() == 0


def test_a_wrong_index_is_of_its_device():
    if ndl.cuda().kernels.backend.device_count() < 2:
        pytest.skip("there is one GPU")
    there = on_device(np.ones((5, 6), np.float32), ndl.cuda(1))
    gather(there, on_device([5], ndl.cuda(1)))
    ndl.cuda(0).kernels.synchronize()
    with pytest.raises(ShapeError, match="gather: index 5"):
        ndl.cuda(1).kernels.synchronize()

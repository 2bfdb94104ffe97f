"""NDArray's views, copies and conversions against NumPy's, on every device."""

import sys
import types

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices

from needle import backend_ndarray as nd
from needle.backend_ndarray import gather, matmul
from needle.backend_ndarray.device import BACKENDS
from needle.backend_ndarray.dtype import DTYPES
from needle.errors import DeviceError, DTypeError, OutOfMemoryError, ShapeError

on_every_device = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)


def count(shape):
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@on_every_device
@given(data=st.data())
def test_indexing(device, data):
    shape = data.draw(array_shapes(min_dims=1, max_dims=4, max_side=5))
    values = count(shape)
    a = nd.array(values, device=device)
    index = data.draw(basic_indices(shape, allow_newaxis=True))
    np.testing.assert_array_equal(a[index].numpy(), values[index])
    replacement = data.draw(st.floats(-5, 5, width=32))
    a[index] = replacement
    values[index] = replacement
    np.testing.assert_array_equal(a.numpy(), values)


@on_every_device
@given(data=st.data())
def test_reshape_of_any_view(device, data):
    shape = data.draw(array_shapes(min_dims=1, max_dims=4, max_side=4))
    order = data.draw(st.permutations(range(len(shape))))
    values = count(shape).transpose(order)[::-1]
    a = nd.array(count(shape), device=device).permute(order)[::-1]
    np.testing.assert_array_equal(a.numpy(), values)
    np.testing.assert_array_equal(a.reshape(-1).numpy(), values.reshape(-1))
    np.testing.assert_array_equal(a.reshape(2 if values.size % 2 == 0 else 1, -1).numpy(),
                                  values.reshape(2 if values.size % 2 == 0 else 1, -1))  # fmt: skip


def test_views_share_memory(device):
    a = nd.array(count((3, 4)), device=device)
    for view in (a.T, a.permute(1, 0), a[1:], a.flip(0), a.broadcast_to((2, 3, 4)), a.reshape(12), a[:, None], a.flat):
        assert view.buffer is a.buffer
    a.T[1] = -1
    assert (a.numpy()[:, 1] == -1).all()


def test_setitem_of_an_overlapping_view(device):
    a = nd.array(count(6), device=device)
    a[1:] = a[:-1]
    np.testing.assert_array_equal(a.numpy(), [0, 0, 1, 2, 3, 4])
    b = nd.array(count((2, 3)), device=device)
    b[:] = b.flip((0, 1))
    np.testing.assert_array_equal(b.numpy(), [[5, 4, 3], [2, 1, 0]])


def test_setitem_converts_and_broadcasts(device):
    a = nd.zeros((2, 3), "int32", device)
    a[:, 1:] = nd.array([1.9, -2.9], device=device)
    np.testing.assert_array_equal(a.numpy(), [[0, 1, -2], [0, 1, -2]])
    with pytest.raises(ShapeError, match=r"setitem: a?.*\(4,\)"):
        a[0] = nd.zeros(4, device=device)


def test_pad_and_flip(device):
    values = count((2, 3))
    a = nd.array(values, device=device)
    np.testing.assert_array_equal(a.pad(((1, 0), (0, 2))).numpy(), np.pad(values, ((1, 0), (0, 2))))
    np.testing.assert_array_equal(a.flip(1).numpy(), values[:, ::-1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_round_trip(device, dtype):
    values = np.array([[0, 1], [2, 100]]).astype(dtype.numpy)
    a = nd.array(values, device=device, dtype=dtype)
    assert a.dtype == dtype and a.numpy().dtype == dtype.numpy
    np.testing.assert_array_equal(a.numpy(), values)
    np.testing.assert_array_equal(a.T.numpy(), values.T)
    copy = a.numpy()
    copy[:] = 0
    np.testing.assert_array_equal(a.numpy(), values)


def test_default_dtypes(device):
    assert nd.array([1, 2], device=device).dtype == "int64"
    assert nd.array([1.0, 2], device=device).dtype == "float32"
    assert nd.array(np.float64(1), device=device).dtype == "float32"
    assert nd.array(np.zeros(2), dtype="float64", device=device).dtype == "float64"
    assert nd.array(True, device=device).dtype == "bool"
    assert nd.array([], device=device).shape == (0,)


def test_dlpack_shares_memory():
    a = nd.array([1.0, 2.0], device=nd.default_device())
    b = np.from_dlpack(a)
    a[0] = 5
    assert b[0] == 5
    c = nd.from_dlpack(count(3))
    np.testing.assert_array_equal((c + 1).numpy(), [1, 2, 3])
    values = count(4)
    d = nd.from_dlpack(values)
    values[0] = 9
    assert d[0].item() == 9


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_operators(device, dtype):
    x, y = np.array([[3, -4], [5, 6]], dtype), np.array([2, 3], dtype)
    a, b = nd.array(x, device=device), nd.array(y, device=device)
    cases = [
        (a + b, x + y), (a - b, x - y), (a * b, x * y), (a / b, x / y), (a // b, x // y), (a % b, x % y), (a**b, x**y),
        (2 + a, 2 + x), (2 - a, 2 - x), (2 * a, 2 * x), (60 / a, 60 / x), (7 // a, 7 // x), (7 % a, 7 % x), (2**b, 2**y),
        (-a, -x), (abs(a), abs(x)), (a == b, x == y), (a != b, x != y), (a < b, x < y), (a <= b, x <= y),
        (a > b, x > y), (a >= b, x >= y), (a @ a, x @ x), (a.max(0), x.max(0)), (a.min(), x.min()),
        (a.sum(1, keepdims=True), x.sum(1, keepdims=True)), (a.argmax(1), x.argmax(1)), (y + a, y + x),
        ((a > 0) & (b > 2), (x > 0) & (y > 2)), ((a > 0) | (b > 2), (x > 0) | (y > 2)), (~(a > 0), ~(x > 0)),
        ((a > 0) ^ (b > 2), (x > 0) ^ (y > 2)), (a.maximum(4), np.maximum(x, 4)),
    ]  # fmt: skip
    for i, (actual, expected) in enumerate(cases):
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6, err_msg=f"case {i}")


def test_results_keep_channels_last(device):
    a = nd.array(count((2, 4, 5, 3)), device=device).permute(0, 3, 1, 2)
    for result in (a + 1, a * a, a.exp(), a > 3, a.astype("float64")):
        assert result.permute(0, 2, 3, 1).is_compact()


def test_gather(device):
    values = count((4, 2, 3))
    a = nd.array(values, device=device)
    np.testing.assert_array_equal(a[np.array([[3, 0], [1, 1]])].numpy(), values[[[3, 0], [1, 1]]])
    with pytest.raises(ShapeError, match="4"):
        gather.gather(a, nd.array([0, 4], device=device))
    with pytest.raises(DTypeError, match="indices of dtype float32"):
        gather.gather(a, nd.array([0.0], device=device))


def test_errors_name_what_was_met(device):
    a, b = nd.zeros((2, 3), device=device), nd.zeros((4, 5), device=device)
    for call, error, text in [
        (lambda: a + b, ShapeError, r"add: shapes \(2, 3\) and \(4, 5\) do not broadcast"),
        (lambda: a @ b, ShapeError, r"matmul: shapes \(2, 3\) and \(4, 5\).*3 and 4"),
        (lambda: matmul.matmul(a, nd.zeros((), device=device)), ShapeError, "one dimension or more"),
        (lambda: a.reshape(7), ShapeError, "6 elements"),
        (lambda: a.broadcast_to((2, 4)), ShapeError, "broadcast"),
        (lambda: a.permute(0, 0), ShapeError, "each axis once"),
        (lambda: a.sum(2), ShapeError, "sum: axis 2"),
        (lambda: nd.zeros((0, 3), device=device).max(0), ShapeError, "max: no elements"),
        (lambda: a.item(), ShapeError, "one element"),
        (lambda: a[2], IndexError, "index 2 along axis 0"),
        (lambda: a[0, 0, 0], IndexError, "too many"),
        (lambda: a["x"], IndexError, "expected an int"),
        (lambda: ~a, DTypeError, "logical_not: dtype float32: expected bool"),
        (lambda: a & a, DTypeError, "logical_and"),
        (lambda: -(a > 0), DTypeError, "negate: dtype bool"),
        (lambda: a + "x", DTypeError, "type str"),
        (lambda: nd.zeros(2, "uint8", device) + 300, DTypeError, "300 does not fit into uint8"),
        (lambda: nd.array([[1, 2], [3]], device=device), ShapeError, "array"),
        (lambda: nd.array(["a"], device=device), DTypeError, "str"),
        (lambda: nd.array(1j, device=device), DTypeError, "complex128"),
    ]:
        with pytest.raises(error, match=text):
            call()


def test_out_of_memory_is_an_error_and_no_end(device):
    for shape in [(2**40,), (2**62,), (2**31, 2**31, 2**31), (2**50, 2**50)]:
        with pytest.raises(OutOfMemoryError):
            nd.empty(shape, device=device)
    assert nd.ones(3, device=device).sum().item() == 3


def test_devices_do_not_mix():
    enabled = [device for device in nd.all_devices() if device.enabled()]
    if len(enabled) < 2:
        pytest.skip("one device only")
    a, b = (nd.zeros(2, device=device) for device in enabled[:2])
    with pytest.raises(DeviceError, match=f"{enabled[0]!r} and {enabled[1]!r}".replace("(", r"\(").replace(")", r"\)")):
        a + b
    np.testing.assert_array_equal((a + b.to(a.device)).numpy(), [0, 0])


def test_a_device_whose_memory_others_have_taken_says_so(monkeypatch):
    def device(index):
        raise OutOfMemoryError("cudaSetDevice: out of memory (cudaErrorMemoryAllocation)")

    monkeypatch.setitem(sys.modules, "needle.backend_ndarray.backend_full", types.SimpleNamespace(device=device))
    full = nd.Device(BACKENDS["cuda"]._replace(module="backend_full"), 1)
    assert not full.enabled() and full.reason.startswith("cuda(1) is not available: cudaSetDevice: out of memory")


def test_a_missing_device_says_why():
    device = nd.cuda(7)
    if device.enabled():
        pytest.skip("there is such a device")
    assert "cuda(7)" in device.reason
    with pytest.raises(DeviceError, match="cuda"):
        nd.zeros(2, device=device)


def test_device_functions(device):
    assert device.zeros(2, 3).shape == device.ones((2, 3)).shape == device.empty((2, 3)).shape == (2, 3)
    np.testing.assert_array_equal(device.one_hot(3, [2, 0]).numpy(), [[0, 0, 1], [1, 0, 0]])
    with pytest.raises(ValueError, match="expected 0 to 2"):
        device.one_hot(3, [3])
    np.random.seed(1)
    first = device.rand(4).numpy(), device.randn(2, 2).numpy()
    np.random.seed(1)
    expected = np.random.rand(4).astype("float32"), np.random.randn(2, 2).astype("float32")
    for a, e in zip(first, expected):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_empty_and_zero_dimensional(device, shape):
    a = nd.ones(shape, device=device)
    assert (a + a).shape == shape and a.sum().item() == a.size
    assert a.reshape(-1).shape == (a.size,)
    assert a.exp().numpy().shape == shape


@pytest.mark.parametrize("shape, index", [((0, 3), np.s_[:, 1:]), ((3, 0), np.s_[2:]), ((4, 3), np.s_[4:, 2:])])
def test_arrays_without_elements_are_read(shape, index, device):
    a = nd.zeros(shape, device=device)[index]
    np.testing.assert_array_equal(a.numpy(), np.zeros(shape, np.float32)[index])
    assert (a + a).numpy().shape == a.shape

"""Indexing against NumPy's, read and set, on every device: generated indices, and errors where NumPy has them."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from needle import Tensor, gradients, ops
from needle import backend_ndarray as nd
from needle.errors import DeviceError, DTypeError, ShapeError
from tests.backend_ndarray.indices import SHAPES, indices
from tests.ops.gradient_check import check_gradients

many_examples = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=150)


def numbered(shape, dtype="float32"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def outcome(function):
    """What NumPy gives, or raises; what it will refuse one day it refuses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Out of bound index found", DeprecationWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, append=True)
        try:
            return function()
        except (IndexError, DeprecationWarning):
            return IndexError
        except ValueError:
            return ValueError


def moved(data, index, device, kinds):
    """The index with some of its arrays as arrays of the device."""

    def item(x):
        if isinstance(x, np.ndarray) and x.dtype in ("bool", "int8", "uint8", "int32", "int64"):
            return data.draw(kinds)(x, device=device)
        return x

    return tuple(map(item, index)) if isinstance(index, tuple) else item(index)


def as_given(x, device):
    return x


def error_on(device):
    """Of what cannot be an index. An integer in an array of a GPU is only seen to be out of range by its kernel."""
    return IndexError if device.is_host else (IndexError, ShapeError)


def read(a):
    """The values, when all that the device has been given is done: of no elements there is nothing to wait for."""
    if not a.device.is_host:
        a.device.kernels.synchronize()
    return a.numpy()


def any_view(data, shape, device, dtype="float32"):
    """An NDArray, not often compact, and a NumPy array with the same numbers in the same places."""
    order = data.draw(st.permutations(range(len(shape))))
    step = data.draw(st.sampled_from([1, -1]))
    original = numbered([shape[order.index(i)] for i in range(len(shape))], dtype)
    flips = (Ellipsis, *[slice(None, None, step)] * len(shape))
    return nd.array(original, device=device, dtype=dtype).permute(order)[flips], original.transpose(order)[flips]


@many_examples
@given(data=st.data())
def test_getitem(device, data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    a, values = any_view(data, shape, device)
    met = moved(data, index, device, st.sampled_from([as_given, nd.array, Tensor]))
    expected = outcome(lambda: values[index])
    if expected is IndexError:
        with pytest.raises(error_on(device)):
            read(a[met])
    elif expected.ndim <= 8:
        actual = a[met]
        assert actual.shape == expected.shape and actual.dtype == "float32"
        np.testing.assert_array_equal(actual.numpy(), expected)


@many_examples
@given(data=st.data())
def test_setitem(device, data):
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    dtype = data.draw(st.sampled_from(["float32", "float64", "float16", "int32", "uint8", "bool"]))
    a, values = any_view(data, shape, device, dtype)
    before = values.copy()
    met = moved(data, index, device, st.sampled_from([as_given, nd.array, Tensor]))
    picked = outcome(lambda: values[index])
    value_shape = list(picked.shape if picked is not IndexError else (1,))
    if len(value_shape) > 7:
        return
    for i in range(len(value_shape)):
        if data.draw(st.integers(0, 5)) == 0:
            value_shape[i] = data.draw(st.integers(1, 2))
    value_shape = data.draw(st.sampled_from([value_shape, value_shape[1:], [1, *value_shape], []]))
    value = -numbered(value_shape, "int8") if dtype not in ("uint8", "bool") else numbered(value_shape, dtype)
    as_list = value.tolist() if value.size else value  # a list has no extents after one of 0
    given_value = data.draw(st.sampled_from([value, nd.array(value, device=device), as_list]))

    def set_in_numpy():
        values[index] = value

    try:
        error = outcome(set_in_numpy)
    except TypeError:  # a single mask sets from one axis at most, by a rule of its own that is not taken over
        return
    if picked is IndexError:
        error = IndexError  # whatever the value
    if error is not None:
        with pytest.raises(error_on(device) if error is IndexError else ShapeError):
            a[met] = given_value
        np.testing.assert_array_equal(a.numpy(), before)
    else:
        a[met] = given_value
        np.testing.assert_array_equal(a.numpy(), values)


@many_examples
@given(data=st.data())
def test_getitem_of_a_tensor_and_its_gradient(device, data):
    """The gradient of sum(weights * a[index]) has the weights where the elements were, added up."""
    shape = data.draw(SHAPES)
    index = data.draw(indices(shape))
    values = numbered(shape)
    a = Tensor(values, device=device)
    met = moved(data, index, device, st.sampled_from([as_given, nd.array, Tensor]))
    expected = outcome(lambda: values[index])
    if expected is IndexError:
        with pytest.raises(error_on(device)):
            read(a[met])
    elif expected.ndim <= 8:
        picked = a[met]
        assert picked.shape == expected.shape
        np.testing.assert_array_equal(picked.numpy(), expected)
        weights = numbered(expected.shape) + 1
        (picked * Tensor(weights, device=device, requires_grad=False)).sum().backward()
        grad = np.zeros(shape, np.float32)
        np.add.at(grad, index, weights)
        np.testing.assert_array_equal(a.grad.numpy(), grad)


M = np.array([[True, False, True], [False, True, True]])


@pytest.mark.parametrize(
    "index",
    [
        [0, 1, 0, 0], M, (0, [2, 2]), (slice(None), [2, 0, 2]), ([[0], [1]], [[0, 2]]), (None, [1, 1], ..., None),
        True, False, ([1, 0, 1], slice(None, None, -1)), (M[0, :2], M[0]), ([], [0]), (slice(0, 0), [0, 0]),
        ([0, 1], slice(1), [0, 0]), (slice(None), 1, [[0, 1], [1, 1]]),
    ],
)  # fmt: skip
def test_gradient_of_the_gradient(device, index):
    shape = (2, 3, 2) if isinstance(index, tuple) and len(index) == 3 else (2, 3)
    check_gradients(lambda a: (a * a)[index] ** 3, [np.random.default_rng(3).normal(size=shape)], device)


def test_an_index_gets_no_gradient(device):
    a, rows = Tensor(numbered((3, 2)), device=device), Tensor([2, 0], device=device)
    picked = a[rows]
    assert picked.requires_grad and gradients(ops.sum(picked), [a, rows])[1] is None
    assert not Tensor(numbered(3), device=device, requires_grad=False)[rows].requires_grad


def test_integers_along_the_first_axis_take_one_kernel(device, monkeypatch):
    """That a GPU's may be negative takes some more."""
    from needle.backend_ndarray import array_indexing, gather

    called = []
    original = gather.call
    for module in (gather, nd.ndarray):
        monkeypatch.setattr(module, "call", lambda *args: (called.append(args[1]), original(*args)))
    x = Tensor(numbered((5, 2)), device=device)
    index = Tensor([4, 1, 4], device=device)
    monkeypatch.setattr(array_indexing, "_host_numbers", None)
    np.testing.assert_array_equal(x[index].numpy(), numbered((5, 2))[[4, 1, 4]])
    assert called == ["gather"] or not device.is_host


def test_a_value_that_overlaps(device):
    a = nd.array(numbered(5, "int64"), device=device)
    a[[0, 1, 2, 3]] = a[1:]
    np.testing.assert_array_equal(a.numpy(), [1, 2, 3, 4, 4])
    a[a] = a[::-1]  # the index, too, is the array itself
    expected = np.array([1, 2, 3, 4, 4])
    expected[expected.copy()] = expected[::-1].copy()
    np.testing.assert_array_equal(a.numpy(), expected)
    b = nd.array(numbered((3, 3)), device=device)
    b[b > 3] = b.T[b > 3]
    expected = numbered((3, 3))
    expected[expected > 3] = expected.T[expected > 3]
    np.testing.assert_array_equal(b.numpy(), expected)


def test_the_last_of_several_values_stays(device):
    a = nd.zeros(4, device=device)
    a[[[1, 2], [1, 1]]] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(a.numpy(), [0, 4, 2, 0])


@pytest.mark.parametrize("dtype", nd.dtype.DTYPES)
def test_every_dtype(device, dtype):
    a = nd.array([0, 1, 1, 0, 1], device=device, dtype=dtype)
    np.testing.assert_array_equal(a[[1, -1, 0]].numpy(), np.array([1, 1, 0], dtype.numpy))
    a[a == 1] = nd.zeros(3, device=device)
    assert a.dtype is dtype and not a.numpy().any()


def test_ints_and_slices_of_arrays_without_axes(device):
    values = numbered((4, 5))
    a, x = nd.array(values, device=device), Tensor(values, device=device)
    one, three = Tensor(1, device=device), Tensor(3, device=device)
    for array in (a, x):
        np.testing.assert_array_equal(array[one].numpy(), values[1])
        np.testing.assert_array_equal(array[one:three, one].numpy(), values[1:3, 1])
        np.testing.assert_array_equal(array[np.int64(1) :: np.uint8(2)].numpy(), values[1::2])
        np.testing.assert_array_equal(array[nd.array(-1, device=device)].numpy(), values[-1])
        np.testing.assert_array_equal(array[[one, three]].numpy(), values[[1, 3]])
        np.testing.assert_array_equal(array[Tensor(True, device=device)].numpy(), values[True])
        np.testing.assert_array_equal(array[range(2)].numpy(), values[range(2)])
    scalar = Tensor(2.0, device=device)
    assert scalar[scalar > 1].shape == (1,) and scalar[scalar > 3].shape == (0,)


def test_a_slice_of_a_tensor_stays_as_it_was(device):
    """The graph holds numbers, not the Tensor that they came from."""
    x, start = Tensor(numbered(4), device=device), Tensor(1, device=device)
    picked = x[start:]
    start.data = Tensor(3, device=device)
    picked.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 1, 1, 1])


def test_errors_name_what_was_met(device):
    a, x = nd.zeros((3, 4), device=device), Tensor(numbered((3, 4)), device=device)
    cases = [
        (3, IndexError, r"index 3 along axis 0 of shape \(3, 4\): expected -3 to 2"),
        ([0, -4], IndexError, r"index -4 along axis 0 of shape \(3, 4\): expected -3 to 2"),
        ((slice(None), [1, 7]), IndexError, r"index 7 along axis 1 of shape \(3, 4\): expected -4 to 3"),
        (([0, 5], [1, 1]), IndexError, "index 5 along axis 0"),
        ((0, 0, 0), IndexError, r"too many indices for shape \(3, 4\)"),
        ((0, [0], [0]), IndexError, r"too many indices for shape \(3, 4\)"),
        ((..., ...), IndexError, "too many ellipses"),
        ((..., [0], ...), IndexError, "too many ellipses"),
        ([True, False], IndexError, r"mask of shape \(2,\).*\(3, 4\): met 2 along axis 0: expected 3"),
        ((0, np.ones(3, bool)), IndexError, r"mask of shape \(3,\).*\(3, 4\): met 3 along axis 1: expected 4"),
        (np.ones((3, 5), bool), IndexError, r"mask of shape \(3, 5\).*\(3, 4\): met 5 along axis 1: expected 4"),
        (([0, 1], [0, 1, 2]), IndexError, r"shapes \(2,\) and \(3,\) do not broadcast"),
        (1.5, IndexError, "index 1.5: expected an int"),
        (np.array([np.nan]), IndexError, r"index of shape \(1,\) and dtype float64: expected"),
        (Tensor([0.5], device=device), IndexError, r"index of shape \(1,\) and dtype float32: expected"),
        (Tensor(0.5, device=device), IndexError, "index a.* of shape .*float32: expected"),
        ("x", IndexError, "index 'x': expected"),
        ([0, "x"], IndexError, "expected"),
        ([[0], [0, 1]], ShapeError, "inhomogeneous"),
        (slice(1.0, None), DTypeError, "slice of ints"),
        (slice(None, None, 0), ValueError, "zero"),
    ]
    for index, error, text in cases:
        for array in (a, x):
            with pytest.raises(error, match=text):
                array[index]
        with pytest.raises(error, match=text):
            a[index] = 1
    with pytest.raises(ShapeError, match=r"setitem.*\(3,\).*\(2, 4\)"):
        a[[0, 1]] = nd.zeros(3, device=device)
    with pytest.raises(IndexError, match="expected an int, a slice, None or Ellipsis"):
        ops.GetItem(True)(x)


@pytest.mark.parametrize("index", [0, [0, 1], [True, False, True]])
def test_numbers_that_do_not_fit(device, index):
    a = nd.zeros(3, "uint8", device)
    numbers = (300, -1, float("nan"), float("inf"), np.int64(263), np.array(263), 256.5, np.float32(300))
    for value in (*numbers, *([number, 1] for number in numbers)):
        with pytest.raises(DTypeError, match="setitem: .* does not fit into uint8: expected 0 to 255"):
            a[index] = value
    for value in ("3", ["3", "4"]):
        with pytest.raises(DTypeError, match="setitem: .*of str32 elements: expected numbers"):
            a[index] = value
    assert not a.numpy().any()
    a[index] = 255
    a[index] = np.array([256 + 7])  # an array is converted, as NumPy does it
    np.testing.assert_array_equal(a.numpy().max(), 7)
    a[index] = [-0.5]  # its fraction is cut off first
    assert not a.numpy()[index].any()


def test_an_index_on_another_device():
    enabled = [device for device in nd.all_devices() if device.enabled()]
    if len(enabled) < 2:
        pytest.skip("one device only")
    here, there = enabled[:2]
    for index in ([0, 1], [True, False, True]):
        for call in (
            lambda: nd.zeros(3, device=here)[nd.array(index, device=there)],
            lambda: Tensor([1.0, 2, 3], device=here)[nd.array(index, device=there)],
            lambda: Tensor([1.0, 2, 3], device=here)[Tensor(index, device=there)],
        ):
            with pytest.raises(DeviceError, match="index: operands on"):
                call()
    assert nd.zeros(3, device=here)[nd.array(1, device=there)].shape == ()


def test_large_shapes_against_numpy(device):
    generator = np.random.default_rng(5)
    values = generator.normal(size=(40, 30, 20)).astype(np.float32)
    a = nd.array(values, device=device)
    mask, i, j = values > 0.3, generator.integers(-40, 40, 500), generator.integers(-20, 20, (3, 500))
    for index in (mask, mask[:, 0, 0], (i, slice(None), j), (slice(None), mask[0]), (i, 3, j)):
        np.testing.assert_array_equal(a[index].numpy(), values[index])
        a[index] = -1
        values[index] = -1
        np.testing.assert_array_equal(a.numpy(), values)


@many_examples
@given(data=st.data())
def test_several_arrays_of_a_gpu_that_are_out_of_range(device, data):
    """None hides behind another: (1, -7) of (3, 4) is no element, though 1 * 4 - 7 would be one."""
    shape = data.draw(array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=3))
    index = tuple(data.draw(st.integers(-6, 5)) for _ in shape)
    a = nd.array(numbered(shape), device=device)
    met = tuple(nd.array([i], device=device) for i in index)
    expected = outcome(lambda: numbered(shape)[index])
    if expected is IndexError:
        with pytest.raises(error_on(device)):
            read(a[met])
    else:
        assert a[met].item() == expected

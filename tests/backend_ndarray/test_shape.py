"""Shape and stride arithmetic against NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from needle.backend_ndarray.shape import (
    as_shape,
    broadcast_shapes,
    compact_strides,
    dense_strides_like,
    is_compact,
    normalize_axes,
    reshape_strides,
    resolve_reshape,
)
from needle.errors import ShapeError

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def view(shape, strides):
    """A NumPy array with element strides, over distinct values."""
    size = 1 + sum(max(0, n - 1) * abs(s) for n, s in zip(shape, strides))
    return np.lib.stride_tricks.as_strided(np.arange(size), shape, [8 * s for s in strides])


@given(shapes)
def test_compact_strides(shape):
    assert is_compact(shape, compact_strides(shape))
    a = np.zeros(shape)
    if a.size:
        assert compact_strides(shape) == tuple(s // 8 for s in a.strides)


@given(st.lists(st.integers(1, 4), max_size=4).map(tuple), st.data())
def test_reshape_strides_see_the_same_elements(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        repeat = data.draw(st.booleans())
        strides[axis] = 0 if repeat else step
        step *= 1 if repeat else shape[axis] * data.draw(st.sampled_from([1, 1, 2]))
    factors = [f for n in shape for f in ([2, 2] if n == 4 else [n])]
    cut = data.draw(st.integers(0, len(factors)))
    new_shape = tuple(data.draw(st.permutations([*factors[:cut], int(np.prod(factors[cut:], dtype=int)), 1])))
    result = reshape_strides(shape, tuple(strides), new_shape)
    a = view(shape, strides)
    if result is not None:
        np.testing.assert_array_equal(view(new_shape, result), a.reshape(new_shape))
    else:
        with pytest.raises((AttributeError, ValueError)):
            np.reshape(a, new_shape, copy=False)


def test_reshape_without_a_copy_is_found_where_numpy_finds_it():
    a = np.zeros((2, 3, 4)).transpose(2, 0, 1)
    strides = tuple(s // 8 for s in a.strides)
    assert reshape_strides(a.shape, strides, (4, 6)) == (1, 4)
    assert reshape_strides(a.shape, strides, (8, 3)) is None


@given(shapes, shapes)
def test_broadcast_shapes(a, b):
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ShapeError, match="do not broadcast"):
            broadcast_shapes("add", a, b)
    else:
        assert broadcast_shapes("add", a, b) == expected


def test_dense_strides_keep_the_order_of_axes():
    assert dense_strides_like((2, 3, 4, 5), (60, 1, 15, 3)) == (60, 1, 15, 3)  # channels last
    assert dense_strides_like((2, 3), (12, 2)) == (3, 1)  # a slice
    assert dense_strides_like((2, 3), (0, 1)) == (3, 1)  # a broadcast
    assert dense_strides_like((2, 3), (-1, -2)) == (1, 2)  # flipped and transposed


def test_resolve_reshape():
    assert resolve_reshape("reshape", (2, 6), (3, -1)) == (3, 4)
    for shape in [(5, -1), (-1, -1), (7,), (0, -1), (-2, -6)]:
        with pytest.raises(ShapeError, match=r"reshape: .*\(2, 6\)|expected"):
            resolve_reshape("reshape", (2, 6), shape)


def test_normalize_axes():
    assert normalize_axes("sum", None, 3) == (0, 1, 2)
    assert normalize_axes("sum", -1, 3) == (2,)
    with pytest.raises(ShapeError, match="sum: axis 3 of an array with 3 dimensions: expected -3 to 2"):
        normalize_axes("sum", (0, 3), 3)
    with pytest.raises(ShapeError, match="each axis once"):
        normalize_axes("sum", (0, -3), 3)
    with pytest.raises(ShapeError, match="whole number"):
        normalize_axes("sum", 1.5, 3)


@pytest.mark.parametrize("shape", [(-1,), (2, 1.5), (1,) * 9, "ab"])
def test_as_shape_refuses(shape):
    with pytest.raises(ShapeError):
        as_shape("empty", shape)

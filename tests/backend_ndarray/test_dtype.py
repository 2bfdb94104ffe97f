"""Element types and their promotion."""

import copy
import enum
import pickle

import numpy as np
import pytest

from needle import backend_ndarray as nd
from needle.backend_ndarray import promote_types
from needle.backend_ndarray.dtype import DTYPES, as_dtype, bool_, float32, int64, promote_scalar
from needle.errors import DTypeError


def test_a_dtype_is_its_name():
    assert float32 == "float32" and {float32: 1}["float32"] == 1
    assert [dtype.code for dtype in DTYPES] == list(range(9))
    assert [dtype.itemsize for dtype in DTYPES] == [4, 8, 2, 2, 1, 1, 4, 8, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_are_the_same_object(dtype):
    assert pickle.loads(pickle.dumps(dtype)) is copy.deepcopy(dtype) is copy.copy(dtype) is dtype


@pytest.mark.parametrize(
    "name, expected",
    [
        ("bool", "bool"),
        (np.float64, "float64"),
        (np.dtype("int8"), "int8"),
        (float, "float32"),
        (int, "int64"),
        (bool, "bool"),
    ],
)
def test_as_dtype(name, expected):
    assert as_dtype(name) == expected


@pytest.mark.parametrize("name", ["float8", "complex64", np.complex128, object(), "uint32"])
def test_as_dtype_refuses(name):
    with pytest.raises(DTypeError, match="not one of Needle's"):
        as_dtype(name)


# The array API standard's table, for the dtypes that Needle has; int8 with uint8 is int16 there.
STANDARD = {
    ("int8", "int32"): "int32", ("int8", "int64"): "int64", ("uint8", "int32"): "int32", ("uint8", "int64"): "int64",
    ("int32", "int64"): "int64", ("float32", "float64"): "float64",
}  # fmt: skip
OURS = {
    ("int8", "uint8"): "int32", ("float16", "bfloat16"): "float32", ("float16", "float32"): "float32",
    ("int64", "float16"): "float16", ("bool", "uint8"): "uint8", ("bool", "float64"): "float64",
}  # fmt: skip


@pytest.mark.parametrize("pair, expected", [*STANDARD.items(), *OURS.items()])
def test_promotion(pair, expected):
    a, b = map(as_dtype, pair)
    assert promote_types(a, b) == promote_types(b, a) == expected


def test_promotion_is_commutative_and_idempotent():
    for a in DTYPES:
        assert promote_types(a, a) is a
        for b in DTYPES:
            assert promote_types(a, b) is promote_types(b, a)


@pytest.mark.parametrize(
    "dtype, value, expected",
    [
        ("float16", 2.5, "float16"),
        ("int8", 3, "int8"),
        ("int8", 2.5, "float32"),
        ("bool", 3, "int64"),
        ("bool", True, "bool"),
    ],
)
def test_numbers_have_no_width(dtype, value, expected):
    assert promote_scalar(as_dtype(dtype), value) == expected


def test_defaults():
    assert promote_scalar(bool_, 1) is int64


class Color(enum.IntEnum):
    RED = 3


class Length(float):
    def __new__(cls, meters, centimeters):
        return super().__new__(cls, meters + centimeters / 100)


@pytest.mark.parametrize("number", [Color.RED, Length(2, 50)])
def test_subclasses_of_numbers_are_numbers(number, device):
    """Even those that have no 0, or are not made from one number."""
    for dtype in ("float32", "int32", "bool"):
        a = nd.array([0, 1], dtype=dtype, device=device)
        plain = int(number) if isinstance(number, int) else float(number)
        for met, expected in ((a + number, a + plain), (number * a, plain * a), (a == number, a == plain)):
            assert met.dtype is expected.dtype
            np.testing.assert_array_equal(met.numpy(), expected.numpy())

"""Arrays of more than 2^31 elements: offsets, counts and strides are 64 bits wide everywhere.

An array of bytes of that size takes 2.1 GB; tests that hold two or three of them run only where there is the memory.
"""

from __future__ import annotations

import numpy as np
import pytest

from needle.backend_ndarray import NDArray, cpu, empty, full
from needle.backend_ndarray.matmul import matmul

SIZE = 2**31 + 5


def available_gigabytes() -> float:
    """Of memory, as Linux estimates it."""
    with open("/proc/meminfo") as file:
        kilobytes = next(line.split()[1] for line in file if line.startswith("MemAvailable:"))
    return int(kilobytes) / 1e6


@pytest.fixture(autouse=True)
def enough_memory():
    if available_gigabytes() < 9:
        pytest.skip(f"needs 9 GB of memory, {available_gigabytes():.1f} are available")


@pytest.fixture
def large() -> NDArray:
    """Ones, but 7 at 2^31 + 1 and -3 at the end: int8 (2^31 + 5,)."""
    a = full((SIZE,), 1, "int8", cpu())
    a[2**31 + 1] = 7
    a[-1] = -3
    return a


EXPECTED_TAIL = [1, 7, 1, 1, -3]  # from 2^31 on


def tail(a: NDArray) -> list:
    return a[2**31 :].numpy().tolist()


def test_slices_and_items(large):
    assert tail(large) == EXPECTED_TAIL
    assert large[2**31 - 1 :: 2].numpy().tolist() == [1, 7, 1]
    assert large[SIZE - 1].item() == -3 and len(large) == large.nbytes == SIZE
    assert large.flip(0)[:5].numpy().tolist() == EXPECTED_TAIL[::-1]


def test_copies(large):
    assert tail(large.copy()) == EXPECTED_TAIL
    assert large.flip(0).copy()[:5].numpy().tolist() == EXPECTED_TAIL[::-1]
    large[1:] = large[:-1]
    assert tail(large) == [1, 1, 7, 1, 1]


def test_conversion(large):
    assert tail(large.astype("uint8")) == [1, 7, 1, 1, 253]
    assert tail(large.astype("bool")) == [True] * 5


def test_element_wise(large):
    assert tail(large + large) == [2, 14, 2, 2, -6]
    assert tail(large * 3) == [3, 21, 3, 3, -9]
    assert tail(large > 1) == [False, True, False, False, False]


def test_reductions(large):
    assert large.max().item() == 7 and large.min().item() == -3
    assert large.argmax(0).item() == 2**31 + 1


def test_sum():
    """Of numbers that share their memory, as the sum of bytes needs eight times theirs."""
    assert full((1,), 2, "int64", cpu()).broadcast_to((2**16, 2**15 + 1)).sum().item() == 2 * (2**31 + 2**16)
    along = full((1, 2**15 + 1), 2, "int64", cpu()).broadcast_to((2**16, 2**15 + 1)).sum(0).numpy()
    assert along.shape == (2**15 + 1,) and (along == 2**17).all()


def test_reshape_and_rows_by_number(large):
    rows = large[5:].reshape(2**21, 2**10)
    rows[-1] = 9
    picked = rows[np.array([2**21 - 1, 0, 2**21 - 2])].numpy()
    assert picked[:, 0].tolist() == [9, 1, 1] and picked[:, -1].tolist() == [9, 1, 1]
    assert tail(large) == [9, 9, 9, 9, 9]
    assert large.reshape(SIZE, 1)[np.array([2**31 + 1, 2**31 - 1])].numpy().tolist() == [[9], [9]]


def test_parts_of_one_array():
    """What concatenation does: slices that begin beyond 2^31 are written."""
    a = full((2**30 + 1, 2), 1, "int8", cpu())
    joined = empty((2**30 + 6, 2), "int8", cpu())
    joined[: len(a)], joined[len(a) :] = a, np.arange(10).reshape(5, 2)
    assert joined[len(a) - 1 :].numpy().ravel().tolist() == [1, 1, *range(10)]


def test_matmul(large):
    """(m, k) @ (k, 1) with m * k = 2^31, which begins 5 numbers into its buffer."""
    a, b = large[5:].reshape(2**21, 2**10), full((2**10, 1), 0, "int8", cpu())
    a[-1], b[-1] = 3, 5
    product = matmul(a, b).numpy()
    assert product.shape == (2**21, 1) and product[-1] == 15 and (product[:-1] == 5).all()

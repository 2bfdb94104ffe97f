"""Ids and labels that come as floats are taken where they are whole, and nothing is rounded on the way."""

import numpy as np
import pytest

from needle import Tensor, init, nn, ops
from needle.errors import DTypeError, ShapeError

FLOATING = ["float16", "bfloat16", "float32", "float64"]


def constant(values, device, dtype="float64"):
    return Tensor(values, device=device, dtype=dtype, requires_grad=False)


def rows(device):
    return Tensor(np.arange(6.0).reshape(3, 2), device=device)


# op, and its result for numbers, which are to be below 3
TAKERS = {
    "gather": lambda numbers: ops.gather(rows(numbers.device), numbers),
    "embedding": lambda numbers: ops.embedding(numbers, rows(numbers.device)),
    "softmax_cross_entropy": lambda numbers: ops.softmax_cross_entropy(
        Tensor(np.arange(6.0).reshape(2, 3) / 7, device=numbers.device), numbers
    ),
    "one_hot": lambda numbers: init.one_hot(3, numbers),
}


@pytest.mark.parametrize("op", TAKERS)
@pytest.mark.parametrize("dtype", [*FLOATING, "int8", "uint8", "int32", "int64"])
def test_whole_numbers_of_every_dtype(device, op, dtype):
    expected = TAKERS[op](constant([2, 0], device, "int64")).numpy()
    np.testing.assert_array_equal(TAKERS[op](constant([2, 0], device, dtype)).numpy(), expected)


@pytest.mark.parametrize("op", TAKERS)
@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("wrong", [0.9, 0.5, -0.5, 1.0078125, 1e-7, float("nan"), float("inf"), -float("inf")])
def test_others_are_refused(device, op, dtype, wrong):
    numbers = constant([1, wrong], device, dtype)
    met = numbers.numpy()[1]
    if met == 1 or met == 0:
        pytest.skip(f"{dtype} has no {wrong}")
    looks = device.is_host or op == "one_hot"  # a GPU does not wait, its kernel refuses what stands for the number
    text = f"{op}: (index|label) {met}: expected whole numbers" if looks else "at position 1"
    with pytest.raises(ShapeError, match=text):
        TAKERS[op](numbers).numpy()


@pytest.mark.parametrize("op", TAKERS)
@pytest.mark.parametrize("wrong", [3, -1, 2**40, 1e30])
def test_numbers_out_of_range_are_named(device, op, wrong):
    numbers = constant([1, wrong], device, "float64" if isinstance(wrong, float) else "int64")
    with pytest.raises(ShapeError, match=r"1e\+30|-1" if wrong == 1e30 else f"{wrong}.*expected 0 to 2"):
        TAKERS[op](numbers).numpy()


@pytest.mark.parametrize("op", TAKERS)
def test_bools_are_no_numbers(device, op):
    with pytest.raises(DTypeError, match=f"{op}: (index|label) of dtype bool: expected whole numbers"):
        TAKERS[op](constant([True, False], device, "bool"))


def test_layers_refuse_them_too(device):
    with pytest.raises(ShapeError):
        nn.Embedding(3, 2, device=device)(constant([0.9], device)).numpy()
    with pytest.raises(ShapeError):
        nn.SoftmaxLoss()(rows(device), constant([0, 1, np.nan], device)).numpy()


@pytest.mark.parametrize("numbers", [[0.5], [float("nan")], np.array([1.5]), np.array(0.9), [1, 2.5]])
def test_one_hot_of_what_is_no_tensor(device, numbers):
    with pytest.raises(ShapeError, match="one_hot: index .*: expected whole numbers"):
        device.one_hot(4, numbers)


def test_one_hot_of_other_types(device):
    for numbers in ([True], ["a"], [None], [1j]):
        with pytest.raises(DTypeError, match="one_hot: .*: expected (whole )?numbers"):
            device.one_hot(4, numbers)
    assert device.one_hot(4, []).shape == (0, 4)
    np.testing.assert_array_equal(device.one_hot(3, [2.0, 0.0]).numpy(), [[0, 0, 1], [1, 0, 0]])


def test_no_numbers_at_all(device):
    assert ops.gather(rows(device), constant([], device)).shape == (0, 2)
    assert ops.softmax_cross_entropy(constant(np.zeros((0, 3)), device), constant([], device)).shape == (0,)


@pytest.mark.parametrize("dtype", [*FLOATING, "uint8"])
def test_a_number_or_a_list_of_ids_does_not_take_the_dtype_of_the_rows(device, dtype):
    """bfloat16 has no 259, float16 no 2049, float32 no 2^24 + 1, uint8 none above 255."""
    table = Tensor(np.arange(2100) % 7, device=device, dtype=dtype)
    for number in (259, np.int64(259), 2049, np.array(2049), np.array(2049.0)):
        assert ops.gather(table, number).item() == ops.embedding(number, table).item() == int(number) % 7
    for numbers in ([259, 2049], np.array([259, 2049]), np.array([259.0, 2049.0]), np.array([259, 2049], np.uint64)):
        assert ops.gather(table, numbers).numpy().tolist() == [0, 5]
    for wrong in (0.5, [1.5], np.array([np.nan]), np.array([2**63], np.uint64)):
        with pytest.raises(ShapeError, match="gather: index .*: expected whole numbers"):
            ops.gather(table, wrong)


def test_a_number_beyond_those_of_float32():
    table = Tensor(np.arange(2**24 + 3) % 10, dtype="uint8")
    for number in (2**24 + 1, np.array([2.0**24 + 1])):
        assert ops.gather(table, number).item() == 7

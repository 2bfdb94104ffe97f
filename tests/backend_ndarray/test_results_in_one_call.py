"""Element-wise functions and reductions make their result in C++ where they can, and in Python elsewhere: both give the
same array.
"""

import functools
import random

import numpy as np
import pytest

from needle.backend_ndarray import NDArray, array, elementwise, reduce
from needle.backend_ndarray.dtype import DTYPES, bool_
from needle.backend_ndarray.kernel_table import BOOL, KERNELS
from tests.devices import devices

FUNCTIONS = [
    kernel for kernel in KERNELS.values() if kernel.kind == "element-wise" and hasattr(elementwise, kernel.name)
]
BROADCASTS = [(), (4,), (1, 4), (3, 1), (3, 4), (1, 1), (2, 3, 4), (2, 1, 4), (0, 4), (1,), (5,)]


def nothing(*operands):
    """The answer of a function that leaves a call to Python."""


def operand(rng, device, dtype):
    """An array of a random shape and layout."""
    shape = rng.choice(BROADCASTS)
    values = np.random.default_rng(rng.randrange(1000)).integers(0, 5, tuple(2 * extent for extent in shape))
    x = array(values, dtype, device)
    x = x[tuple(rng.choice([slice(extent), slice(extent, None), slice(None, None, 2)]) for extent in shape)]
    x = x if rng.random() < 0.3 else x.compact()
    if rng.random() < 0.4:  # its axes in another order in memory
        axes = rng.sample(range(x.ndim), x.ndim)
        x = x.permute(axes).copy().permute([axes.index(axis) for axis in range(x.ndim)])
    return x.flip() if rng.random() < 0.1 else x


def outcome(function, operands):
    """What a call gives: shape, strides of axes that have any, dtype and bits; or its error."""
    try:
        out = function(*operands)
    except Exception as error:
        return type(error), str(error)
    strides = [stride for extent, stride in zip(out.shape, out.strides) if extent > 1 and out.size]
    return out.shape, strides, out.dtype, out.device, out.numpy().tobytes()


@pytest.mark.parametrize("device", devices(), ids=repr)
@pytest.mark.parametrize("kernel", FUNCTIONS, ids=lambda kernel: kernel.name)
def test_both_ways_give_the_same(kernel, device, monkeypatch):
    rng = random.Random(kernel.name)
    function = getattr(elementwise, kernel.name)
    num_inputs = sum(operand.type == "array" for operand in kernel.operands) - 1
    made_in_cpp = 0
    for _ in range(60):
        dtype = bool_ if kernel.dtypes == BOOL else rng.choice(DTYPES)
        operands = [
            operand(rng, device, dtype if rng.random() < 0.8 else rng.choice(DTYPES))
            if rng.random() < 0.8
            else rng.choice([2, -1.5, True, 10**400, 2**40, 0.1])
            for _ in range(num_inputs)
        ]
        if not any(isinstance(x, NDArray) for x in operands):
            continue
        with np.errstate(all="ignore"):
            got = outcome(function, operands)
            made_in_cpp += device.kernels.elementwise.get(kernel.name, nothing)(*operands) is not None
            with monkeypatch.context() as patch:
                patch.setattr(device.kernels, "elementwise", dict.fromkeys(KERNELS, nothing))
                assert got == outcome(function, operands), operands
    if device.name != "cpu_numpy" and kernel.name in device.kernels.elementwise:
        assert made_in_cpp >= 5


def random_axes(rng, ndim):
    axes = [rng.choice([axis, axis - ndim]) for axis in rng.sample(range(ndim), rng.randint(0, ndim))]
    wrong = [ndim, -ndim - 1, 2**70, (0, 0), (0, -ndim), 1.5, "0", True, (True,)]
    return rng.choice(
        [None, tuple(axes), tuple(axes), axes, np.array(axes, int), *axes[:1], *axes[:1], rng.choice(wrong)]
    )


@pytest.mark.parametrize("device", devices(), ids=repr)
@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_reductions_in_both_ways_give_the_same(name, device, monkeypatch):
    rng = random.Random(name)
    function = getattr(reduce, name)
    made_in_cpp = 0
    for _ in range(400):
        x = operand(rng, device, rng.choice(DTYPES))
        axes, keepdims = random_axes(rng, x.ndim), rng.choice([False, False, True, np.True_, 1])
        keywords = {"wide": rng.choice([False, False, True])} if name == "sum" else {}
        call = functools.partial(function, **keywords)
        got = outcome(call, (x, axes, keepdims))
        made_in_cpp += device.kernels.reductions[name](x, axes, keepdims) is not None
        with monkeypatch.context() as patch:
            patch.setattr(device.kernels, "reductions", {name: nothing})
            assert got == outcome(call, (x, axes, keepdims)), (x, axes, keepdims, keywords)
    if device.name != "cpu_numpy":
        assert made_in_cpp >= 30

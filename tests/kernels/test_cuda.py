"""The GPU as a device: memory, transfers, and what goes wrong. Where there is none, all of it runs emulated."""

import os
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.pool import max_pool2d
from needle.errors import DeviceError, OutOfMemoryError, ShapeError
from tests.devices import EMULATED

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)


def backend():
    return ndl.cuda().kernels.backend


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 5, 6)])
def test_arrays_go_there_and_come_back(dtype, shape):
    values = np.random.randint(0, 2, shape).astype(nd.empty((), dtype).dtype.numpy)
    there = nd.array(values, dtype, ndl.cuda())
    assert there.device is ndl.cuda() and there.dtype == dtype
    back = there.to(ndl.cpu())
    assert back.device is ndl.cpu()
    np.testing.assert_array_equal(there.numpy(), values)
    np.testing.assert_array_equal(back.numpy(), values)
    np.testing.assert_array_equal(back.to(ndl.cuda()).numpy(), values)


def test_views_come_back_as_they_look():
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    there = nd.array(values, device=ndl.cuda())
    np.testing.assert_array_equal(there.permute(2, 0, 1).numpy(), values.transpose(2, 0, 1))
    np.testing.assert_array_equal(there[1:, ::-2, 3].numpy(), values[1:, ::-2, 3])
    np.testing.assert_array_equal(there[2, 1].broadcast_to((2, 5)).numpy(), np.broadcast_to(values[2, 1], (2, 5)))
    assert there[1, 2, 3].item() == values[1, 2, 3]
    assert "59" in repr(there)


def test_large_arrays_are_moved_in_pieces():
    values = np.random.randint(0, 255, (40 << 20) + 3).astype(np.uint8)
    assert (nd.array(values, device=ndl.cuda()).numpy() == values).all()


def test_the_host_may_change_an_array_at_once():
    values = np.zeros(1000, np.float32)
    there = nd.array(values, device=ndl.cuda())
    values += 1
    assert there.numpy().max() == 0


def test_what_comes_from_the_host_does_not_overtake_kernels():
    """An upload has a stream of its own, and memory that is used again."""
    sums = []
    for i in range(50):
        x = nd.array(np.full(1000, i, np.float32), device=ndl.cuda())
        sums.append(x + x)
        del x
    for i, total in enumerate(sums):
        assert total.numpy().tolist() == [2 * i] * 1000


def test_a_number_can_be_read_later():
    x = nd.array(np.arange(3, dtype=np.float32), device=ndl.cuda())
    pending = (x + x)[2].begin_read()
    x[2] = nd.array(7, device=ndl.cuda(), dtype="float32")  # after what was asked for
    assert pending.item() == 4 and pending.ready()
    with pytest.raises(ShapeError, match="expected one element"):
        x.begin_read()


@pytest.mark.skipif(os.environ.get("NEEDLE_MEMORY_POOL") == "off", reason="NEEDLE_MEMORY_POOL=off: nothing is kept")
def test_memory_is_counted_and_used_again():
    device = ndl.cuda()
    device.kernels.trim_memory()
    before = ndl.memory_stats(device)
    x = device.ones(1 << 18)
    during = ndl.memory_stats(device)
    assert during["current"] == before["current"] + (1 << 20) and during["reserved"] >= before["reserved"] + (1 << 20)
    del x
    assert ndl.memory_stats(device)["current"] == before["current"]
    assert ndl.memory_stats(device)["reserved"] == during["reserved"]
    y = device.ones(1 << 18)
    assert ndl.memory_stats(device)["reserved"] == during["reserved"]
    del y
    device.kernels.trim_memory()
    assert ndl.memory_stats(device)["reserved"] == before["reserved"]


def test_too_much_is_refused_and_survived():
    with pytest.raises(
        OutOfMemoryError, match=r"cuda\(\): an array of shape \(2199023255552,\).*asked for 8796093022208"
    ):
        ndl.cuda().empty((2**41,))
    assert (ndl.cuda().ones(4) + 1).numpy().tolist() == [2, 2, 2, 2]


AFTER_AN_UPLOAD = """
import tests.devices, numpy as np, needle as ndl
x = ndl.Tensor(np.ones(1 << 20, np.float32), device=ndl.cuda())
del x
print(ndl.cuda().ones(1 << 20).numpy().sum())
"""

UPLOADS_AHEAD_OF_THE_KERNELS = """
import tests.devices, numpy as np
from needle import backend_ndarray as nd
sums = [nd.array(np.ones(1 << 20, np.float32), device=nd.cuda()).sum() for _ in range(3)]
print(sum(one.numpy() for one in sums) / 3)
"""


@pytest.mark.skipif(not EMULATED, reason="it needs a GPU of 6 MiB")
@pytest.mark.parametrize("program", [AFTER_AN_UPLOAD, UPLOADS_AHEAD_OF_THE_KERNELS])
def test_what_uploads_have_left_makes_room(program):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NEEDLE_EMULATED_MIB": "6"}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == [str(float(1 << 20))], run.stdout + run.stderr


@pytest.mark.parametrize("index", [-1, 1000])
def test_a_device_that_does_not_exist_says_so(index):
    device = ndl.cuda(index)
    assert not device.enabled()
    assert f"cuda({index}) is not available: " in device.reason and "counted from 0" in device.reason
    with pytest.raises(DeviceError, match="counted from 0"):
        device.ones(3)


def test_devices_are_not_mixed():
    x = ndl.cuda().ones(3)
    with pytest.raises(DeviceError, match=r"operands on cuda\(\) and cpu\(\)"):
        x + ndl.cpu().ones(3)
    if backend().device_count() > 1:
        with pytest.raises(DeviceError, match=r"operands on cuda\(\) and cuda\(1\)"):
            x + ndl.cuda(1).ones(3)
        assert (x.to(ndl.cuda(1)) + ndl.cuda(1).ones(3)).numpy().tolist() == [2, 2, 2]


def test_memory_of_a_device_is_not_the_hosts():
    x = ndl.cuda().ones(3)
    with pytest.raises(TypeError, match="bytes-like"):
        memoryview(x.buffer)
    with pytest.raises(DeviceError, match="not the host's"):
        x.host_view()
    with pytest.raises(ShapeError, match="read: 8 bytes at 8 of a buffer of 12 bytes"):
        ndl.cuda().kernels.read(x.buffer, 8, np.zeros(8, np.uint8))
    with pytest.raises(ShapeError, match="begin_read: -1 bytes"):
        ndl.cuda().kernels.begin_read(x.buffer, 0, -1)


def test_a_kernel_on_nothing_does_nothing():
    x = ndl.cuda().empty((0, 3))
    assert (x + 1).shape == (0, 3) and x.exp().numpy().size == 0


def test_windows_of_pooling_are_counted_in_32_bits():
    x = nd.array(np.arange(4.0).reshape(1, 2, 2, 1), device=ndl.cuda())
    assert max_pool2d(x, 2, 2**31).numpy().tolist() == [[[[3]]]]
    assert (max_pool2d(x, 2**30, 2, 2**29).numpy() == 3).all()
    with pytest.raises(ShapeError, match=f"2 pixels with padding {2**30} on either side, expected less than 2\\^31"):
        max_pool2d(x, 2**31, 1, 2**30)


def test_float16_overflows_to_infinity():
    x = nd.array([60000.0, -60000.0], dtype="float16", device=ndl.cuda())
    assert (x + x).numpy().tolist() == [np.inf, -np.inf]


def test_the_configuration_names_devices_and_provider():
    text = ndl.show_config()
    assert "cuda(): enabled" in text and f"cuda devices: {backend().device_names()[0]}" in text
    assert f"cuda provider: {os.environ.get('NEEDLE_CUDA_KERNELS') or 'auto'} (NEEDLE_CUDA_KERNELS" in text


def test_tf32_is_asked_for_by_name():
    try:
        ndl.set_float32_matmul_precision("high")
        assert ndl.get_float32_matmul_precision() == "high"
        with pytest.raises(ValueError, match="'low': expected 'highest' or 'high'"):
            ndl.set_float32_matmul_precision("low")
    finally:
        ndl.set_float32_matmul_precision("highest")

"""A backend is a row of BACKENDS, the function of its name, and a module: all else follows from these."""

import copy
import pickle
import sys
import types

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle import config, nn, ops
from needle.backend_ndarray import backend_numpy
from needle.backend_ndarray import device as devices
from needle.backend_ndarray.pending_read import PendingRead
from needle.errors import DeviceError


class _Bytes:
    """Bytes on their way to the host."""

    def __init__(self, content: bytes) -> None:
        self.data, self.ready = lambda: content, lambda: True


def _elsewhere_kernels(index: int) -> types.SimpleNamespace:
    """The reference's kernels, as a device whose memory is not the host's has them."""
    if index > 1:
        raise DeviceError("there are two such devices")

    def upload(source):
        buffer = backend_numpy.Buffer(len(source))
        buffer[...] = source
        return buffer

    def read(buffer, offset, target):
        target[...] = buffer[offset : offset + len(target)]

    def begin_read(buffer, offset, nbytes):
        return _Bytes(bytes(buffer[offset : offset + nbytes]))

    return types.SimpleNamespace(**vars(backend_numpy), upload=upload, read=read, begin_read=begin_read)


def elsewhere(index: int = 0) -> nd.Device:
    return devices._device("elsewhere", index)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch):
    """Adds the backend as CONTRIBUTING.md says."""
    row = devices.Backend("elsewhere", "backend_elsewhere", is_host=False, is_indexed=True, dlpack_type=7)
    module = types.SimpleNamespace(device=_elsewhere_kernels)
    monkeypatch.setitem(sys.modules, "needle.backend_ndarray.backend_elsewhere", module)
    monkeypatch.setitem(devices.BACKENDS, "elsewhere", row)
    monkeypatch.setattr(devices, "elsewhere", elsewhere, raising=False)
    monkeypatch.setitem(config._ARITHMETIC, "elsewhere", lambda device: [f"device {device.index}"])
    yield
    for index in range(3):
        devices._devices.pop(("elsewhere", index), None)


def test_it_computes():
    np.random.seed(0)
    x, results = np.random.randn(4, 3), []
    for device in (elsewhere(1), ndl.cpu_numpy()):
        ndl.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5, device=device), nn.ReLU(), nn.Linear(5, 2, device=device))
        optimizer = ndl.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.reset_grad()
            loss = ops.summation(model(ndl.Tensor(x, device=device)) ** 2)
            loss.backward()
            optimizer.step()
        results.append([loss.item(), PendingRead(loss.cached_data).item(), *(p.numpy() for p in model.parameters())])
    for ours, expected in zip(*results):
        np.testing.assert_array_equal(ours, expected)


def test_arrays_move_and_do_not_mix():
    a = nd.array([[1.0, 2.0]], device=elsewhere())
    assert a.to(ndl.cpu_numpy()).T.to(elsewhere(1)).numpy().tolist() == [[1], [2]]
    with pytest.raises(DeviceError, match=r"operands on elsewhere\(\) and elsewhere\(1\)"):
        a + a.to(elsewhere(1))
    with pytest.raises(DeviceError, match=r"elsewhere\(\): its memory is not the host's"):
        a.host_view()
    assert a.__dlpack_device__() == (7, 0) and a.to(elsewhere(1)).__dlpack_device__() == (7, 1)


def test_it_is_listed():
    assert [device.name for device in ndl.all_devices()] == list(devices.BACKENDS) and elsewhere() in ndl.all_devices()
    assert "\nelsewhere(): enabled\n" in ndl.show_config()
    assert config.arithmetic(elsewhere(1)) == ["elsewhere(1)", "device 1"]
    assert not elsewhere(2).enabled() and elsewhere(2).reason.endswith("available: there are two such devices")


def test_copies_are_the_device_itself():
    for device in (elsewhere(), elsewhere(1), *ndl.all_devices()):
        assert pickle.loads(pickle.dumps(device)) is copy.deepcopy(device) is device


@pytest.mark.parametrize("name", devices.BACKENDS)
def test_each_backend_is_complete(name):
    """Nothing about it is missing, whether it can be used here or not."""
    device = getattr(ndl, name)()
    assert device.name == name and device.is_host == devices.BACKENDS[name].is_host
    assert name in config._ARITHMETIC and name in nd.__all__ and name in ndl.__all__

"""What all tests share."""

import pytest

from needle.backend_ndarray import all_devices, random


@pytest.fixture(params=[device for device in all_devices() if device.enabled()], ids=repr)
def device(request):
    """Every device that this machine has."""
    return request.param


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for each test, whatever ran before."""
    random.manual_seed(0)
    yield

"""What all tests share."""

import pytest

from tests.devices import devices  # first: it may put a module in place

from needle.backend_ndarray import random


@pytest.fixture(params=devices(), ids=repr)
def device(request):
    """Every device that this machine has, or the emulated one: tests/devices.py."""
    return request.param


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for each test, whatever ran before."""
    random.manual_seed(0)
    yield

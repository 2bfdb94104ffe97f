"""What all tests share."""

import os

import pytest

from tests.devices import devices  # first: it may put a module in place

from needle.backend_ndarray import random

# Tests of what Bazel has built for them: plain pytest (docs/for-students.md) has nothing to give them.
_BUILT = ["kernels/test_backend_cuda.py", "test_wheel.py", "tools/test_develop.py"]
collect_ignore = [] if "TEST_SRCDIR" in os.environ else _BUILT


@pytest.fixture(params=devices(), ids=repr)
def device(request):
    """Every device that this machine has, or the emulated one: tests/devices.py."""
    return request.param


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for each test, whatever ran before."""
    random.manual_seed(0)
    yield

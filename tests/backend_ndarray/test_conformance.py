"""Every kernel of every backend and instruction level against the NumPy reference."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import all_devices, cpu, cpu_numpy
from needle.backend_ndarray.kernel_table import KERNELS
from tests.backend_ndarray.kernel_cases import CASES, Case, Draw, Operand


def targets() -> list[tuple[str, str]]:
    """(device name, instruction level): what there is to hold against the reference on this machine."""
    found = [("cpu", level) for level in cpu().kernels.levels()] if cpu().enabled() else []
    return found + [(d.name, "") for d in all_devices() if d.enabled() and d.name not in ("cpu", "cpu_numpy")]


@pytest.fixture(params=targets(), ids="-".join)
def device(request):
    name, level = request.param
    chosen = next(device for device in all_devices() if device.name == name)
    if level:
        before = chosen.kernels.level()
        chosen.kernels.set_level(level)
        yield chosen
        chosen.kernels.set_level(before)
    else:
        yield chosen


def test_there_is_a_compiled_backend():
    assert cpu().enabled(), cpu().reason


def test_every_kernel_of_the_table_is_tested():
    assert set(CASES) == set(KERNELS)


@pytest.mark.parametrize("module", [d for d in all_devices() if d.enabled()], ids=repr)
def test_every_backend_has_every_kernel(module):
    assert [name for name in KERNELS if not callable(getattr(module.kernels, name, None))] == []


@pytest.mark.parametrize("kernel, dtype", [(kernel, dtype) for kernel, (dtypes, _) in CASES.items() for dtype in dtypes])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_kernel_agrees_with_the_reference(device, kernel, dtype, data):
    case = CASES[kernel][1](Draw(data, st), dtype)
    expected = case.run(kernel, cpu_numpy())
    actual = case.run(kernel, device)
    arrays = [operand for operand in case.operands if isinstance(operand, Operand)]
    for operand, a, e in zip(arrays, actual, expected):
        assert_agrees(operand, a, e, case)


def assert_agrees(operand: Operand, actual: np.ndarray, expected: np.ndarray, case: Case) -> None:
    if not operand.written or case.exact and operand.dtype.kind != "floating":
        np.testing.assert_array_equal(actual, expected)
        return
    # One rounding to the stored dtype, and `scale` roundings to the dtype that is computed in, of the largest number met.
    stored = ml_dtypes.finfo(operand.dtype.numpy)
    computed = np.finfo(np.float64 if operand.dtype == "float64" else np.float32)
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(e[np.isfinite(e)])
    inputs = [np.abs(o.base.astype(np.float64)) for o in case.operands if isinstance(o, Operand) and not o.written]
    largest = max([1.0, *(x[np.isfinite(x)].max(initial=0) for x in inputs if x.size)])
    rtol = 2 * float(stored.eps) + case.scale * float(computed.eps)
    atol = 0 if case.exact else case.scale * float(computed.eps) * largest + float(stored.smallest_subnormal)
    if not case.exact and operand.dtype.itemsize == 2:
        atol += float(stored.eps) * 1e-3 * finite.max(initial=0)
    np.testing.assert_allclose(a, e, rtol=rtol, atol=atol, equal_nan=True)

"""Every kernel of every backend and instruction level against the NumPy reference."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import Device, all_devices, cpu, cpu_numpy
from needle.backend_ndarray.kernel_table import KERNELS
from tests.backend_ndarray.kernel_cases import CASES, Case, Draw, Operand


def on_every_target() -> Iterator[tuple[str, Device]]:
    """Each device but the reference, at each of its instruction levels that this machine has."""
    for device in all_devices():
        if device.enabled() and device is not cpu_numpy():
            levels = device.kernels.levels() if device is cpu() else [""]
            for level in levels:
                if level:
                    device.kernels.set_level(level)
                yield f"{device!r} {level}", device


def test_there_is_a_compiled_backend():
    assert cpu().enabled(), cpu().reason


def test_every_kernel_of_the_table_is_tested():
    assert set(CASES) == set(KERNELS)


@pytest.mark.parametrize("module", [d for d in all_devices() if d.enabled()], ids=repr)
def test_every_backend_has_every_kernel(module):
    assert [name for name in KERNELS if not callable(getattr(module.kernels, name, None))] == []


@pytest.mark.parametrize("kernel, dtype", [(kernel, dtype) for kernel, (dtypes, _) in CASES.items() for dtype in dtypes])
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(data=st.data())
def test_kernel_agrees_with_the_reference(kernel, dtype, data):
    case = CASES[kernel][1](Draw(data, st), dtype)
    expected = case.run(kernel, cpu_numpy())
    arrays = [operand for operand in case.operands if isinstance(operand, Operand)]
    for target, device in on_every_target():
        for operand, a, e in zip(arrays, case.run(kernel, device), expected):
            assert_agrees(operand, a, e, case, target)


def assert_agrees(operand: Operand, actual: np.ndarray, expected: np.ndarray, case: Case, target: str) -> None:
    if not operand.written:
        assert actual.tobytes() == expected.tobytes(), f"{target}: an operand was written to"
        return
    if operand.dtype.kind != "floating":
        np.testing.assert_array_equal(actual, expected, target)
        return
    # One rounding to the stored dtype, and `scale` roundings to the dtype that is computed in, of the largest number met.
    stored = ml_dtypes.finfo(operand.dtype.numpy)
    computed = np.finfo(np.float64 if operand.dtype == "float64" else np.float32)
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    inputs = [np.abs(o.base.astype(np.float64)) for o in case.operands if isinstance(o, Operand) and not o.written]
    largest = max([1.0, *(x[np.isfinite(x)].max(initial=0) for x in inputs)])
    scale = 0 if case.exact else case.scale * float(computed.eps)
    rtol = 2 * float(stored.eps) + scale
    atol = scale * largest + float(stored.smallest_subnormal)
    np.testing.assert_allclose(a, e, rtol=rtol, atol=atol, equal_nan=True, err_msg=target)

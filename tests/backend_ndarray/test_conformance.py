"""Every kernel of every backend, instruction level and provider against the NumPy reference."""

from __future__ import annotations

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import cpu, cpu_numpy, cuda
from needle.backend_ndarray.dtype import bfloat16, float16, float32
from needle.backend_ndarray.kernel_table import KERNELS
from needle.backend_ndarray.kernel_table import Operand as TableOperand
from tests.devices import CUDA_ALONE, EMULATED
from tests.backend_ndarray.kernel_cases import CASES, Case, Draw, Number, Operand
from tests.backend_ndarray.provider_cases import Choice, case_at, choices
from tests.targets import on_every_target


# Calls of each kernel with each dtype. An emulated GPU is slow, and what it runs is checked at each access in CI.
EXAMPLES = int(os.environ.get("NEEDLE_EXAMPLES", 10 if EMULATED else 25))


@pytest.fixture
def calls_of_onednn(request):
    """That oneDNN did some of the calls that it can do: without any the test would pass just as well.

    It does none of other dtypes, of halves what the processor has instructions for, and none without elements. The
    test gets a function that tells whether it did enough.
    """
    kernel, dtype = (request.node.callspec.params[name] for name in ("kernel", "dtype"))
    expects_some = dtype == "float32" and kernel in cpu().kernels.onednn_calls() and not CUDA_ALONE
    before = cpu().kernels.onednn_calls().get(kernel, 0)

    def done() -> int:
        return cpu().kernels.onednn_calls().get(kernel, 0) - before

    yield lambda: done() >= 3 or not expects_some
    print(f"{kernel} {dtype}: oneDNN did {done()} calls, {EXAMPLES} in a round")
    if expects_some:
        assert done() >= 3
    if dtype not in ("float32", "bfloat16", "float16"):
        assert done() == 0


@pytest.fixture
def calls_of_cuda_libraries(request):
    """The same of cuDNN's convolutions, or their stand-in's, which do all floating dtypes and strides, under
    NEEDLE_CUDA_KERNELS=library. Products and pooling are theirs for few of the strides that are tried here.
    """
    kernel, dtype = (request.node.callspec.params[name] for name in ("kernel", "dtype"))
    if not CUDA_ALONE or cuda().kernels.backend.provider() != "library":
        yield
        return
    before = cuda().kernels.backend.library_calls().get(kernel, 0)
    yield
    done = cuda().kernels.backend.library_calls().get(kernel, 0) - before
    print(f"{kernel} {dtype}: the libraries did {done} of {EXAMPLES} calls")
    if kernel.startswith("conv2d"):
        assert done >= 3


def test_there_is_a_compiled_backend():
    assert cpu().enabled(), cpu().reason


@pytest.mark.skipif(CUDA_ALONE, reason="a GPU alone is tested")
def test_there_is_onednn():
    assert cpu().kernels.onednn_status().startswith("oneDNN 3."), cpu().kernels.onednn_status()


def test_every_backend_has_every_kernel(device):
    assert [name for name in KERNELS if not callable(getattr(device.kernels, name, None))] == []


@pytest.mark.usefixtures("calls_of_cuda_libraries")
@pytest.mark.parametrize(
    "kernel, dtype", [(kernel, dtype) for kernel, (dtypes, _) in CASES.items() for dtype in dtypes]
)
def test_kernel_agrees_with_the_reference(kernel, dtype, calls_of_onednn):
    for _ in range(10):  # one round is enough, unless chance has drawn hardly anything for oneDNN
        a_round_agrees(kernel, dtype)
        if calls_of_onednn():
            break


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(data=st.data())
def a_round_agrees(kernel, dtype, data):
    case = CASES[kernel][1](Draw(data, st), dtype)
    assert len(case.operands) == len(KERNELS[kernel].operands)
    assert all(has_role(operand, entry, case) for operand, entry in zip(case.operands, KERNELS[kernel].operands))
    expected = case.run(kernel, cpu_numpy())
    for target, device in on_every_target():
        for operand, a, e in zip(case.arrays(), case.run(kernel, device), expected):
            assert_agrees(operand, a, e, case, target)


def has_role(operand, entry: TableOperand, case: Case) -> bool:
    """Whether an operand of a Case is what the kernel table says. An array in a list may be in another one, too."""
    if isinstance(operand, list):
        others = [item for other in case.operands if isinstance(other, list) and other is not operand for item in other]
        elsewhere = [any(item is other for other in others) for item in operand]
        roles = [is_written(item) == entry.is_written for item in operand]
        return entry.type == "arrays" and all(a or b for a, b in zip(roles, elsewhere))
    if isinstance(operand, (Operand, Number)):
        return entry.type == "array" and entry.is_written == is_written(operand)
    return entry.type == ("instructions" if isinstance(operand, tuple) else type(operand).__name__)


def is_written(operand: Operand | Number) -> bool:
    return isinstance(operand, Operand) and operand.written


def onednn_dtypes() -> list:
    """Those that the processor has instructions for: of others oneDNN has nothing that is fast."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    half_types = {"avx512_bf16": bfloat16, "avx512_fp16": float16}
    return [float32, *(dtype for flag, dtype in half_types.items() if flag in flags)]


# Lines of the table for this level, with the dtypes that they speak of.
CHOSEN = [
    (choice, dtype)
    for choice in choices() if not CUDA_ALONE and choice.level == cpu().kernels.level()
    for dtype in onednn_dtypes() if choice.shape_class != "bfloat16" or dtype is bfloat16
]  # fmt: skip


@pytest.mark.parametrize("choice, dtype", CHOSEN, ids=str)
def test_onednn_agrees_with_the_reference_where_it_is_chosen(choice: Choice, dtype):
    kernels, device, taken = cpu().kernels, cpu(), []

    @settings(
        max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink)
    )
    @given(data=st.data())
    def agrees(data):
        case = case_at(Draw(data, st), choice, dtype)
        expected = case.run(choice.kernel, cpu_numpy())
        for provider in ("auto", "onednn"):
            kernels.set_provider(provider)
            before = kernels.onednn_calls()[choice.kernel]
            actual = case.run(choice.kernel, device)
            if provider == "auto":
                taken.append(kernels.onednn_calls()[choice.kernel] - before)
            for operand, a, e in zip(case.arrays(), actual, expected):
                assert_agrees(operand, a, e, case, f"{choice}, {provider}")

    provider = kernels.provider()
    try:
        agrees()
    finally:
        kernels.set_provider(provider)
    print(f"{choice} {dtype}: oneDNN did {sum(taken)} of {len(taken)} calls")
    if dtype is float32 or choice.shape_class == "bfloat16":
        assert sum(taken) >= 3


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
    inputs = [np.abs(o.base.astype(np.float64)) for o in case.arrays() if not o.written]
    inputs += [np.abs(np.float64(o.value)) for o in case.operands if isinstance(o, Number)]
    largest = max([1.0, *(x[np.isfinite(x)].max(initial=0) for x in inputs)])
    scale = 0 if case.exact else case.scale * float(computed.eps)
    rtol = 2 * float(stored.eps) + scale
    atol = scale * largest + float(stored.smallest_subnormal)
    np.testing.assert_allclose(a, e, rtol=rtol, atol=atol, equal_nan=True, err_msg=target)
    if case.zeros_have_signs:
        zeros = (a == 0) & (e == 0)
        np.testing.assert_array_equal(np.signbit(a[zeros]), np.signbit(e[zeros]), f"{target}: signs of zeros")

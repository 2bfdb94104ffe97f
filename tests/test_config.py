"""What the build says of itself, its memory and its threads."""

import subprocess
import sys

import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray import cpu


def test_show_config_names_every_device():
    text = ndl.show_config()
    for device in ndl.all_devices():
        assert repr(device) in text
        assert device.enabled() or device.reason in text
    assert ndl.__version__ in text and "threads" in text


def test_show_config_says_why_and_what_onednn_did():
    program = """
import numpy as np, needle as ndl
x = ndl.Tensor(np.ones((64, 64)))
ndl.set_num_threads(3)
x @ x
print(ndl.show_config())
"""
    for provider in cpu().kernels.providers():
        settings = {"NEEDLE_CPU_KERNELS": provider, "OMP_NUM_THREADS": "2", "PYTHONPATH": ":".join(sys.path)}
        text = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True).stdout
        assert f"cpu provider: {provider} (NEEDLE_CPU_KERNELS={provider})" in text, text
        assert "cpu threads: 3 (OMP_NUM_THREADS=2)" in text and "(NEEDLE_CPU_LEVEL is not set)" in text
        done = {"native": "none", "onednn": "matmul 1"}
        assert f"calls that oneDNN has done so far: {done.get(provider, '')}" in text
        assert cpu().kernels.onednn_status() in text


def test_memory_is_counted():
    before = ndl.memory_stats(cpu())
    ndl.reset_peak_memory(cpu())
    array = nd.zeros((1 << 20,), device=cpu())
    during = ndl.memory_stats(cpu())
    assert during["current"] - before["current"] == 4 << 20
    assert during["peak"] >= during["current"] and during["reserved"] >= during["current"]
    del array
    after = ndl.memory_stats(cpu())
    assert after["current"] == before["current"] and after["peak"] == during["peak"]


def test_threads_can_be_set():
    before = ndl.get_num_threads()
    ndl.set_num_threads(1)
    assert ndl.get_num_threads() == 1
    ndl.set_num_threads(before)
    with pytest.raises(ValueError):
        ndl.set_num_threads(0)


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_an_instruction_level_can_be_asked_for(level):
    if level not in cpu().kernels.levels():
        pytest.skip(f"this processor has no {level}")
    assert run_with_level(level).stdout.strip() == level


def test_an_unknown_instruction_level_is_one_clear_error():
    result = run_with_level("sse9")
    assert "NEEDLE_CPU_LEVEL" in result.stdout and "'sse9'" in result.stdout and "baseline" in result.stdout


def run_with_level(level):
    program = "from needle import cpu; d = cpu(); print(d.kernels.level() if d.enabled() else d.reason)"
    environment = {"NEEDLE_CPU_LEVEL": level, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

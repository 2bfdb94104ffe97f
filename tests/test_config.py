"""What the build says of itself, its memory and its threads."""

import os
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
    for count in (0, -1, 1025, 10**9, 2**40):
        with pytest.raises(ValueError, match=f"set_num_threads: {count}, expected 1 to 1024"):
            ndl.set_num_threads(count)
    for count in (2**63, -(2**64)):
        with pytest.raises(ValueError, match="set_num_threads: -?9223372036854775[0-9]+, expected 1 to 1024"):
            ndl.set_num_threads(count)
    with pytest.raises(TypeError):
        ndl.set_num_threads(1.5)
    assert ndl.get_num_threads() == before


@pytest.mark.parametrize("provider", ["native", "onednn"])
@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "64"}, 64),
        ({"OMP_NUM_THREADS": "100000", "OMP_THREAD_LIMIT": "8"}, 8),
        ({"OMP_NUM_THREADS": "100000", "OMP_THREAD_LIMIT": "1"}, 1),
        ({"OMP_NUM_THREADS": "64", "OMP_DYNAMIC": "true"}, 64),
        ({"OMP_NUM_THREADS": "0"}, None),
        ({"OMP_NUM_THREADS": "-3"}, None),
        ({"OMP_NUM_THREADS": "abc"}, None),
    ],
)
def test_any_openmp_settings_work(environment, threads, provider):
    """What libgomp cannot read it says, and uses the processors there are."""
    program = """
import needle as ndl
x = ndl.init.ones(300, 300)
print((x @ x).sum().numpy() == 300**3, ndl.get_num_threads())
"""
    environment = {"PYTHONPATH": ":".join(sys.path), "NEEDLE_CPU_KERNELS": provider, **environment}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.split() == ["True", str(threads or len(os.sched_getaffinity(0)))], result.stderr


def test_there_are_no_more_threads_than_onednn_and_the_system_bear():
    """100,000 made oneDNN crash."""
    program = "import needle as ndl; x = ndl.init.ones(9, 9); (x @ x).numpy(); print(ndl.get_num_threads())"
    environment = {"PYTHONPATH": ":".join(sys.path), "NEEDLE_CPU_KERNELS": "onednn", "OMP_NUM_THREADS": "100000"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.split() == ["1024"], result.stderr


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

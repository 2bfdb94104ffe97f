"""The choice between our kernels and oneDNN's, as a user meets it: environment, show_config(), a missing library."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from needle import config
from needle.backend_ndarray import conv, cpu, cpu_numpy, matmul, ndarray, onednn
from needle.errors import DeviceError, ShapeError

kernels = cpu().kernels


@pytest.fixture(autouse=True)
def provider_is_restored():
    before = kernels.provider()
    yield
    kernels.set_provider(before)


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)


def operands(m: int, k: int, n: int):
    generator = np.random.default_rng(0)
    return [ndarray.array(generator.standard_normal(shape, np.float32), device=cpu()) for shape in ((m, k), (k, n))]


def test_provider_can_be_set():
    a, b = operands(64, 64, 64)
    results = {}
    for provider, calls in (("native", 0), ("onednn", 1)):
        kernels.set_provider(provider)
        assert kernels.provider() == provider
        before = kernels.onednn_calls()["matmul"]
        results[provider] = matmul.matmul(a, b).numpy()
        assert kernels.onednn_calls()["matmul"] == before + calls
    np.testing.assert_allclose(results["onednn"], results["native"], rtol=1e-4, atol=1e-4)


def test_auto_leaves_small_products_to_us_and_takes_first_layers_from_onednn():
    kernels.set_provider("auto")
    before = kernels.onednn_calls()
    matmul.matmul(*operands(4, 4, 4))
    images, weight = (ndarray.full(shape, 1.0, "float32", cpu()) for shape in ((64, 32, 32, 3), (3, 3, 3, 64)))
    conv.conv2d(images, weight, 1, 1)
    after = kernels.onednn_calls()
    assert after["matmul"] == before["matmul"]
    if kernels.level() != "baseline":  # of which the table may say anything
        assert after["conv2d"] == before["conv2d"] + 1


def test_auto_takes_products_in_bfloat16_from_onednn_where_the_processor_has_instructions_for_them():
    kernels.set_provider("auto")
    has_instructions = "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    for dtype in ("float32", "bfloat16"):
        a, b = (x.astype(dtype) for x in operands(320, 320, 320))
        before = kernels.onednn_calls()["matmul"]
        matmul.matmul(a, b)
        if kernels.level() == "avx512":  # with float32, ours is as fast at this size
            expected = dtype == "bfloat16" and has_instructions
            assert kernels.onednn_calls()["matmul"] == before + expected, dtype


@pytest.mark.parametrize("k", [1, 2, 5, 33])
def test_an_infinity_stays_one_in_bfloat16(k):
    values = np.ones((12, k), np.float32)
    values[3, -1] = np.inf
    rows = ndarray.array(np.repeat(values, 2, axis=1), dtype="bfloat16", device=cpu())[:, ::2]
    columns = ndarray.array(values, dtype="bfloat16", device=cpu())
    weight = ndarray.full((k, 17), 1, "bfloat16", cpu())
    kernels.set_provider("onednn")
    for x in (rows, columns):
        np.testing.assert_array_equal(matmul.matmul(x, weight).numpy(), values.sum(1, keepdims=True).repeat(17, 1))


def test_images_that_are_not_channels_last_are_right_too():
    """A loader's (N, C, H, W), permuted, is the first layer's operand."""
    kernels.set_provider("onednn")
    generator = np.random.default_rng(0)
    images, weight = (generator.standard_normal(shape, np.float32) for shape in ((4, 3, 9, 9), (3, 3, 3, 8)))
    results = []
    for device in (cpu(), cpu_numpy()):
        x = ndarray.array(images, device=device).permute((0, 2, 3, 1))
        results.append(conv.conv2d(x, ndarray.array(weight, device=device), 2, 1).numpy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


def test_errors_are_ours():
    kernels.set_provider("onednn")
    with pytest.raises(ShapeError, match="matmul: shapes"):
        matmul.matmul(*(ndarray.full(shape, 1.0, "float32", cpu()) for shape in ((2, 3), (4, 5))))


def test_an_unknown_provider_is_one_clear_error():
    with pytest.raises(DeviceError, match="'mkl', expected one of native, onednn, auto"):
        kernels.set_provider("mkl")
    result = run_python("import needle; print(needle.cpu().reason)", NEEDLE_CPU_KERNELS="mkl")
    assert "NEEDLE_CPU_KERNELS" in result.stdout and "'mkl', expected one of native, onednn, auto" in result.stdout
    assert len(result.stdout.splitlines()) == 1 and not result.stderr


@pytest.mark.parametrize("provider", ["native", "onednn", "auto", ""])
def test_environment_chooses_the_provider(provider):
    result = run_python("import needle; print(needle.cpu().kernels.provider())", NEEDLE_CPU_KERNELS=provider)
    assert result.stdout.strip() == (provider or "auto"), result.stderr


def test_a_forked_process_computes_with_it_too():
    """On one thread: the parent's threads do not survive the fork, and waiting for them would never end."""
    kernels.set_provider("onednn")
    a, b = operands(256, 256, 256)
    expected = matmul.matmul(a, b).numpy()  # starts the threads that the child will not have
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        same = np.allclose(matmul.matmul(a, b).numpy(), expected, rtol=1e-4, atol=1e-4)
        os._exit(0 if same and kernels.onednn_calls()["matmul"] >= 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


MAPS = "any('libdnnl' in line for line in open('/proc/self/maps'))"


def test_nothing_is_loaded_before_it_is_wanted():
    program = f"""
import needle as ndl
loaded = lambda: {MAPS}
x = ndl.Tensor([[1.0, 2.0], [3.0, 4.0]])
(x @ x).sum().numpy()
print(loaded())
ndl.cpu().kernels.set_provider("onednn")
(x @ x).numpy()
print(loaded())
"""
    assert run_python(program).stdout.split() == ["False", "True"]
    assert run_python(program, NEEDLE_CPU_KERNELS="native").stdout.split() == ["False", "True"]


def test_show_config_names_the_library_and_the_choice():
    text = config.show_config()
    assert f"cpu provider: {kernels.provider()} (" in text
    assert kernels.onednn_status().startswith("oneDNN 3.") and kernels.onednn_status() in text


@pytest.mark.parametrize("provider", ["onednn", "auto"])
def test_without_the_library_our_kernels_do_everything_and_show_config_says_why(provider):
    program = """
import numpy as np
import needle as ndl
from needle.backend_ndarray import onednn
onednn.library_paths = lambda: ["/no/such/folder/libdnnl.so.3"]
x = ndl.Tensor(np.ones((512, 512), np.float32))
print((x @ x).numpy().sum() == 512.0**3, sum(ndl.cpu().kernels.onednn_calls().values()), ndl.cpu().kernels.providers())
print(ndl.show_config())
"""
    result = run_python(program, NEEDLE_CPU_KERNELS=provider)
    assert result.stdout.startswith("True 0 ['native']\n"), result.stderr
    assert f"cpu provider: {provider} (NEEDLE_CPU_KERNELS={provider})" in result.stdout
    assert "every kernel is Needle's own" in result.stdout and "no oneDNN: /no/such/folder/" in result.stdout


def test_another_library_of_that_name_is_refused(tmp_path):
    (tmp_path / "libdnnl.so.3").write_bytes(b"not a library")
    program = f"""
import needle as ndl
from needle.backend_ndarray import onednn
onednn.library_paths = lambda: [{str(tmp_path / "libdnnl.so.3")!r}, "libm.so.6"]
print(ndl.cpu().kernels.onednn_status())
"""
    status = run_python(program).stdout
    assert "libdnnl.so.3" in status and "libm.so.6 has no function dnnl_version" in status


def test_the_wheel_of_an_environment_is_found(tmp_path, monkeypatch):
    library = tmp_path / "lib" / "libdnnl.so.3"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(onednn.sysconfig, "get_path", lambda name: str(tmp_path))
    assert str(library) in onednn.library_paths()
    assert onednn.library_paths()[-1] == "libdnnl.so.3"  # the system's loader comes last

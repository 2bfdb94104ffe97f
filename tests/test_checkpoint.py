"""Checkpoints: what comes back, what is said of a damaged file, and that a kill or a full disk loses nothing."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from needle import nn, optim
from needle.autograd import Tensor
from needle.backend_ndarray import DType, array, cpu, cpu_numpy, random
from needle.backend_ndarray.dtype import DTYPES
from needle.checkpoint import (
    load,
    load_state,
    restore_training_state,
    save,
    save_state,
    training_state,
    write_atomically,
)
from needle.errors import CheckpointError, DTypeError, NeedleError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


# What comes back


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_dtype_come_back_bit_for_bit(path, dtype: DType):
    values = np.random.randn(3, 4) * 100
    arrays = {
        "matrix": values.astype(dtype.numpy),
        "transposed": values.astype(dtype.numpy).T,
        "scalar": np.array(1.5).astype(dtype.numpy),
        "empty": np.zeros((2, 0, 3), dtype.numpy),
    }
    save(path, arrays)
    loaded, metadata = load(path)
    assert metadata is None
    assert loaded.keys() == arrays.keys()
    for name, expected in arrays.items():
        assert loaded[name].dtype == expected.dtype
        assert loaded[name].shape == expected.shape
        assert loaded[name].tobytes() == expected.tobytes()


def test_arrays_of_every_kind_and_metadata_come_back(path, device):
    metadata = {"epochs": 3, "nested": [1, 2.5, None, {"name": "Grüße"}], "tenth": 0.1}
    arrays = {"ndarray": array([[1.0, 2.0]], device=device), "tensor": Tensor([3, 4], device=device), "list": [5, 6]}
    save(path, arrays, metadata)
    loaded, loaded_metadata = load(path)
    assert loaded_metadata == metadata
    assert {name: values.tolist() for name, values in loaded.items()} == {
        "ndarray": [[1, 2]], "tensor": [3, 4], "list": [5, 6],
    }  # fmt: skip
    loaded["ndarray"] += 1  # what is loaded may be written to


def test_arrays_of_the_other_byte_order_come_back(path):
    save(path, {"big": np.arange(3, dtype=">i4"), "little": np.arange(3, dtype="<i4")})
    loaded, _ = load(path)
    assert loaded["big"].tolist() == loaded["little"].tolist() == [0, 1, 2]


def test_nan_and_infinity_come_back(path):
    values = np.array([np.nan, np.inf, -0.0, 5e-324])
    save(path, {"values": values}, {"loss": float("nan")})
    loaded, metadata = load(path)
    assert loaded["values"].tobytes() == values.tobytes()
    assert np.isnan(metadata["loss"])


def test_the_same_content_gives_the_same_file(path, tmp_path):
    arrays = {name: np.full(3, i, np.float32) for i, name in enumerate("zyxabc")}
    save(path, arrays, {"b": 1, "a": 2})
    save(tmp_path / "other", arrays, {"b": 1, "a": 2})
    assert path.read_bytes() == (tmp_path / "other").read_bytes()


def test_any_safetensors_reader_can_read_the_arrays(path):
    save(path, {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"zeros": "0" * 64})
    assert safetensors.numpy.load_file(path)["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_metadata_value_that_looks_like_the_empty_checksum_does_not_matter(path):
    save(path, {"0" * 64: np.ones(2)}, {"sha256": "0" * 64})
    arrays, metadata = load(path)
    assert metadata == {"sha256": "0" * 64} and list(arrays) == ["0" * 64]


@pytest.mark.parametrize("values", [np.array([object()]), np.array(["text"]), np.array([1j])])
def test_arrays_that_are_no_numbers_are_refused_before_anything_is_written(path, values):
    with pytest.raises(DTypeError, match="checkpoint: values of dtype"):
        save(path, {"values": values})
    assert not path.exists()


def test_metadata_that_are_not_json_are_refused_before_anything_is_written(path):
    with pytest.raises(TypeError):
        save(path, {}, {"model": object()})
    assert not path.exists()


# Damaged and foreign files


def checkpoint_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint")
        save(file, {"w": np.arange(5, dtype=np.float32), "b": np.ones(2, ml_dtypes.bfloat16)}, {"epoch": 3})
        return file.read_bytes()


WHOLE = checkpoint_bytes()


def test_a_file_cut_at_any_byte_is_truncated(path):
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(CheckpointError, match=f"{path}: truncated: {length} bytes"):
            load(path)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_file_with_any_byte_altered_is_refused(tmp_path_factory, position, difference):
    content = bytearray(WHOLE)
    content[position] ^= difference
    path = tmp_path_factory.mktemp("altered") / "checkpoint"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load(path)


def test_altered_content_fails_the_checksum(path):
    path.write_bytes(WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="altered: its content does not match its checksum"):
        load(path)


def test_altered_metadata_fail_the_checksum(path):
    assert WHOLE.count(b'\\"epoch\\": 3') == 1
    path.write_bytes(WHOLE.replace(b'\\"epoch\\": 3', b'\\"epoch\\": 4'))
    with pytest.raises(CheckpointError, match="altered: its content does not match its checksum"):
        load(path)


def test_a_file_that_something_was_appended_to_is_altered(path):
    path.write_bytes(WHOLE + b"more")
    with pytest.raises(CheckpointError, match="altered"):
        load(path)


@given(st.binary(max_size=300))
def test_other_files_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("other") / "checkpoint"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load(path)


KEYS = st.sampled_from(["__metadata__", "needle", "w", "data_offsets"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)


@given(JSON)
def test_other_json_headers_are_refused(tmp_path_factory, header):
    text = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("json") / "checkpoint"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match=str(path)):
        load(path)


def test_a_pickle_is_not_run(path, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError, match="not a checkpoint: expected a safetensors file"):
        load(path)
    assert not (tmp_path / "harm").exists()


def test_another_programs_safetensors_file(path):
    safetensors.numpy.save_file({"weight": np.ones(3)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of Needle's, but another safetensors file"):
        load(path)


def test_a_later_version(path):
    path.write_bytes(WHOLE.replace(b'\\"version\\": 1', b'\\"version\\": 2'))
    with pytest.raises(CheckpointError, match="a checkpoint of version 2: this Needle reads version 1"):
        load(path)


def test_a_missing_file_and_a_folder(path, tmp_path):
    with pytest.raises(CheckpointError, match=f"{path}: cannot be read: No such file"):
        load(path)
    with pytest.raises(CheckpointError, match=f"{tmp_path}: cannot be read: Is a directory"):
        load(tmp_path)


# Writing


def test_the_temporary_file_is_gone_and_permissions_are_the_users(path, tmp_path):
    mask = os.umask(0o027)
    try:
        save(path, {"w": np.ones(2)})
    finally:
        os.umask(mask)
    assert os.listdir(tmp_path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere" / "real")
    save(path, {"w": np.ones(2)})
    assert path.is_symlink()
    assert load(tmp_path / "elsewhere" / "real")[0]["w"].tolist() == [1, 1]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_file(monkeypatch, path, tmp_path, failing):
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path) and caught.value.errno == 28
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def run_python(program: str, *args, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", program, *map(str, args)], env=environment, text=True, **options)


def test_no_room_for_the_new_file_leaves_the_old_one_whole(path, tmp_path):
    save(path, {"w": np.ones(10)}, "old")
    program = """
import sys, numpy as np, needle.checkpoint
try:
    needle.checkpoint.save(sys.argv[1], {"w": np.ones(1 << 20)}, "new")
except OSError as error:
    print(error)
"""
    limit = 1 << 20  # bytes that a file of the program may have
    process = run_python(program, path, stdout=subprocess.PIPE,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))  # fmt: skip
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output == f"[Errno 27] File too large: '{path}'\n"
    assert load(path)[1] == "old"
    assert os.listdir(tmp_path) == [path.name]


def test_a_kill_at_any_moment_leaves_a_whole_file(path):
    """A program writes checkpoint after checkpoint, each larger than a page and consistent in itself, and is killed."""
    program = """
import itertools, sys, numpy as np, needle.checkpoint
for i in itertools.count():
    needle.checkpoint.save(sys.argv[1], {"w": np.full(100_000 + i, i)}, i)
    print(i, flush=True)
"""
    seen = set()
    for attempt in range(6):
        process = run_python(program, path, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.013 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        arrays, number = load(path)
        assert arrays["w"].tolist() == [number] * (100_000 + number)
        seen.add(number)
    assert len(seen) > 1


# States


def test_states_come_back(path):
    state = {
        "model": {"0.weight": np.ones((2, 2), np.float32), "0.bias": np.zeros(2)},
        "history": [{"epoch": 1, "loss": np.float64(0.1), "count": np.int64(3)}, [np.arange(3)]],
        "array": {"dict": "keys that the file's own layout has too", "array": np.ones(1)},
        "pair": (1, True),
        "none": None,
    }
    save_state(path, state)
    loaded = load_state(path)
    assert loaded["model"]["0.weight"].tolist() == [[1, 1], [1, 1]]
    assert loaded["history"][0] == {"epoch": 1, "loss": 0.1, "count": 3}
    assert loaded["history"][1][0].tolist() == [0, 1, 2]
    assert loaded["array"]["dict"].startswith("keys") and loaded["array"]["array"].tolist() == [1]
    assert loaded["pair"] == [1, True] and loaded["none"] is None


def test_states_that_could_not_come_back_are_refused(path):
    with pytest.raises(TypeError, match="a key 0 in model: expected strings"):
        save_state(path, {"model": {0: np.ones(2)}})
    with pytest.raises(ValueError, match="two arrays by the name of a/b"):
        save_state(path, {"a/b": np.ones(2), "a": {"b": np.ones(2)}})
    assert not path.exists()


class Classifier(nn.Module):
    def __init__(self, device):
        self.layers = nn.Sequential(
            nn.Linear(6, 8, device=device), nn.BatchNorm1d(8, device=device), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(8, 3, device=device),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


OPTIMIZERS = {
    "adam": lambda params: optim.Adam(params, lr=0.01, weight_decay=0.01),
    "adamw": lambda params: optim.AdamW(params, lr=0.01),
    "sgd": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0, nesterov=True),
}


def new_run(device, optimizer):
    model = Classifier(device)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    return model, optimizer, optim.CosineAnnealingLR(optimizer, T_max=12)


def train(model, optimizer, schedule, steps) -> list[float]:
    losses = []
    for _ in range(steps):
        x = Tensor(np.random.randn(16, 6), device=optimizer.params[0].device, requires_grad=False)
        y = Tensor(np.random.randint(3, size=16), device=x.device, requires_grad=False)
        loss = nn.SoftmaxLoss()(model(x), y)
        optimizer.reset_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_bit_for_bit(path, device, optimizer):
    """Weights, statistics, moments, learning rate, and NumPy's and the device's random numbers all come back."""
    random.manual_seed(3)
    np.random.randn()  # NumPy keeps every second normal number: the state has one in store
    run = new_run(device, optimizer)
    train(*run, 5)
    save_state(path, training_state(*run))
    expected_losses = train(*run, 5)
    expected = run[0].state_dict()

    random.manual_seed(99)
    run = new_run(device, optimizer)
    train(*run, 2)
    restore_training_state(load_state(path), *run)
    assert train(*run, 5) == expected_losses
    for name, values in run[0].state_dict().items():
        assert values.tobytes() == expected[name].tobytes(), name


def test_a_state_of_something_else(path, device):
    run = new_run(device, "adam")
    save_state(path, training_state(*run))
    state = load_state(path)
    with pytest.raises(NeedleError, match="load_state_dict"):
        restore_training_state(state, nn.Linear(2, 2, device=device))
    with pytest.raises(CheckpointError, match="a training state without optimizer, schedule"):
        restore_training_state(training_state(run[0]), *run)


@pytest.fixture
def kernels():
    """The CPU's kernels, whose settings are put back."""
    kernels = cpu().kernels
    threads, provider, level = kernels.get_num_threads(), kernels.provider(), kernels.level()
    yield kernels
    kernels.set_num_threads(threads)
    kernels.set_provider(provider)
    kernels.set_level(level)


def notices(path, run) -> list[str]:
    """What is said when the run in the file is restored."""
    said = []
    restore_training_state(load_state(path), *run, notice=said.append)
    return said


@pytest.mark.parametrize("provider", ["onednn", "auto"])
def test_another_number_of_threads_is_said_where_it_matters(path, kernels, provider):
    run = new_run(cpu(), "sgd")
    kernels.set_provider(provider)
    kernels.set_num_threads(2)
    save_state(path, training_state(*run))
    assert notices(path, run) == []
    kernels.set_num_threads(3)
    if "onednn" in kernels.providers():
        line = "the checkpoint is of a run with threads 2; this one is with threads 3: the last bits"
        assert notices(path, run) == [f"{line} of its results may differ"]
        with pytest.warns(UserWarning, match=line):
            restore_training_state(load_state(path), *run)
    kernels.set_provider("native")
    save_state(path, training_state(*run))
    kernels.set_num_threads(2)
    assert notices(path, run) == []


def test_other_kernels_are_said(path, kernels):
    run = new_run(cpu(), "sgd")
    kernels.set_provider("auto")
    save_state(path, training_state(*run))
    if "onednn" in kernels.providers():
        kernels.set_provider("native")
        (line,) = notices(path, run)
        assert "auto kernels, oneDNN" in line and "; this one is with native kernels: the last bits" in line
        kernels.set_provider("auto")
    first, last = kernels.levels()[0], kernels.levels()[-1]
    kernels.set_level(first)
    assert notices(path, run) == ([] if first == last else [
        f"the checkpoint is of a run with level {last}; this one is with level {first}: "
        "the last bits of its results may differ"
    ])  # fmt: skip
    run[0].to(cpu_numpy())
    (line,) = notices(path, run)
    assert "of a run with cpu(), level" in line and "this one is with cpu_numpy(), NumPy" in line


def test_a_state_that_does_not_say_what_it_was_computed_with(path):
    run = new_run(cpu(), "sgd")
    state = training_state(*run)
    del state["arithmetic"]
    save_state(path, state)
    assert notices(path, run) == []

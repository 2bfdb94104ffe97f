"""Checkpoints: the state of a training run in one file, which is written atomically and runs no code when read.

    save_state("run/checkpoint.safetensors", {**training_state(model, optimizer), "epoch": 3})
    state = load_state("run/checkpoint.safetensors")
    restore_training_state(state, model, optimizer)

The file is a safetensors file (https://github.com/huggingface/safetensors): the arrays, and in its metadata, under
"needle", a JSON object of

    sha256     of all bytes of the file, with 64 zeros where this value stands
    version    of this layout, 1
    metadata   the JSON value that `save` was given

A restored training run continues as if it had not stopped: the state has the parameters and buffers, the optimizer's
moments, the schedule's position, the loss scaler's scale, and the position of every random number generator. With the
same kernels it continues bit for bit, see `arithmetic` in config.py. The state also records which kernels were used,
and a difference is reported.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import random as device_random
from needle.config import arithmetic
from needle.errors import CheckpointError, DTypeError
from needle.typing import NumPyArray

if TYPE_CHECKING:
    from needle.amp import GradScaler
    from needle.nn import Module
    from needle.optim import Optimizer, Schedule

__all__ = ["load", "load_state", "restore_training_state", "save", "save_state", "training_state", "write_atomically"]

VERSION = 1
_NO_DIGEST = "0" * 64
_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip
_DTYPE_NAMES = [np.dtype(dtype).name for dtype in _DTYPES.values()]

Array = NumPyArray | NDArray | Tensor
FilePath = str | os.PathLike[str]


def save(path: FilePath, arrays: Mapping[str, Array], metadata: Any = None) -> None:
    """Writes named arrays, of Needle's dtypes or NumPy's integer dtypes, and a JSON value; see `write_atomically`."""
    host_arrays = {}
    for name, array in arrays.items():
        values = array.numpy() if isinstance(array, (NDArray, Tensor)) else np.asarray(array)
        if values.dtype.name not in _DTYPE_NAMES:
            raise DTypeError(f"checkpoint: {name} of dtype {values.dtype}: expected one of {', '.join(_DTYPE_NAMES)}")
        host_arrays[name] = np.asarray(values, order="C")
    try:
        description = json.dumps({"sha256": _NO_DIGEST, "version": VERSION, "metadata": metadata})
    except (TypeError, ValueError, RecursionError) as error:
        raise DTypeError(f"checkpoint: {error}: expected arrays, numbers, text, lists and dicts") from None
    content = bytearray(safetensors.numpy.save(host_arrays, {"needle": description}))
    # Metadata come first in a safetensors file, and the digest first in ours, so these zeros are the digest's.
    position = content.index(_NO_DIGEST.encode())
    content[position : position + len(_NO_DIGEST)] = hashlib.sha256(content).hexdigest().encode()
    write_atomically(path, content)


def load(path: FilePath) -> tuple[dict[str, NumPyArray], Any]:
    """The arrays and the metadata that `save` wrote.

    Raises CheckpointError, naming the file and the problem, if it is missing, truncated, altered or not a checkpoint of
    Needle. Nothing in it is used before its checksum has been verified.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    header_end, description = _read_header(path, content)
    digest = hashlib.sha256(content[:header_end].replace(description["sha256"].encode(), _NO_DIGEST.encode(), 1))
    digest.update(memoryview(content)[header_end:])
    if digest.hexdigest() != description["sha256"]:
        raise CheckpointError(f"{path}: altered: its content does not match its checksum")
    arrays = {
        name: np.frombuffer(bytearray(entry["data"]), _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in safetensors.deserialize(content)
    }
    return arrays, description["metadata"]


def _read_header(path: FilePath, content: bytes) -> tuple[int, dict[str, Any]]:
    """Where the header ends and the arrays begin, and the object that `save` put under "needle"."""
    if len(content) < 8:
        raise CheckpointError(f"{path}: truncated: {len(content)} bytes, not even a header")
    header_end = 8 + int.from_bytes(content[:8], "little")
    if content[8:9] not in (b"{", b""):
        raise CheckpointError(f"{path}: not a checkpoint: expected a safetensors file")
    if header_end > len(content):
        raise CheckpointError(f"{path}: truncated: {len(content)} bytes, the header alone takes {header_end}")
    try:
        header = json.loads(content[8:header_end])
        metadata = header.pop("__metadata__", {})
        end = header_end + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if "needle" not in metadata:
            raise CheckpointError(f"{path}: not a checkpoint of Needle's, but another safetensors file")
        description = json.loads(metadata["needle"])
        version, _, _ = description["version"], description["sha256"].encode(), description["metadata"]
    except CheckpointError:
        raise
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise CheckpointError(f"{path}: altered: its header cannot be understood") from None
    if version != VERSION:
        raise CheckpointError(f"{path}: a checkpoint of version {version}: this Needle reads version {VERSION}")
    if end > len(content):
        raise CheckpointError(f"{path}: truncated: {len(content)} bytes, expected {end}")
    return header_end, description


def write_atomically(path: FilePath, content: bytes | bytearray) -> None:
    """Writes a file atomically: whatever happens meanwhile, its name refers to the complete old or new file.

    The content goes to a temporary file in the same folder, which is flushed to disk and then renamed. If that fails,
    as on a full disk, the OSError names `path`, and the temporary file is removed.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise type(error)(error.errno, error.strerror, path) from None
        raise


def _flush_folder(folder: str) -> None:
    """Makes a rename in the folder durable; a file system that cannot flush folders does so by itself."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


# States: nested dicts and lists, with string keys, of arrays and JSON values


def save_state(path: FilePath, state: Any) -> None:
    """Saves a state with `save`. The name of an array is the path of keys to it, such as "model/linear.weight"."""
    arrays: dict[str, Array] = {}
    save(path, arrays, _take_arrays(state, "", arrays))


def load_state(path: FilePath) -> Any:
    """The state that `save_state` wrote, with NumPy arrays, and lists for tuples; raises the errors of `load`."""
    return _put_arrays(*load(path))


def _take_arrays(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """The state with each array moved into `arrays` and replaced by {"array": its name}."""
    if isinstance(value, (np.ndarray, NDArray, Tensor)):
        if name in arrays:
            raise ValueError(f"checkpoint: two arrays by the name of {name}")
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"checkpoint: a key {key!r} in {name or 'the state'}: expected strings")
        return {"dict": {key: _take_arrays(entry, f"{name}/{key}".lstrip("/"), arrays) for key, entry in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_take_arrays(entry, f"{name}/{index}".lstrip("/"), arrays) for index, entry in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _put_arrays(arrays: Mapping[str, NumPyArray], value: Any) -> Any:
    """The inverse of `_take_arrays`."""
    if isinstance(value, list):
        return [_put_arrays(arrays, entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {key: _put_arrays(arrays, entry) for key, entry in value["dict"].items()}


def training_state(
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    scaler: GradScaler | None = None,
) -> dict[str, Any]:
    """Everything needed to resume training: the `state_dict()` of each part, and the random generators' positions.

    Under "arithmetic" it also records what determines the last bits of the results on the model's devices.
    """
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    state = {name: part.state_dict() for name, part in parts.items() if part is not None}
    random = {"numpy_random": np.random.get_state(legacy=False), "device_random": device_random.get_state()}
    return state | random | {"arithmetic": _arithmetic_of(model)}


def restore_training_state(
    state: Mapping[str, Any],
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    scaler: GradScaler | None = None,
    *,
    notice: Callable[[str], None] = warnings.warn,
) -> None:
    """Restores the result of `training_state`. Raises CheckpointError if it belongs to something else.

    If training may continue with different bits than the original run, `notice` gets one line that says why.
    """
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    present = {name: part for name, part in parts.items() if part is not None}
    missing = [name for name in (*present, "numpy_random", "device_random") if name not in state]
    if missing:
        raise CheckpointError(f"checkpoint: a training state without {', '.join(missing)}")
    for name, part in present.items():
        part.load_state_dict(state[name])
    np.random.set_state(state["numpy_random"])
    device_random.set_state(tuple(state["device_random"]))
    here = _arithmetic_of(model)
    there = state.get("arithmetic", here)
    was, now = (", ".join(fact for fact in a if fact not in b) for a, b in ((there, here), (here, there)))
    if was or now:
        notice(
            f"the checkpoint is of a run with {was}; this one is with {now}: the last bits of its results may differ"
        )


def _arithmetic_of(model: Module) -> list[str]:
    """`arithmetic` of the devices that the model is on."""
    devices = dict.fromkeys(parameter.device for parameter in model.parameters())
    return [fact for device in devices for fact in arithmetic(device)]

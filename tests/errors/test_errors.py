"""Functions given what does not fit raise errors of Needle's own, which say where and what; nothing comes from inside.

NEEDLE_ERROR_CALLS=1000000 says how many calls of each table and device are tried; seeds are numbers of calls.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import traceback

import numpy as np
import pytest

import needle as ndl
from needle.errors import NeedleError
from tests.errors.array_calls import ARRAYS, OPS, TENSORS
from tests.errors.calls import Call
from tests.errors.training_calls import DATA, LAYERS, TRAINING

_CALLS = int(os.environ.get("NEEDLE_ERROR_CALLS", "600"))
_FIRST = int(os.environ.get("NEEDLE_ERROR_FIRST", "0"))
_TABLES = {"ops": OPS, "tensors": TENSORS, "arrays": ARRAYS, "layers": LAYERS, "training": TRAINING, "data": DATA}
_LONGEST = 300  # characters of a message
_OF_SIGNATURES = re.compile(r"\w\(\) (takes|missing|got an unexpected|got multiple)")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def settings():
    """What the calls may change is put back."""
    threads = ndl.get_num_threads()
    yield
    ndl.set_num_threads(threads)
    ndl.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("table", _TABLES)
def test_the_arguments_of_the_tables_fit(table, device):
    for call in _TABLES[table]:
        call.run(device)


@pytest.mark.parametrize("table", _TABLES)
def test_nothing_comes_from_inside(table, device):
    faults: dict[str, str] = {}
    for number in range(_FIRST, _FIRST + _CALLS):
        rnd = random.Random(number)
        np.random.seed(number % 2**32)
        call = rnd.choice(_TABLES[table])
        function, arguments, keywords = call.spoiled(rnd, device)
        mode = rnd.choice([contextlib.nullcontext, contextlib.nullcontext, ndl.no_grad, ndl.autocast])
        try:
            with mode():
                function(*arguments, **keywords)
        except Exception as error:
            if fault := _fault(call, error):
                kind = f"{call.names[0]}: {type(error).__name__}: {str(error)[:80]}"
                faults.setdefault(kind, f"{fault}, call {number}: {_shown(arguments, keywords)}: {str(error)[:400]!r}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(list(faults.values())[:60])


def _fault(call: Call, error: Exception) -> str | None:
    """What is wrong with an error, None if nothing is."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/errors/" not in frame.filename]
    if isinstance(error, TypeError) and (not frames or _OF_SIGNATURES.search(str(error))):
        return None  # Python's own: of an operator that has no meaning, or of a call with arguments too many or few
    if not isinstance(error, (NeedleError, TypeError, ValueError, IndexError, BufferError, NotImplementedError)):
        return f"an error of another kind, {type(error).__name__}"
    is_raised = frames and frames[-1].line.lstrip().startswith("raise ")
    if not (is_raised and "/needle/" in frames[-1].filename or isinstance(error, NeedleError)):
        return f"an error from inside, {frames[-1].filename if frames else ''}:{frames[-1].lineno if frames else ''}"
    if len(str(error)) > _LONGEST:
        return f"a message of {len(str(error))} characters"
    if isinstance(error, MemoryError):
        return None  # no argument's fault
    if not any(_plain(name) in _plain(str(error)) for name in call.names):
        return f"a message without {' or '.join(call.names)}"
    return None


def _plain(name: str) -> str:
    """max_pool2d and MaxPool2d alike."""
    return name.replace("_", "").lower()


def _shown(arguments: list, keywords: dict) -> str:
    return f"{arguments} {keywords}"[:200].replace("\n", " ")

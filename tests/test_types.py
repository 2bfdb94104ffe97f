"""The types of needle/: mypy finds nothing wrong in the package, and what a user writes has the types that it should."""

from __future__ import annotations

import re
from pathlib import Path

import mypy.api
import pytest

from needle.backend_ndarray import Device, array_methods, creation
from needle.ops import tensor_methods
from tests import typed_program

ROOT = Path(__file__).parents[1]

# Each line is wrong in the way that mypy calls by the name behind it.
WRONG = """
import needle as ndl
from needle import nn
x = ndl.Tensor([1.0])
x + "1"  # operator
x.sum(axes="0")  # arg-type
x.reshape(1.5)  # arg-type
ndl.Tensor(None)  # arg-type
ndl.exp(x, 2)  # call-arg
x.shape = (1,)  # misc
nn.Linear(3, "4")  # arg-type
nn.Linear(3, 4)("x")  # arg-type
nn.Linear(3, 4)(x, x)  # call-arg
nn.Sequential(nn.LSTM(3, 4))  # arg-type
x.no_such_method()  # attr-defined
def unannotated(): return x  # no-untyped-def
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Runs mypy as mypy.ini says, of this Python and its path: (what it says, its status). Each call knows the last."""
    options = [f"--config-file={ROOT / 'mypy.ini'}", f"--cache-dir={tmp_path_factory.mktemp('mypy')}"]

    def check(*arguments: str) -> tuple[str, int]:
        output, errors, status = mypy.api.run([*options, *arguments])
        assert not errors
        return output, status

    return check


def test_the_package_and_a_program_that_uses_it_are_well_typed(check):
    output, status = check("--package=needle", "--module=tests.typed_program")
    assert status == 0, output
    files = [path for pattern in ("*.py", "*.pyi") for path in (ROOT / "needle").rglob(pattern)]
    assert output == f"Success: no issues found in {len(files) + 1} source files\n"


def test_the_program_runs():
    typed_program.main()


def test_what_is_added_to_a_class_is_declared_in_it(check, tmp_path):
    """Those are the methods that other modules add when the package is imported, for it to have no import circles."""
    of_devices = [
        name for name, method in vars(Device).items() if getattr(method, "__module__", "") == creation.__name__
    ]
    added = {"Tensor": tensor_methods.METHODS, "NDArray": array_methods.METHODS, "Device": of_devices}
    program = tmp_path / "added.py"
    uses = [f"{kind}.{name}" for kind, names in added.items() for name in names if not name.startswith("__array_")]
    assert len(uses) > 80
    program.write_text("\n".join(["from needle import Device, NDArray, Tensor", *uses]))
    output, status = check(str(program))
    assert status == 0, output


def test_what_is_wrong_is_found(check, tmp_path):
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    output, _ = check(str(program))
    found = re.findall(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]$", output, flags=re.MULTILINE)
    lines = enumerate(WRONG.splitlines(), 1)
    assert found == [(str(number), code) for number, line in lines if (code := line.partition("  # ")[2])], output

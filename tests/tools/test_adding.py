"""The files that an addition touches are those that CONTRIBUTING.md and docs/for-students.md name.

It looks into the checkout itself, which Bazel's sandbox lets it read, and so runs each time (the tag `external`).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import needle
from tests.tools.documents import CHECKOUT, hunks

CONTRIBUTING = (CHECKOUT / "CONTRIBUTING.md").read_text()
FOR_STUDENTS = (CHECKOUT / "docs" / "for-students.md").read_text()

# How the sources spell the dtypes.
DTYPES = [
    r"\b(float32|float)\b", r"\b(float64|double)\b", r"\b[fF]loat16\b", r"\bb[fF]loat16|BFloat16\b",
    r"\bint8(_t)?\b", r"\buint8(_t)?\b", r"\bint32(_t)?\b", r"\bint64(_t)?\b", r"\bbool(_|ean)?\b",
]  # fmt: skip


def touched(addition: str) -> list[str]:
    """The files that the table of CONTRIBUTING.md gives for an addition, sorted. It has to count them."""
    (row,) = re.findall(rf"^\| {addition} \| (\d+) files: (.*) \|$", CONTRIBUTING, re.MULTILINE)
    files = re.findall(r"`([\w/.-]+)`", row[1])
    assert len(files) == int(row[0])
    return sorted(files)


def sources_that_name(*patterns: str) -> list[str]:
    """The sources of needle and kernels, and the tables of calls for tests, in which every pattern is found."""
    paths = [path for folder in ("needle", "kernels") for path in (CHECKOUT / folder).rglob("*")]
    paths += [CHECKOUT / "tests/backend_ndarray/kernel_cases.py", CHECKOUT / "tests/ops/gradient_cases.py"]
    paths += [CHECKOUT / "tests/amp/test_precision.py", CHECKOUT / "docs/mixed-precision.md"]
    sources = [path for path in paths if path.suffix in (".py", ".h", ".cc", ".cu", ".md")]
    return sorted(
        str(path.relative_to(CHECKOUT))
        for path in sources
        if all(re.search(pattern, path.read_text()) for pattern in patterns)
    )


def test_an_element_wise_operation():
    files = {file for file, _, _ in hunks(FOR_STUDENTS)}
    assert len(files) == 7
    for file in files:  # the table above names them
        assert f"`{file}`" in FOR_STUDENTS


def test_a_fused_kernel():
    """By the example of layer_norm: all that names it but the layer, which has a row of its own."""
    assert touched("a fused kernel, such as `layer_norm`") == [
        file for file in sources_that_name(r"\blayer_norm\b") if not file.startswith("needle/nn/")
    ]


def test_a_dtype():
    """What names all of them has to name a new one."""
    assert touched("a dtype") == sources_that_name(*DTYPES)


def test_a_program():
    """One file, its test and its documentation: the BUILD files name none."""
    shared = re.search(r"SHARED = \[(.*?)\]", (CHECKOUT / "experiments" / "BUILD.bazel").read_text(), re.DOTALL)[1]
    programs = {path.stem for path in (CHECKOUT / "experiments").glob("*.py") if f'"{path.name}"' not in shared}
    assert len(programs) >= 3
    for program in programs:
        assert (CHECKOUT / "tests" / "experiments" / f"test_{program}.py").is_file()
        assert f"//experiments:{program} " in (CHECKOUT / "docs" / "experiments.md").read_text()
        for folder in ("experiments", "tests/experiments"):
            assert program not in (CHECKOUT / folder / "BUILD.bazel").read_text()


def test_a_layer(tmp_path):
    """The change in CONTRIBUTING.md, made in a copy: its own test passes there, and finds nothing without it."""
    changes = list(hunks(CONTRIBUTING))
    assert {file for file, _, _ in changes} == set(touched("a layer, such as `SiLU`"))
    shutil.copytree(Path(needle.__file__).parent, tmp_path / "needle")
    shutil.copytree(CHECKOUT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")

    def run_tests(*tests: str) -> int:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        return subprocess.run(command, cwd=tmp_path, env=environment).returncode

    its_test = ("tests/nn/test_activation.py", "-k", "SiLU")
    assert run_tests(*its_test) == 5  # no test was found
    for file, before, after in changes:
        text = (tmp_path / file).read_text()
        assert text.count(before) == 1
        (tmp_path / file).write_text(text.replace(before, after))
    assert run_tests(*its_test) == run_tests("tests/test_public_names.py") == 0

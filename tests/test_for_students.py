"""docs/for-students.md adds a kernel by a diff: it fits the files as they are, and is as short as the document says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "for-students.md").read_text(encoding="utf-8")
DIFF = re.search(r"^```diff\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL).group(1)
FILES = {name: hunks for name, hunks in re.findall(r"^--- a/(.*)\n\+\+\+ b/.*\n((?:[@ +-].*\n|\n)*?)(?=^--- |\Z)", DIFF, re.M)}


def test_an_element_wise_operation_touches_seven_files():
    assert len(FILES) == 7 == DIFF.count("+++ b/")
    for name in FILES:
        assert f"`{name}`" in DOCUMENT


@pytest.mark.parametrize("name", FILES)
def test_the_diff_fits(name):
    content = (ROOT / name).read_text(encoding="utf-8")
    hunks = re.split(r"^@@.*@@\n", FILES[name], flags=re.MULTILINE)[1:]
    assert hunks
    for hunk in hunks:
        before = [line[1:] for line in hunk.splitlines() if line[:1] != "+"]
        assert content.count("\n".join(before) + "\n") == 1, "\n".join(before)

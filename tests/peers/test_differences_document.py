"""docs/coming-from-pytorch.md shows the table of differences.py as it is."""

from __future__ import annotations

from pathlib import Path

from tests.peers import differences

DOCUMENT = Path(__file__).parents[2] / "docs" / "coming-from-pytorch.md"


def test_the_document_shows_the_table():
    text = DOCUMENT.read_text()
    assert text.count(differences.HEADER) == 1
    shown = text[text.index(differences.HEADER) :].split("\n\n")[0].rstrip("\n")
    assert shown == differences.table(), "python -m tests.peers.differences prints it"

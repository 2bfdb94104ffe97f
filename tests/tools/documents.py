"""The documents, and the changes that they show as diffs."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(os.path.realpath(__file__)).parent.parent.parent
DOCUMENTS = sorted(CHECKOUT.glob("*.md")) + sorted(CHECKOUT.glob("docs/*.md"))


def hunks(text: str) -> Iterator[tuple[str, str, str]]:
    """(file, lines before, lines after) of each change in blocks that begin with ```diff."""
    for block in re.findall(r"^```diff\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for change in re.split(r"^--- a/\S+\n", block, flags=re.MULTILINE)[1:]:
            name, _, body = change.partition("\n")
            for hunk in re.split(r"^@@.*\n", body, flags=re.MULTILINE)[1:]:
                lines = hunk.splitlines()
                before = [line[1:] for line in lines if line[:1] != "+"]
                after = [line[1:] for line in lines if line[:1] != "-"]
                yield name.removeprefix("+++ b/"), "\n".join(before), "\n".join(after)

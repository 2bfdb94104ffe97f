"""The core is what docs/tour.md lists in reading order: complete, without repetition, and small enough to read in a week.

It looks into the checkout itself, which Bazel's sandbox lets it read, and so runs each time (the tag `external`).
"""

import os
import re
from collections import Counter
from pathlib import Path

CHECKOUT = Path(os.path.realpath(__file__)).parent.parent.parent
TOUR = (CHECKOUT / "docs" / "tour.md").read_text()

# A week's reading. This is about 3 % above the size of the core when the limit was set, enough for what maintenance
# adds. A feature that needs more goes beside the core, or replaces something in it.
MOST_LINES = 18_100

_FOLDER = re.compile(r"^In `([\w/]+/)`.*:$")  # the files of the numbered items that follow are in this folder
_ITEM = re.compile(r"^(?:\d+\.|-) ((?:`[^`]+`,?\s*)+):", re.MULTILINE)


def named(text: str) -> list[str]:
    """The files and folders that the items of a list name before their colon."""
    return [name for item in _ITEM.findall(text) for name in re.findall(r"`([^`]+)`", item)]


def core() -> list[str]:
    """The files in reading order, by their paths in the checkout."""
    files = []
    for part in re.split(r"^(?=In `|## )", TOUR.partition("## Beside the core")[0], flags=re.MULTILINE):
        if folder := _FOLDER.match(part.partition("\n")[0]):
            files += [folder[1] + name for name in named(part)]
    return files


def beside() -> list[str]:
    """The files and folders (with a slash at the end) that are not core."""
    return named(TOUR.partition("## Beside the core")[2].partition("\n## ")[0])


def sources() -> list[str]:
    """Every Python, C++ and CUDA source of the package and the kernels."""
    files = [path for folder in ("needle", "kernels") for path in (CHECKOUT / folder).rglob("*")]
    return sorted(str(path.relative_to(CHECKOUT)) for path in files if path.suffix in (".py", ".h", ".cc", ".cu"))


def is_beside(file: str) -> bool:
    return any(file.startswith(name) if name.endswith("/") else file == name for name in beside())


def test_every_name_is_there():
    assert len(core()) > 100 and len(beside()) > 10  # or the tour has changed its form
    missing = [name for name in core() if not (CHECKOUT / name).is_file()]
    missing += [name for name in beside() if not (Path.is_dir if name.endswith("/") else Path.is_file)(CHECKOUT / name)]
    assert missing == [], f"docs/tour.md names what is not there: {', '.join(missing)}"


def test_every_source_is_core_or_beside_it():
    files = core()
    unlisted = [file for file in sources() if file not in files and not is_beside(file)]
    assert unlisted == [], (
        f"docs/tour.md does not name {', '.join(unlisted)}: expected in its reading order or under 'Beside the core'"
    )


def test_no_file_stands_twice():
    twice = {name for name, count in Counter(core() + beside()).items() if count > 1}
    twice |= {file for file in core() if is_beside(file)}
    assert twice == set(), f"docs/tour.md names {', '.join(sorted(twice))} twice"


def test_the_core_stays_small():
    files = core()
    lines = sum((CHECKOUT / file).read_bytes().count(b"\n") for file in files)
    assert lines <= MOST_LINES, f"the core has {lines:,} lines: expected at most {MOST_LINES:,}"
    expected = f"The core of Needle is about {round(len(files), -1)} files and {round(lines, -3):,} lines"
    assert expected in TOUR, f"docs/tour.md: expected '{expected}'"

"""What comes from outside is pinned, and third_party/README.md lists it.

It looks into the checkout itself, since folders with a WORKSPACE of their own have no labels here, and so runs each
time (the tag `external`).
"""

import os
import re
from pathlib import Path

import pytest

from third_party import update_locks

ROOT = Path(os.path.realpath(update_locks.__file__)).parent.parent
LOCKS = sorted(path.name for path in (ROOT / "third_party").glob("*_lock.txt"))
README = (ROOT / "third_party/README.md").read_text()


def rows(text: str) -> list[list[str]]:
    """The rows of a table but its first two."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def section(heading: str) -> str:
    return re.split(r"^#+ ", README.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]


def test_each_in_file_has_a_lock_file_that_the_workspace_uses():
    assert [f"{name}_lock.txt" for name in sorted(update_locks.NAMES)] == LOCKS
    assert sorted(re.findall(r'"//third_party:(\w+_lock\.txt)"', (ROOT / "WORKSPACE").read_text())) == LOCKS
    fetched = re.findall(r"\w+_lock\.txt", (ROOT / "docker/fetch_wheels.sh").read_text())
    assert sorted([*fetched, "benchmarks_lock.txt", "format_lock.txt"]) == LOCKS


@pytest.mark.parametrize("name", LOCKS)
def test_every_wheel_is_pinned_with_hashes(name):
    pins = update_locks.parse_lock((ROOT / "third_party" / name).read_text())
    assert pins
    for requirement, hashes in pins.items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", requirement)
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_the_readme_lists_every_wheel(name):
    pins = update_locks.parse_lock((ROOT / "third_party" / name).read_text())
    table = rows(section(f"`{name}`"))
    assert sorted(f"{wheel}=={version}" for wheel, version, _, _ in table) == sorted(pins)
    assert all(licence and purpose for _, _, licence, purpose in table)


def test_the_readme_lists_the_debian_packages_of_the_images():
    pinned = (ROOT / "docker/debian_packages.txt").read_text()
    listed = [pair for names, versions, _, _ in rows(section("From Debian")) for pair in pairs(names, versions)]
    assert sorted(name for name, _ in listed) == sorted(re.search(r"for: (.*)", pinned)[1].split())
    assert [f"{name}={version}" for name, version in listed if f"\n{name}={version}\n" not in pinned] == []


def pairs(names: str, versions: str) -> list[tuple[str, str]]:
    """Of a row for several packages, with a version for all or one for each."""
    packages, numbers = names.split(", "), versions.split(", ")
    return list(zip(packages, numbers * (len(packages) // len(numbers))))


def test_the_readme_lists_every_folder():
    folders = sorted(path.parent.name for path in (ROOT / "third_party").glob("*/WORKSPACE"))
    listed = [name for row in rows(section("Small repositories")) for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == folders
    assert sorted(re.findall(r'path = "third_party/(\w+)"', (ROOT / "WORKSPACE").read_text())) == folders


def test_versions_are_put_into_the_readme(tmp_path, monkeypatch):
    (tmp_path / "some_lock.txt").write_text("tqdm==5.0 \\\n    --hash=sha256:ab\n")
    (tmp_path / "README.md").write_text(
        "### `some_lock.txt`\n\n| tqdm | 4.1 | MIT | bars |\n\n## Else\n| tqdm | 4.1 | | |\n"
    )
    monkeypatch.setattr(update_locks, "FOLDER", tmp_path)
    update_locks.update_readme()
    assert (tmp_path / "README.md").read_text().count("| tqdm | 5.0 |") == 1

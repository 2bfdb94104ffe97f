"""What documents name is there: targets, files, and the lines that a change in them begins from.

It looks into the checkout itself, which Bazel's sandbox lets it read, and so runs each time (the tag `external`).
"""

import json
import re

import pytest

from tests.tools.documents import CHECKOUT, DOCUMENTS, hunks

CONTAINERS = sorted(CHECKOUT.glob(".devcontainer/**/devcontainer.json"))

_LABEL = re.compile(r"(?<![\w:@/])//[\w/.-]*(?::[\w.*/-]+)?")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)|^\[\w+\]: (\S+)", re.MULTILINE)
_FOLDERS = set(
    ".ci .devcontainer .vscode bazel benchmarks docker docs experiments kernels needle tests third_party tools wheel".split()
)


def named_files(text: str):
    """Words in code that begin with a folder of the checkout and end like the name of a file that nobody builds."""
    for code in _CODE.findall(text):
        for word in code.split():
            if word.split("/")[0] in _FOLDERS and re.fullmatch(r"[\w./-]+\.(?!so\b|\d)\w+", word):
                yield word


def exists(label: str) -> bool:
    """Whether a package has such a target: a name in its BUILD file, or one that a rule there makes of a file's."""
    if label.endswith("..."):
        return (CHECKOUT / label[2:].rstrip("./")).is_dir()
    package, _, name = label[2:].rstrip(".").partition(":")  # of the end of a sentence
    if name.isupper():
        return True  # stands for any
    build = CHECKOUT / package / "BUILD.bazel"
    if not build.is_file():
        return False
    name = name or package.rsplit("/", 1)[-1]
    stem = re.sub(r"_(emulated|with_pytorch|cuda_emulated)$", "", name)
    made = any((CHECKOUT / package / (stem + ending)).is_file() for ending in (".py", ".cc"))
    return name == "all" or "*" in name or f'"{name}"' in build.read_text() or made


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_and_files_are_there(document):
    text = document.read_text()
    labels = {label for label in _LABEL.findall(text) if label != "//"}
    assert [label for label in sorted(labels) if not exists(label)] == []
    assert [file for file in sorted(set(named_files(text))) if not (CHECKOUT / file).exists()] == []
    links = {inline or reference for inline, reference in _LINK.findall(text)}
    assert [link for link in sorted(links) if "://" not in link and not (document.parent / link).exists()] == []


def test_changes_in_documents_apply():
    """Each begins from lines that are in its file, once."""
    found = [change for document in DOCUMENTS for change in hunks(document.read_text())]
    assert found
    for file, before, after in found:
        assert ("\n" + (CHECKOUT / file).read_text()).count(f"\n{before}\n") == 1, f"{file}:\n{before}"
        assert before != after


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_containers_name_what_is_there(container):
    lines = [line for line in container.read_text().splitlines() if not line.lstrip().startswith("//")]
    settings = json.loads("\n".join(lines))
    assert (container.parent / settings["build"]["dockerfile"]).is_file()
    images = dict(re.findall(r"docker build -f (\S+) -t (\S+) \.", settings["initializeCommand"]))
    assert all((CHECKOUT / dockerfile).is_file() for dockerfile in images)
    assert list(images.values())[-1] == settings["build"]["args"]["IMAGE"]
    labels = _LABEL.findall(settings["onCreateCommand"] + " " + settings["postCreateCommand"])
    assert labels == ["//tools:develop", "//tools:compile_commands"] and all(map(exists, labels))


def test_there_are_two_containers():
    assert {str(path.parent.relative_to(CHECKOUT)) for path in CONTAINERS} == {".devcontainer", ".devcontainer/cuda"}

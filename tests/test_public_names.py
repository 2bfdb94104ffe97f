"""Public names: what a module's `__all__` lists is documented, and docs/reference.md shows it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import needle as ndl

DOCUMENT = Path(__file__).parents[1] / "docs" / "reference.md"
MODULES = {
    "needle": ndl,
    **{f"needle.{name}": value for name in ndl.__all__ if isinstance(value := getattr(ndl, name), ModuleType)},
    "needle.progress": ndl.progress,
    "needle.config": ndl.config,
    "needle.typing": ndl.typing,
}


def reference() -> dict[str, list[str]]:
    """The names in the tables of docs/reference.md, by the module that a table's heading names."""
    sections = re.split(r"^## `([\w.]+)`$", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    rows = {
        module: re.findall(r"^\| [^|`]+ \| (.*) \|$", text, re.MULTILINE) for module, text in zip(*[iter(sections)] * 2)
    }
    return {module: re.findall(r"`(\w+)`", " ".join(names)) for module, names in rows.items()}


def expected(name: str, module: ModuleType) -> list[str]:
    """The public names of the module, without those of `needle` itself."""
    return [
        public
        for public in module.__all__
        if module is ndl or not (public in ndl.__all__ and getattr(module, public) is getattr(ndl, public))
    ]


@pytest.mark.parametrize("name", MODULES)
def test_the_reference_has_every_public_name_once(name):
    assert sorted(reference().get(name, [])) == sorted(expected(name, MODULES[name]))


def test_the_reference_has_no_other_module():
    assert set(reference()) == {name for name, module in MODULES.items() if expected(name, module)}


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_and_classes_have_a_docstring(name):
    public = {entry: getattr(MODULES[name], entry) for entry in MODULES[name].__all__}
    defined = {entry: value for entry, value in public.items() if inspect.isfunction(value) or inspect.isclass(value)}
    assert [entry for entry, value in defined.items() if not inspect.getdoc(value)] == []


def test_the_functions_of_ops_are_in_needle():
    """All but those that the docstring of `needle.ops` names."""
    functions = {name for name in ndl.ops.__all__ if inspect.isfunction(getattr(ndl.ops, name))}
    excepted = set(re.findall(r"`(\w+)`", ndl.ops.__doc__.partition("except")[2]))
    assert functions - set(ndl.__all__) == excepted
    assert all(getattr(ndl, name) is getattr(ndl.ops, name) for name in functions - excepted)


def test_what_is_for_the_package_alone_is_not_public():
    assert {"computing", "autocasting", "in_own_memory"}.isdisjoint(ndl.autograd.__all__)
    assert "short" not in ndl.errors.__all__

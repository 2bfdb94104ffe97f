"""Imports go one way: no module of Needle depends on one that depends on it, not even by an import in a function.

What only a type checker imports, under `if TYPE_CHECKING:`, does not count: it never runs.
"""

from __future__ import annotations

import ast
from pathlib import Path

import needle

FOLDER = Path(needle.__file__).parent


def modules() -> dict[str, Path]:
    """The files of the package, by the names of their modules."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = ("needle", *path.relative_to(FOLDER).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class _WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST | None:
        is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if is_for_types else self.generic_visit(node)


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    found = set()
    tree = _WithoutTypes().visit(ast.parse(path.read_text(encoding="utf-8")))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in known else node.module for name in names)
    return found & known.keys()


def test_there_are_no_circles():
    known = modules()
    graph = {name: imports(path, known) - {name} for name, path in known.items()}
    while free := {name for name, targets in graph.items() if not targets & graph.keys()}:  # depends on nothing left
        graph = {name: targets for name, targets in graph.items() if name not in free}
    assert graph == {}

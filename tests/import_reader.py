"""Reads the imports of the four packages from their sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGES = ("spaces", "trainers", "reports", "search")

Sources = dict[str, str]
"""Sources by path from the repository's root."""


class Import(NamedTuple):
    path: str
    line: int
    module: str
    """The full dotted name. `from a import b` gives `a.b`, because `b` may be a module."""
    only_for_types: bool
    """Whether the import is under `if TYPE_CHECKING`, and so is never executed."""


def read_sources() -> Sources:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


@cache
def imports_of(path: str, source: str) -> tuple[Import, ...]:
    return tuple(_read_imports(path, source))


def _read_imports(path: str, source: str) -> Iterator[Import]:
    tree = ast.parse(source, path)
    for_types = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in guard.body
        for node in ast.walk(statement)
    }
    package = ["depthweave", *Path(path).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            # Only literal names. The packages' own lazy maps compute the name, and stay inside their package.
            constants = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            names = [value for value in constants if isinstance(value, str)]
        else:
            continue
        for name in names:
            yield Import(path, node.lineno, name, id(node) in for_types)

"""Modules of ours written out as one file that imports nothing of ours: what an export carries for others to run.

The sources are the only truth: the file is made of them at every export.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

_OURS = "depthweave."


class _Name(NamedTuple):
    """One imported name."""

    module: str
    """With its leading dots; empty for `import name`."""
    name: str
    """As written, another name for it included."""

    @property
    def bound(self) -> str:
        """What the importing module calls it."""
        return self.name.split(" as ")[-1].split(".")[0]


class _Part(NamedTuple):
    """A module in pieces."""

    name: str
    needs: tuple[str, ...]
    """Modules of ours that it imports, in order."""
    imports: tuple[_Name, ...]
    """What it imports from elsewhere."""
    text: str
    """The rest."""


def bundle(module: str, *, beside: frozenset[str] = frozenset()) -> str:
    """The source of a module of ours, with those that it imports written out before it, each once.

    Modules in `beside` are not written out: they become files of their own, and are imported from there. Raises
    `ValueError` where two modules define the same name, or one imports ours in a way that cannot be written out.
    """
    parts = list(_in_order(module, beside=beside, seen=set()))
    _check_names(parts)
    doc, *_ = ast.parse(parts[-1].text).body
    assert isinstance(doc, ast.Expr), "every module of ours begins with its docstring"
    own = parts[-1].text.splitlines()
    written = [f"# {part.name}\n\n{part.text.strip()}" for part in parts[:-1]]
    written.append("\n".join(own[doc.end_lineno :]).strip())
    body = "\n\n\n".join(["\n".join([*own[: doc.end_lineno], "", *_import_lines(parts)]), *written])
    return re.sub(r"\n{4,}", "\n\n\n", body) + "\n"


def _import_lines(parts: list[_Part]) -> list[str]:
    """Every import once: `__future__`, modules, names, and what stands beside."""
    homes = sorted({(item.module, item.name) for part in parts for item in part.imports})
    modules = [f"import {name}" for module, name in homes if not module]
    lines: dict[str, list[str]] = {}
    for module, name in homes:
        if module:
            lines.setdefault(module, []).append(name)
    named = {module: f"from {module} import {', '.join(names)}" for module, names in lines.items()}
    future = [named.pop("__future__"), ""] if "__future__" in named else []
    beside = [line for module, line in named.items() if module.startswith(".")]
    return [*future, *modules, *(line for line in named.values() if line not in beside), "", *beside]


def _in_order(module: str, *, beside: frozenset[str], seen: set[str]) -> Iterator[_Part]:
    """The module after all that it needs."""
    if module in seen:
        return
    seen.add(module)
    part = _read(module, beside=beside)
    for needed in part.needs:
        yield from _in_order(needed, beside=beside, seen=seen)
    yield part


def _read(module: str, *, beside: frozenset[str]) -> _Part:
    source = _source(module)
    tree = ast.parse(source)
    lines: list[str | None] = list(source.splitlines())
    needs: list[str] = []
    imports: list[_Name] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            pass
        elif isinstance(node, ast.Import):
            imports += [_Name("", ast.unparse(alias)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source_module = node.module or ""
            if not source_module.startswith(_OURS):
                imports += [_Name(source_module, ast.unparse(alias)) for alias in node.names]
            elif any(alias.asname for alias in node.names):
                raise ValueError(f"{module}:{node.lineno}: an import of ours under another name cannot be written out")
            elif source_module in beside:
                imports += [_Name(f".{source_module.rpartition('.')[2]}", alias.name) for alias in node.names]
            else:
                needs.append(source_module)
        else:
            _check_inside(node, module=module)
            continue
        assert node.end_lineno is not None
        lines[node.lineno - 1 : node.end_lineno] = [None] * (node.end_lineno - node.lineno + 1)
    text = "\n".join(line for line in lines if line is not None)
    return _Part(module, tuple(needs), tuple(imports), text)


def _source(module: str) -> str:
    package, _, name = module.rpartition(".")
    folder = files(package)
    found = folder / f"{name}.py" if (folder / f"{name}.py").is_file() else folder / name / "__init__.py"
    return found.read_text(encoding="utf-8")


def _check_inside(node: ast.stmt, *, module: str) -> None:
    for inner in ast.walk(node):
        names = [alias.name for alias in inner.names] if isinstance(inner, ast.Import) else []
        if isinstance(inner, ast.ImportFrom):
            names = [inner.module or ""]
        if any(name.startswith(_OURS) for name in names):
            raise ValueError(f"{module}:{node.lineno}: an import inside another statement cannot be written out")


def _check_names(parts: list[_Part]) -> None:
    """Each name means one thing in all modules: what one of them defines, or one import."""
    homes: dict[str, str] = {}
    for part in parts:
        found = [(item.bound, item.module or "an import") for item in part.imports]
        for node in ast.parse(part.text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.append((node.name, part.name))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found += [(target.id, part.name) for target in targets if isinstance(target, ast.Name)]
        for name, home in found:
            if homes.setdefault(name, home) != home:
                raise ValueError(f"{name} is of {homes[name]} and of {home}: rename one of them")

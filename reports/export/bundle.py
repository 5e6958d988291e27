"""Bundles modules of Depthweave into one file that does not import Depthweave, so that an export runs without it.

The file is made from the sources, once a process.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_PREFIX = "depthweave."


class _Name(NamedTuple):
    """One imported name."""

    module: str
    """With its leading dots; empty for `import name`."""
    name: str
    """As written, including an `as` name."""

    @property
    def bound(self) -> str:
        """The name that the import binds."""
        return self.name.split(" as ")[-1].split(".")[0]


class _Module(NamedTuple):
    """A module without its imports."""

    name: str
    needs: tuple[str, ...]
    """Modules of Depthweave that it imports, in order."""
    imports: tuple[_Name, ...]
    """Its other imports."""
    text: str
    """The source without imports."""


@cache
def bundle(module: str, *, beside: frozenset[str] = frozenset()) -> str:
    """Returns the source of a module of Depthweave after the sources of the modules that it imports, each once.

    Modules in `beside` become separate files, and the bundle imports them. Raises `ValueError` if two modules define
    the same name, or if a module imports Depthweave in a way that cannot be bundled.
    """
    modules = list(_in_order(module, beside=beside, seen=set()))
    _check_names(modules)
    doc, *_ = ast.parse(modules[-1].text).body
    assert isinstance(doc, ast.Expr), "every module of Depthweave begins with a docstring"
    own = modules[-1].text.splitlines()
    sources = [f"# {item.name}\n\n{item.text.strip()}" for item in modules[:-1]]
    sources.append("\n".join(own[doc.end_lineno :]).strip())
    body = "\n\n\n".join(["\n".join([*own[: doc.end_lineno], "", *_import_lines(modules)]), *sources])
    return re.sub(r"\n{4,}", "\n\n\n", body) + "\n"


def _import_lines(modules: list[_Module]) -> list[str]:
    """Returns each import once: `__future__`, modules, names, and the files beside."""
    imports = sorted({(item.module, item.name) for bundled in modules for item in bundled.imports})
    whole = [f"import {name}" for module, name in imports if not module]
    lines: dict[str, list[str]] = {}
    for module, name in imports:
        if module:
            lines.setdefault(module, []).append(name)
    named = {module: f"from {module} import {', '.join(names)}" for module, names in lines.items()}
    future = [named.pop("__future__"), ""] if "__future__" in named else []
    beside = [line for module, line in named.items() if module.startswith(".")]
    return [*future, *whole, *(line for line in named.values() if line not in beside), "", *beside]


def _in_order(module: str, *, beside: frozenset[str], seen: set[str]) -> Iterator[_Module]:
    """Yields the module after all modules that it needs."""
    if module in seen:
        return
    seen.add(module)
    found = _read(module, beside=beside)
    for needed in found.needs:
        yield from _in_order(needed, beside=beside, seen=seen)
    yield found


def _read(module: str, *, beside: frozenset[str]) -> _Module:
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
            if not source_module.startswith(_PREFIX):
                imports += [_Name(source_module, ast.unparse(alias)) for alias in node.names]
            elif any(alias.asname for alias in node.names):
                raise ValueError(
                    f"{module}:{node.lineno}: an import of Depthweave under another name cannot be bundled"
                )
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
    return _Module(module, tuple(needs), tuple(imports), text)


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
        if any(name.startswith(_PREFIX) for name in names):
            raise ValueError(f"{module}:{node.lineno}: an import inside another statement cannot be bundled")


def _check_names(modules: list[_Module]) -> None:
    """Raises `ValueError` unless each name has one meaning in all modules: one definition or one import."""
    homes: dict[str, str] = {}
    for module in modules:
        found = [(item.bound, item.module or "an import") for item in module.imports]
        for node in ast.parse(module.text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.append((node.name, module.name))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found += [(target.id, module.name) for target in targets if isinstance(target, ast.Name)]
        for name, home in found:
            if homes.setdefault(name, home) != home:
                raise ValueError(f"{name} is defined in {homes[name]} and in {home}: rename one of them")

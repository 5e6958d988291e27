"""The house's arrows, read from the imports: `spaces <- trainers`, `spaces <- reports`, `search` on top.

Nothing else: `trainers` and `reports` do not know each other, nobody imports `search`, only `search` imports ray and
optuna, and `reports` imports torch, and what of `spaces` needs it, in its export alone.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parent.parent
_ALLOWED: Mapping[str, frozenset[str]] = {
    "spaces": frozenset(),
    "trainers": frozenset({"spaces"}),
    "reports": frozenset({"spaces"}),
    "search": frozenset({"spaces", "trainers", "reports"}),
}
_SEARCH_ALONE = frozenset({"ray", "optuna"})
_MAX_LINES = 400

Files = dict[str, str]
"""Sources by path from the repository's root."""


class _Import(NamedTuple):
    path: str
    line: int
    module: str
    """Whole dotted name, that of `from a import b` being `a.b`: `b` may be a module."""
    for_types_alone: bool
    """Under `if TYPE_CHECKING`: never executed."""


def _files() -> Files:
    return {
        str(path.relative_to(_ROOT)): path.read_text(encoding="utf-8")
        for room in _ALLOWED
        for path in sorted((_ROOT / room).rglob("*.py"))
    }


@cache
def _imports(path: str, source: str) -> tuple[_Import, ...]:
    return tuple(_read_imports(path, source))


def _read_imports(path: str, source: str) -> Iterator[_Import]:
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
            # Only what is spelled out: the rooms' own lazy maps compute the name, and stay inside their room.
            constants = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            names = [value for value in constants if isinstance(value, str)]
        else:
            continue
        for name in names:
            yield _Import(path, node.lineno, name, id(node) in for_types)


def _room(path: str) -> str:
    return Path(path).parts[0]


def _imported_room(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "depthweave":
        return parts[1] if len(parts) > 1 else None
    # Without the namespace a room is a bad import of its own: it works only from the repository's root.
    return parts[0] if parts[0] in _ALLOWED else None


@cache
def _lazy_homes(source: str) -> dict[str, str]:
    """Name to module, from a room's `_HOMES` map."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return {name: home for home, names in ast.literal_eval(node.value).items() for name in names}
    return {}


def _torch_modules(files: Files) -> set[str]:
    """Modules of `spaces`, without its name, that import torch when they are imported, by themselves or by others."""
    needs: dict[str, set[str]] = {}
    for path, source in files.items():
        if _room(path) == "spaces" and path != "spaces/__init__.py":
            module = path.removeprefix("spaces/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            needs[module] = {item.module for item in _imports(path, source) if not item.for_types_alone}
    found: set[str] = set()
    while True:
        prefixes = ("torch.", *(f"depthweave.spaces.{module}." for module in found))
        more = {
            module for module, names in needs.items() if any(f"{name}.".startswith(prefixes) for name in names)
        } - found
        if not more:
            return found
        found |= more


def _faults(files: Files) -> list[str]:
    torch_modules = _torch_modules(files)
    homes = _lazy_homes(files.get("spaces/__init__.py", ""))
    faults = []
    for item in (item for path, source in files.items() for item in _imports(path, source)):
        room, other = _room(item.path), _imported_room(item.module)
        at = f"{item.path}:{item.line}: {item.module}"
        top = item.module.split(".")[0]
        if other is not None and other != room and other not in _ALLOWED[room]:
            faults.append(f"{at}: {room} may import {sorted(_ALLOWED[room]) or 'no other room'}")
        if other is not None and top != "depthweave":
            faults.append(f"{at}: rooms are imported as depthweave.{top}")
        if top in _SEARCH_ALONE and room != "search":
            faults.append(f"{at}: only search imports {top}")
        if room == "reports" and not item.path.startswith("reports/export") and not item.for_types_alone:
            name = item.module.removeprefix("depthweave.spaces.")
            home = homes.get(name, name)
            heavy = other == "spaces" and any(f"{home}.".startswith(f"{module}.") for module in torch_modules)
            if top == "torch" or heavy:
                faults.append(f"{at}: reports imports torch in export alone")
    return faults


def test_no_import_goes_against_the_arrows() -> None:
    assert _faults(_files()) == []


def test_all_four_rooms_are_read() -> None:
    # A moved folder would leave nothing to check and a test that passes.
    assert {_room(path) for path in _files()} == set(_ALLOWED)
    assert {"architecture", "decoder", "fusions.dwa", "fusions"} <= _torch_modules(_files())
    assert "wiring" not in _torch_modules(_files())


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("spaces/wiring.py", "import depthweave.trainers.tokens", "spaces may import no other room"),
        ("spaces/fusions/dwa.py", "from depthweave.search import spec", "spaces may import no other room"),
        ("trainers/recipe.py", "from depthweave.reports import RunStore", "trainers may import ['spaces']"),
        ("trainers/recipe.py", "from depthweave import reports", "trainers may import ['spaces']"),
        ("trainers/recipe.py", "from ..reports.store import RunStore", "trainers may import ['spaces']"),
        (
            "reports/store/run_store.py",
            "def f() -> None:\n    from depthweave.trainers import train",
            "reports may import ['spaces']",
        ),
        ("reports/export.py", "import depthweave.trainers", "reports may import ['spaces']"),
        (
            "reports/store/run_store.py",
            "import importlib\nimportlib.import_module('depthweave.search.spec.schema')",
            "reports may import",
        ),
        ("trainers/recipe.py", "if TYPE_CHECKING:\n    import depthweave.search", "trainers may import ['spaces']"),
        ("search/spec/schema.py", "from spaces import Architecture", "rooms are imported as depthweave.spaces"),
        ("trainers/recipe.py", "import ray.tune", "only search imports ray"),
        ("reports/analysis/front.py", "from optuna.study import Study", "only search imports optuna"),
        ("spaces/space.py", "from ray import tune", "only search imports ray"),
        ("reports/analysis/front.py", "import torch.nn", "reports imports torch in export alone"),
        ("reports/analysis/front.py", "from depthweave.spaces import Decoder", "reports imports torch in export alone"),
        (
            "reports/analysis/front.py",
            "from depthweave.spaces.fusions.dwa import X",
            "reports imports torch in export alone",
        ),
        ("reports/figures/pareto.py", "import depthweave.spaces.costs", "reports imports torch in export alone"),
    ],
)
def test_planted_bad_import_is_found(path: str, source: str, fault: str) -> None:
    (found,) = set(_faults({**_files(), path: source})) - set(_faults(_files()))
    assert found.startswith(f"{path}:")
    assert fault in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("trainers/recipe.py", "from depthweave.spaces import Decoder\nimport torch"),
        ("reports/analysis/front.py", "from depthweave.spaces import Wiring"),
        ("reports/analysis/front.py", "from depthweave.spaces.wiring import Wiring"),
        ("reports/analysis/front.py", "if TYPE_CHECKING:\n    from depthweave.spaces import Architecture"),
        ("reports/export.py", "import torch\nfrom depthweave.spaces import load"),
        ("search/spec/schema.py", "import optuna, ray\nfrom depthweave import reports, spaces, trainers"),
    ],
)
def test_good_import_is_no_fault(path: str, source: str) -> None:
    assert set(_faults({**_files(), path: source})) <= set(_faults(_files()))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("depthweave.spaces", {"torch", "ray", "optuna"}),
        ("depthweave.spaces.wiring", {"torch", "ray", "optuna"}),
        ("depthweave.trainers", {"ray", "optuna"}),
        ("depthweave.reports", {"torch", "ray", "optuna"}),
        ("depthweave.reports.store.run_store", {"torch", "ray", "optuna"}),
        ("depthweave.reports.export", {"torch", "ray", "optuna"}),
    ],
)
def test_importing_a_room_in_a_fresh_process_leaves_the_heavy_libraries_out(module: str, absent: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_no_file_is_longer_than_400_lines() -> None:
    sources = [
        path
        for room in (*_ALLOWED, "tests", "benchmarks")
        for path in (_ROOT / room).rglob("*.py")
        if "fixtures" not in path.parts
    ]
    lines = {str(path.relative_to(_ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert len(lines) > 40
    assert {path: number for path, number in lines.items() if number > _MAX_LINES} == {}

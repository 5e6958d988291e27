"""The arrows between the packages and between the folders of a package, checked against the imports.

`spaces <- trainers`, `spaces <- reports`, and `search` on top. `trainers` and `reports` do not import each other. Only
`search` imports ray and optuna. In `reports` only the export imports torch, and the modules of `spaces` that need it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.import_reader import PACKAGES, ROOT, Sources, imports_of, read_sources

_ALLOWED: Mapping[str, frozenset[str]] = {
    "spaces": frozenset(),
    "trainers": frozenset({"spaces"}),
    "reports": frozenset({"spaces"}),
    "search": frozenset({"spaces", "trainers", "reports"}),
}
_ONLY_IN_SEARCH = frozenset({"ray", "optuna"})
_FOLDER_ARROWS: Mapping[str, Mapping[str, str]] = {
    "search": {
        "cli": "commands console failures signals",
        "cluster": "failures scratch signals spec",
        "commands": (
            "cluster confirmation console driver failures preparation progress run_folder scratch signals spec study "
            "taggers training_length warm_start"
        ),
        "failures": "",
        "pruners": "surrogate",
        "run_folder": "preparation spec",
        "samplers": "parameters pruners surrogate",
        "spec": "console pruners samplers",
        "study": "parameters preparation pruners samplers scratch strategy trials",
        "surrogate": "known_columns parameters",
        "trials": "cluster known_columns learning_rates scratch",
        "tune": "cluster failures scratch signals spec trials",
        "warm_start": "cluster parameters run_folder scratch search_run spec surrogate",
    },
    "reports": {
        "analysis": "formatting store wirings",
        "comparison": "analysis figures filled_columns formatting page store wirings",
        "export": "analysis formatting store wirings",
        "figures": "analysis filled_columns formatting store wirings",
        "page": "analysis figures filled_columns formatting store terminal wirings",
        "store": "",
        "terminal": "analysis figures filled_columns formatting store wirings",
    },
}
"""For each package and each of its folders: the other folders and modules of the package that it imports."""

_MAX_PACKAGE_LINES = 350
_MAX_FUNCTION_LINES = 60
_MAX_LINES = 400


def _package(path: str) -> str:
    return Path(path).parts[0]


def _imported_package(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "depthweave":
        return parts[1] if len(parts) > 1 else None
    # An import without the namespace is a fault of its own: it works only from the repository's root.
    return parts[0] if parts[0] in _ALLOWED else None


@cache
def _lazy_homes(source: str) -> dict[str, str]:
    """Returns name to module, from a package's `_HOMES` map."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return {name: home for home, names in ast.literal_eval(node.value).items() for name in names}
    return {}


def _torch_modules(files: Sources) -> set[str]:
    """Returns the modules of `spaces`, without its name, whose import brings in torch, directly or not."""
    needs: dict[str, set[str]] = {}
    for path, source in files.items():
        if _package(path) == "spaces" and path != "spaces/__init__.py":
            module = path.removeprefix("spaces/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            needs[module] = {item.module for item in imports_of(path, source) if not item.only_for_types}
    found: set[str] = set()
    while True:
        prefixes = ("torch.", *(f"depthweave.spaces.{module}." for module in found))
        more = {
            module for module, names in needs.items() if any(f"{name}.".startswith(prefixes) for name in names)
        } - found
        if not more:
            return found
        found |= more


def _faults(files: Sources) -> list[str]:
    torch_modules = _torch_modules(files)
    homes = _lazy_homes(files.get("spaces/__init__.py", ""))
    faults = []
    for item in (item for path, source in files.items() for item in imports_of(path, source)):
        package, other = _package(item.path), _imported_package(item.module)
        at = f"{item.path}:{item.line}: {item.module}"
        top = item.module.split(".")[0]
        if other is not None and other != package and other not in _ALLOWED[package]:
            faults.append(f"{at}: {package} may import {sorted(_ALLOWED[package]) or 'no other package'}")
        if other is not None and top != "depthweave":
            faults.append(f"{at}: packages are imported as depthweave.{top}")
        if top in _ONLY_IN_SEARCH and package != "search":
            faults.append(f"{at}: only search imports {top}")
        if package == "reports" and not item.path.startswith("reports/export") and not item.only_for_types:
            name = item.module.removeprefix("depthweave.spaces.")
            home = homes.get(name, name)
            heavy = other == "spaces" and any(f"{home}.".startswith(f"{module}.") for module in torch_modules)
            if top == "torch" or heavy:
                faults.append(f"{at}: in reports only export imports torch")
    return faults


def test_no_import_goes_against_the_arrows() -> None:
    assert _faults(read_sources()) == []


def test_all_four_packages_are_read() -> None:
    # If a folder moved, the other tests would pass with nothing to check.
    assert {_package(path) for path in read_sources()} == set(_ALLOWED)
    assert {"architecture", "decoder", "fusions.dwa", "fusions"} <= _torch_modules(read_sources())
    assert "wiring" not in _torch_modules(read_sources())


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("spaces/wiring.py", "import depthweave.trainers.tokens", "spaces may import no other package"),
        ("spaces/fusions/dwa.py", "from depthweave.search import spec", "spaces may import no other package"),
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
        ("search/spec/schema.py", "from spaces import Architecture", "packages are imported as depthweave.spaces"),
        ("trainers/recipe.py", "import ray.tune", "only search imports ray"),
        ("reports/analysis/front.py", "from optuna.study import Study", "only search imports optuna"),
        ("spaces/space.py", "from ray import tune", "only search imports ray"),
        ("reports/analysis/front.py", "import torch.nn", "in reports only export imports torch"),
        ("reports/analysis/front.py", "from depthweave.spaces import Decoder", "in reports only export imports torch"),
        (
            "reports/analysis/front.py",
            "from depthweave.spaces.fusions.dwa import X",
            "in reports only export imports torch",
        ),
        ("reports/figures/pareto.py", "import depthweave.spaces.costs", "in reports only export imports torch"),
    ],
)
def test_planted_bad_import_is_found(path: str, source: str, fault: str) -> None:
    (found,) = set(_faults({**read_sources(), path: source})) - set(_faults(read_sources()))
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
    assert set(_faults({**read_sources(), path: source})) <= set(_faults(read_sources()))


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
def test_importing_a_package_in_a_fresh_process_leaves_the_heavy_libraries_out(module: str, absent: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def _unit(module: str) -> str:
    """Returns the folder of a module, or the module itself where it is in the package's own folder."""
    return module.split(".")[1]


def _inner_arrows(package: str, sources: Sources) -> dict[str, frozenset[str]]:
    """Returns for each folder and module of a package the other ones that it imports."""
    files = {path: source for path, source in sources.items() if _package(path) == package}
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files}
    arrows: dict[str, set[str]] = {}
    for module, path in modules.items():
        if module == package:
            continue  # Its lazy names reach everywhere.
        found = arrows.setdefault(_unit(module), set())
        for item in imports_of(path, files[path]):
            name = item.module.removeprefix("depthweave.")
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name != package and _unit(name) != _unit(module):
                found.add(_unit(name))
    return {unit: frozenset(found) for unit, found in arrows.items()}


@pytest.mark.parametrize("package", sorted(_FOLDER_ARROWS))
def test_folders_of_a_package_import_what_is_written_down_and_no_more(package: str) -> None:
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    found = _inner_arrows(package, read_sources())
    assert {folder: sorted(found[folder]) for folder in sorted(folders)} == {
        folder: units.split() for folder, units in sorted(_FOLDER_ARROWS[package].items())
    }


@pytest.mark.parametrize("package", sorted(_FOLDER_ARROWS))
def test_folders_and_modules_of_a_package_form_no_circle(package: str) -> None:
    found = _inner_arrows(package, read_sources())
    assert list(TopologicalSorter(found).static_order())


def test_planted_import_between_folders_is_found() -> None:
    planted = {**read_sources(), "reports/figures/pareto.py": "from depthweave.reports.export import card"}
    assert "export" in _inner_arrows("reports", planted)["figures"]


def _num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_of_the_packages_is_longer_than_350_lines() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    sources = [path for path in files if path.suffix in {".py", ".js", ".css", ".j2", ".html"}]
    lines = {str(path.relative_to(ROOT)): _num_lines(path) for path in sources}
    assert len(lines) > 40
    assert {path: number for path, number in lines.items() if number > _MAX_PACKAGE_LINES} == {}


def test_no_function_of_the_packages_is_longer_than_60_lines() -> None:
    lines = {
        f"{path}: {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, source in read_sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lines) > 400
    assert {name: number for name, number in lines.items() if number > _MAX_FUNCTION_LINES} == {}


def test_no_file_of_tests_and_benchmarks_is_longer_than_400_lines() -> None:
    files = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    # An export of an earlier version has its code in one file.
    sources = [path for path in files if "fixtures" not in path.parts]
    lines = {str(path.relative_to(ROOT)): _num_lines(path) for path in sources}
    assert {path: number for path, number in lines.items() if number > _MAX_LINES} == {}

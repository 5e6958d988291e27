"""The tutorial notebook runs from its first cell to its last, and what it shows can be shown."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "tutorial.ipynb"

# As a kernel does it: every cell in one namespace, and what a cell ends with is shown.
RUNNER = """
import ast, json, sys

namespace = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin)):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), namespace)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
        shown = getattr(value, "_repr_html_", None) if type(value).__module__.startswith("depthweave") else None
        print(f"[{number}]", shown() if shown else repr(value), flush=True)
"""


def read_cells(kind: str) -> list[str]:
    """The sources of the notebook's cells of a kind."""
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_notebook_is_stored_without_outputs_and_every_cell_parses() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_notebook_runs_and_leaves_a_run_and_an_export(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="the tutorial shows data frames")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(read_cells("code")),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "'done'" in done.stdout
    assert "not settled" in done.stdout
    assert "b'def " in done.stdout
    assert (tmp_path / "runs" / "tutorial" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "exports" / "tutorial" / "model.safetensors").exists()

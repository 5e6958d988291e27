"""The README's words hold: its commands run verbatim, its spec loads, its tables list what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from depthweave.search.spec.loading import make_spec
from depthweave.spaces.fusions import FUSIONS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The README's spec in small: the same keys, seconds instead of minutes.
TINY_SPEC = """
name: tiny
corpus: {kind: stdlib}
space: {fusions: [none, dwa], dilations: [1], periods: [1, depth], depths: [2], budgets: [4000], head_width: 4}
recipe: {steps: 6, batch: 4, context: 32, num_evaluations: 2, evaluation_tokens: 1024}
search: {trials: 3, pruner: none}
resources: {measure_limit_s: 0.1}
"""


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def first_cells(page: str) -> list[str]:
    """The names in the first cells of a page's tables; variants of one fusion may share a row."""
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"\w+", cell)]


def test_readme_length_under_150_lines() -> None:
    assert len(README.splitlines()) < 150


def test_readme_spec_loads() -> None:
    (text,) = blocks("yaml")
    assert make_spec(yaml.safe_load(text)).name == "mine"


def test_readme_fusions_are_the_registry() -> None:
    assert first_cells(README) == list(FUSIONS)


def test_fusions_page_has_a_row_for_each() -> None:
    page = (ROOT / "docs" / "fusions.md").read_text(encoding="utf-8")
    assert first_cells(page) == list(FUSIONS)


def test_readme_links_point_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_readme_commands_run_verbatim(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "quick.yaml").write_text(TINY_SPEC, encoding="utf-8")
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("depthweave ")]
    assert len(commands) >= 6
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    (python,) = blocks("python")
    program = python + "import torch\nassert model(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 256)\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert (tmp_path / "models" / "knee" / "model.safetensors").exists()

"""Each recipe of `docs/extending.md` is applied to a copy of the repository, and its own checks pass there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.import_reader import PACKAGES, ROOT

_PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
_COPIED = (*PACKAGES, "tests", "docs", "benchmarks", "README.md", "CHANGELOG.md", "pyproject.toml", "examples")
_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

_SHOWS_FIGURE = """
from pathlib import Path
from depthweave.reports.page.page import page_of
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_info, synthetic_trials

store = RunStore.create(Path("run"), info=make_info(), spec_yaml="name: quick")
for trial in synthetic_trials():
    store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
print(*(figure.id for section in page_of(store).sections for figure in section.figures))
"""
_SHOWS_SPEC = """
from depthweave.search.spec.loading import make_spec
print(make_spec({values}).search)
"""

_SHOWS_COLUMNS = """
from pathlib import Path
from depthweave.reports.page.page import page_of
from depthweave.reports.store.run_store import RunStore
from depthweave.search.spec.loading import make_spec
from tests.reports.synthetic import make_info, synthetic_trials

objectives = make_spec({{"objectives": {names}}}).objectives
store = RunStore.create(Path("run"), info=make_info(objectives=objectives), spec_yaml="name: quick")
for trial in synthetic_trials():
    store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
print(*(column.title for column in page_of(store).explorer.columns), sep="\\n")
"""
_TRAINS_TASK = """
from depthweave.search.preparation import prepare
from depthweave.search.spec.loading import make_spec

values = {"task": "regression", "space": {"depths": [2], "budgets": [20000], "dilations": [1], "periods": [1]}}
values |= {"reference": {"depth": 2, "budget": 20000}, "recipe": {"steps": 40, "context": 16, "num_evaluations": 4}}
prepared = prepare(make_spec(values))
task, recipe = prepared.task, prepared.spec.recipe
state = task.start(prepared.reference.architecture, recipe=recipe, device="cpu")
losses = [item.loss for item in task.train(state, prepared.data, give_way=lambda: 0.0)]
print(losses[0], losses[-1])
"""


class Block(NamedTuple):
    """A fenced block of the page."""

    language: str
    path: str
    """The file that its first line names; empty where it names none."""
    text: str


def recipe(title: str) -> list[Block]:
    """Returns the blocks below a heading of the page."""
    section = _PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, title
    blocks = []
    for indent, language, body in _FENCE.findall(section):
        text = "".join(f"{line.removeprefix(indent)}\n" for line in body.splitlines())
        first, _, rest = text.partition("\n")
        named = re.fullmatch(r"# (\S+\.\w+)", first)
        blocks.append(Block(language, named[1] if named else "", rest if named else text))
    return blocks


def insert(text: str, diff: str) -> str:
    """Returns a file's text with each `+` line of a diff below the line before it, which occurs exactly once."""
    lines, at = text.splitlines(), -1
    for line in diff.splitlines():
        if line.startswith("+"):
            at += 1
            lines.insert(at, line[1:])
        else:
            places = [number for number, there in enumerate(lines) if there == line]
            assert len(places) == 1, f"{line!r} occurs {len(places)} times"
            (at,) = places
    return "\n".join(lines) + "\n"


class Copy:
    """A copy of the repository to which a recipe is applied."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        self._imported = folder / "imported"
        for name in _COPIED:
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        (self._imported / "depthweave").mkdir(parents=True)
        for package in PACKAGES:
            (self._imported / "depthweave" / package).symlink_to(self.root / package)

    def apply(self, title: str) -> str:
        """Applies a recipe's blocks and returns the command of its checks."""
        commands = []
        for block in recipe(title):
            path = self.root / block.path
            if block.language == "sh":
                commands.append(block.text.strip())
            elif block.language == "diff":
                path.write_text(insert(path.read_text(encoding="utf-8"), block.text), encoding="utf-8")
            else:
                assert not path.exists()
                path.write_text(block.text, encoding="utf-8")
        (command,) = commands
        return command

    def run(self, *arguments: str) -> str:
        """Runs Python in the copy and returns what it printed; fails where it does."""
        path = os.pathsep.join([str(self._imported), str(self.root)])
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def check(self, command: str) -> int:
        """Runs a recipe's checks and returns how many tests passed."""
        program, *arguments = shlex.split(command)
        assert program == "python"
        passed = re.search(r"(\d+) passed", self.run(*arguments, "-p", "no:cacheprovider"))
        assert passed is not None
        return int(passed[1])


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recipe_of_a_fusion_passes_the_contract_tests(copy: Copy) -> None:
    command = copy.apply("A fusion")
    assert copy.check(command) > 80
    assert "mean" in copy.run("-c", "from depthweave.spaces import FUSIONS; print(*FUSIONS)").split()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recipe_of_a_sampler_passes_the_contract_tests(copy: Copy) -> None:
    assert copy.check(copy.apply("A sampler")) >= 7
    values = {"search": {"sampler": "tpe-univariate"}}
    assert "sampler='tpe-univariate'" in copy.run("-c", _SHOWS_SPEC.format(values=values))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recipe_of_a_pruner_passes_the_contract_tests(copy: Copy) -> None:
    assert copy.check(copy.apply("A pruner")) >= 4
    values = {"search": {"pruner": "plateau", "pruner_options": {"patience": 3}}}
    assert "pruner='plateau'" in copy.run("-c", _SHOWS_SPEC.format(values=values))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recipe_of_a_figure_is_on_the_page_and_among_the_figures_of_a_run(copy: Copy) -> None:
    assert copy.check(copy.apply("A figure")) >= 3
    assert "durations" in copy.run("-c", _SHOWS_FIGURE).split()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recipe_of_an_objective_is_taken_by_a_spec_and_shown_on_the_page(copy: Copy) -> None:
    assert copy.check(copy.apply("An objective")) > 5
    code = _SHOWS_COLUMNS.format(names=["perplexity", "kept_values"])
    assert "values kept for later sites (value/token)" in copy.run("-c", code).splitlines()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recipe_of_a_task_trains_and_passes_the_tests_of_tasks(copy: Copy) -> None:
    assert copy.check(copy.apply("A task")) > 5
    first, last = map(float, copy.run("-c", _TRAINS_TASK).split())
    assert last < first


def test_line_of_a_recipe_that_is_not_in_its_file_is_named() -> None:
    with pytest.raises(AssertionError, match="'gone' occurs 0 times"):
        insert("a\nb\n", "gone\n+new\n")
    assert insert("a\nb\n", "a\n+new\n+newer\n") == "a\nnew\nnewer\nb\n"

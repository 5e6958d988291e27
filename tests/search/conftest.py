"""A small text, a small spec, and one Ray cluster for all tests that search."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from depthweave.search import cli
from tests.search.commandline import Answer, Cli
from tests.search.processes import kill_all
from tests.search.ray_head import ray_head

_WORDS = ("the", "weave", "of", "depth", "blocks", "reads", "every", "state", "again", "and", "never", "forgets")


@pytest.fixture(scope="session", autouse=True)
def _quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files of words; some are for validation."""
    folder = tmp_path_factory.mktemp("text")
    generator = random.Random(0)
    for number in range(8):
        (folder / f"{number}.txt").write_text(" ".join(generator.choices(_WORDS, k=600)), encoding="utf-8")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_spec(corpus_folder: Path) -> dict[str, Any]:
    """A spec of twelve architectures, as plain values; a trial takes a fraction of a second."""
    return {
        "name": "small",
        "corpus": {"kind": "files", "paths": [str(corpus_folder)], "validation_frac": 0.3},
        "space": {
            "fusions": ["none", "dwa"],
            "dilations": [1, 2],
            "periods": [1, 2],
            "depths": [2, 4, 6],
            "budgets": [20_000],
            "head_width": 8,
        },
        "recipe": {"steps": 6, "batch": 4, "context": 32, "num_evaluations": 3, "evaluation_tokens": 512},
        "search": {"trials": 100, "pruner": "none"},
        "resources": {"device": "cpu", "measure_limit_s": 0.05},
    }


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A Ray cluster of two CPUs in processes of its own, which live as long as the tests."""
    with ray_head(num_cpus=2) as address:
        yield address


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Ray's temporary folder for the commands of one test; whatever still runs there is killed at the end."""
    # Ray's sockets are below it, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="dw-"))
    yield folder
    kill_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line as the installed script does, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["depthweave", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        code = exit_.value.code
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call


@pytest.fixture
def fault(run: Cli) -> Callable[..., str]:
    """Runs a command that must fail on its input, and answers its one line."""

    def call(*arguments: object) -> str:
        code, _, err = run(*arguments)
        assert code == 2, err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err.removeprefix("error: ").rstrip("\n")

    return call


@pytest.fixture
def spec_file(corpus_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    values = {
        "name": "small",
        "corpus": {"kind": "files", "paths": [str(corpus_folder)], "validation_frac": 0.3},
        "space": {
            "fusions": ["none", "dwa", "concat"],
            "dilations": [1, 2],
            "periods": [1, 2],
            "depths": [2, 6],
            "budgets": [20_000],
            "head_width": 8,
        },
        "recipe": {"steps": 6, "batch": 4, "context": 32, "num_evaluations": 3, "evaluation_tokens": 512},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path

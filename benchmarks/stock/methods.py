"""The compared methods: each is a command that runs in its own folder and is timed from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.stock.problem import QUICK, Finished, read_finished, settings_of
from benchmarks.stock.scripts import SCRIPTS
from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.store.run_store import RunStore

_ROOT = Path(__file__).parents[2]
_DEPTHWEAVE = "import sys; from depthweave.search.cli import main; sys.exit(main())"


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """How a method is run, and how its trials are read."""

    command: Callable[[Path, int, Sequence[str]], list[str]]
    """Returns the command for a folder, a seed and overrides of the spec."""
    finished: Callable[[Path], list[Finished]]
    """The trials that its folder holds at the end."""


class Outcome(NamedTuple):
    """The result of a method's run."""

    wall_s: float
    """Wall time of the whole command."""
    finished: list[Finished]


def run(name: str, *, folder: Path, seed: int, overrides: Sequence[str]) -> Outcome:
    """Runs a method into an empty folder; `RuntimeError` with the end of its output if it fails."""
    method, log = METHODS[name], folder / "log.txt"
    # With this, workers of Ray and spawned processes find the benchmarks; one thread each.
    paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        command = method.command(folder, seed, overrides)
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    wall_s = time.perf_counter() - started
    if ended.returncode:
        raise RuntimeError(f"{name}, seed {seed}: exit code {ended.returncode}: {log.read_text()[-2000:]}")
    return Outcome(wall_s, method.finished(folder))


def _depthweave_command(folder: Path, seed: int, overrides: Sequence[str]) -> list[str]:
    options = [part for item in settings_of(overrides, seed=seed) for part in ("--set", item)]
    return [sys.executable, "-c", _DEPTHWEAVE, "search", str(QUICK), "--out", str(folder / "run"), *options]


def _depthweave_finished(folder: Path) -> list[Finished]:
    store = RunStore.open(folder / "run")
    records = store.records()
    members = {record.architecture_id for record in front(records, objectives=store.info.objectives)}
    return [
        Finished(
            architecture_id=record.architecture_id,
            tokens=record.tokens,
            is_whole=record.state == "complete",
            is_reported_complete=record.state == "complete",
            is_on_front=record.architecture_id in members,
            perplexity=record.perplexity,
        )
        for record in searched(records)
    ]


def _script(name: str) -> Method:
    def command(folder: Path, seed: int, overrides: Sequence[str]) -> list[str]:
        options = [part for item in overrides for part in ("--set", item)]
        return [sys.executable, "-m", "benchmarks.stock.scripts", name, str(folder), "--seed", str(seed), *options]

    return Method(command=command, finished=read_finished)


METHODS: dict[str, Method] = {
    "depthweave": Method(command=_depthweave_command, finished=_depthweave_finished),
    **{name: _script(name) for name in SCRIPTS},
}
"""Depthweave as shipped, and the users' scripts."""

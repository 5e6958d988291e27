"""`depthweave search`: run or continue a search and say what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna

from depthweave.reports.confirmation import settled_sentences
from depthweave.reports.front import front
from depthweave.reports.seeds import searched
from depthweave.reports.storage import Storage
from depthweave.reports.store import RunStore, check_free
from depthweave.reports.table import front_table
from depthweave.reports.verdicts import verdicts_of
from depthweave.search.cluster import check_address
from depthweave.search.commands.working import working
from depthweave.search.driver import SearchResult, run_search
from depthweave.search.interrupts import INTERRUPTED
from depthweave.search.logger_names import check_place
from depthweave.search.output import Terminal, command_line
from depthweave.search.setting import (
    Setting,
    check_same_space,
    check_same_text,
    create_run,
    prepare,
    spec_to_resume,
)
from depthweave.search.spec_file import load_spec
from depthweave.spaces.balance import unbalanced_sentences


def run(
    spec_file: Path | None,
    *,
    out: str | None,
    resume: bool,
    address: str | None,
    overrides: Sequence[str],
    ship: bool = False,
) -> int:
    """Search, print the front, and answer the exit code."""
    console = Terminal(outlasts=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # First: a run's folder that no trial could follow would stand in the way of the next try.
    check_address(address, ship=ship)
    start = _resumed if resume else _begun
    setting, store = start(spec_file, out, overrides, local=address is None)
    for line in unbalanced_sentences(setting.space):
        console.say(line, style="yellow")
    store.records()  # what cannot be read is named before anything is spent
    for line in store.problems:
        console.say(f"left out: {line}", style="yellow")
    with working(console, setting, go_on=command_line("search", "--resume", "--out", store.where)) as progress:
        result = run_search(setting, store, address=address, progress=progress, ship=ship)
    _print_result(console, result, objectives=setting.spec.objectives)
    return INTERRUPTED if result.ending == "interrupted" else 0


def _begun(
    spec_file: Path | None, out: str | None, overrides: Sequence[str], *, local: bool
) -> tuple[Setting, RunStore]:
    if spec_file is None:
        raise ValueError("search: no spec given; give one such as examples/quick.yaml, or --resume with --out RUN")
    spec = load_spec(spec_file, overrides=overrides)
    out = f"runs/{spec.name}" if out is None else out
    storage = Storage(out)
    check_place(spec.loggers, storage=storage)
    check_free(storage)
    setting = prepare(spec, local=local)
    return setting, create_run(setting, out=out)


def _resumed(
    spec_file: Path | None, out: str | None, overrides: Sequence[str], *, local: bool
) -> tuple[Setting, RunStore]:
    if out is None:
        raise ValueError("--resume: say which run with --out RUN")
    store = RunStore.open(out)
    spec = spec_to_resume(store, given=spec_file, overrides=overrides)
    check_place(spec.loggers, storage=store.storage)
    setting = prepare(spec, local=local)
    check_same_text(store, setting.tokens)
    check_same_space(store, setting)
    return setting, store


def _print_result(console: Terminal, result: SearchResult, *, objectives: tuple[str, ...]) -> None:
    where = result.store.where
    go_on = command_line("search", "--resume", "--out", where)
    tolerances = result.store.info.tolerance_of
    console.show(front_table(result.records, objectives=objectives, tolerances=tolerances))
    num_trials = len(searched(result.records))
    ended = {
        "done": f"{num_trials} trials",
        "time": f"{num_trials} trials; the time budget is spent: `{go_on}`",
        "interrupted": f"{num_trials} trials kept; go on with `{go_on}`",
    }[result.ending]
    busy = ""
    if result.busy_frac is not None:
        busy = f", {result.busy_frac:.0%} of the workers' time measuring, training, evaluating"
    verdicts = verdicts_of(result.records, objectives=objectives, tolerances=tolerances)
    lines = [
        f"{ended}; {result.wall_s:.0f} s{busy}",
        *settled_sentences(front(result.records, objectives=objectives), verdicts=verdicts),
        f"report: {result.store.report_path}",
        f"export: {command_line('export', where, '--select', 'knee', '--out', 'exports/knee')}",
    ]
    for line in lines:
        console.say(line)

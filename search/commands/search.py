"""`depthweave search`: runs or resumes a search and prints the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.source_runs import outcome_sentence, trained_here
from depthweave.reports.analysis.strided_rivals import rivals_sentences
from depthweave.reports.analysis.summary import num_unfinished
from depthweave.reports.analysis.verdict_text import settled_sentences
from depthweave.reports.formatting import plural
from depthweave.reports.store.run_store import RunStore, check_free
from depthweave.reports.store.storage import Storage
from depthweave.reports.store.warm_start import read_warm_start
from depthweave.reports.terminal.table import held_out_table, view_table
from depthweave.search.cluster.ray_joining import check_address
from depthweave.search.cluster.ray_start import RayStartError
from depthweave.search.commands.display import search_display
from depthweave.search.commands.no_results import EXIT_NO_RESULTS, has_no_results, no_results_sentence
from depthweave.search.console import Terminal, command_line
from depthweave.search.driver import SearchResult, run_search
from depthweave.search.preparation import PreparedSearch, create_run, prepare
from depthweave.search.run_folder.resuming import resumed, spec_of
from depthweave.search.run_folder.unstarted import clear_unstarted
from depthweave.search.signals import INTERRUPTED
from depthweave.search.spec.loading import load_spec
from depthweave.search.spec.logger_names import check_storage
from depthweave.search.training_length import training_sentences
from depthweave.search.warm_start.sources import check_sources
from depthweave.spaces.balance import unbalanced_sentences
from depthweave.spaces.idle_rules import idle_sentences


def run(
    spec_file: Path | None,
    *,
    out: str | None,
    resume: bool,
    address: str | None,
    overrides: Sequence[str],
    ship: bool = False,
    retry_failed: bool = False,
    warm_start: Sequence[str] = (),
) -> int:
    """Searches, prints the front, and returns the exit code. `warm_start` are further runs to start from."""
    console = Terminal(ignore_closed=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # First: otherwise an empty run folder would block the next attempt.
    check_address(address, ship=ship)
    if retry_failed and not resume:
        raise ValueError("--retry-failed needs a run to resume: give --resume and --out RUN too")
    start = _resume if resume else _begin
    prepared, store = start(spec_file, out, overrides, warm_start, local=address is None, say=console.say)
    for line in training_sentences(prepared.space, spec=prepared.spec):
        console.say(line)
    for line in [*unbalanced_sentences(prepared.space), *idle_sentences(prepared.space)]:
        console.say(line, style="yellow")
    store.records()  # Files that cannot be read are named before any training.
    for line in store.problems:
        console.say(line, style="yellow")
    with search_display(
        console, prepared, resume_command=command_line("search", "--resume", "--out", store.where)
    ) as progress:
        try:
            result = run_search(
                prepared, store, address=address, progress=progress, ship=ship, retry_failed=retry_failed
            )
        except RayStartError:
            if not resume:
                clear_unstarted(store.storage)
            raise
    _print_result(console, result, objectives=prepared.spec.objectives)
    if result.ending == "interrupted":
        return INTERRUPTED
    return EXIT_NO_RESULTS if has_no_results(trained_here(searched(result.records))) else 0


def _begin(
    spec_file: Path | None,
    out: str | None,
    overrides: Sequence[str],
    warm_start: Sequence[str],
    *,
    local: bool,
    say: Callable[[str], None],
) -> tuple[PreparedSearch, RunStore]:
    if spec_file is None:
        raise ValueError("search: no spec given; give one such as examples/quick.yaml, or --resume with --out RUN")
    spec = load_spec(spec_file, overrides=overrides)
    if warm_start:
        sources = (*spec.search.warm_start, *warm_start)
        spec = load_spec(spec_file, overrides=[*overrides, _sources_override(sources)])
    out = f"runs/{spec.name}" if out is None else out
    storage = Storage(out)
    check_storage(spec.loggers, storage=storage)
    if clear_unstarted(storage):
        say(f"{storage.where}: removed a search that never began")
    check_sources(spec, out=storage)
    check_free(storage)
    prepared = prepare(spec, local=local, say=say)
    return prepared, create_run(prepared, out=out)


def _resume(
    spec_file: Path | None,
    out: str | None,
    overrides: Sequence[str],
    warm_start: Sequence[str],
    *,
    local: bool,
    say: Callable[[str], None],
) -> tuple[PreparedSearch, RunStore]:
    if out is None:
        raise ValueError("--resume: no run given; give its folder with --out RUN")
    store = RunStore.open(out)
    if warm_start:
        own = spec_of(store).search.warm_start
        named = () if spec_file is None else load_spec(spec_file, overrides=overrides).search.warm_start
        if {*named, *warm_start} != {*own}:
            raise ValueError(
                f"--warm-start: the runs that {store.where} started from are kept: {', '.join(own) or 'none'}; leave "
                "the option out, or start a new run"
            )
        overrides = [*overrides, _sources_override(own)]
    return resumed(store, given=spec_file, overrides=overrides, local=local, say=say), store


def _sources_override(folders: Sequence[str]) -> str:
    # JSON is YAML.
    return f"search.warm_start={json.dumps(list(folders))}"


def _source_sentences(store: RunStore) -> list[str]:
    """Returns a sentence for each run that the search started from: how well it predicted."""
    try:
        return [outcome_sentence(item) for item in read_warm_start(store).sources]
    except ValueError:
        # Named where the report was written.
        return []


def _print_result(console: Terminal, result: SearchResult, *, objectives: tuple[str, ...]) -> None:
    where = result.store.where
    resume_command = command_line("search", "--resume", "--out", where)
    view = RunView.of(result.records, objectives=objectives, tolerances=result.store.info.tolerance_of)
    console.show(view_table(view))
    test = held_out_table(view)
    if test is not None:
        console.say("")
        console.show(test)
    own = trained_here(searched(result.records))
    trials = plural(len(own), "trial")
    num_open = num_unfinished(result.records, begun=result.store.checkpointed())
    if num_open:
        trials += f" and {num_open:,} more paused or interrupted"
    ended = {
        "done": trials,
        "time": f"{trials}; the time budget is spent; continue with `{resume_command}`",
        "interrupted": f"{trials} kept; continue with `{resume_command}`",
    }[result.ending]
    busy = ""
    if result.busy_frac is not None:
        busy = f"; workers were busy {result.busy_frac:.0%} of the time"
    lines = [
        f"{ended}; {result.wall_s:.0f} s{busy}",
        *settled_sentences(view.front, verdicts=view.verdicts),
        *(rivals_sentences(view) if view.verdicts else ()),
        *_source_sentences(result.store),
        f"report: {result.store.report_path}",
    ]
    if view.front:
        lines.append(f"export: {command_line('export', where, '--select', 'knee', '--out', 'exports/knee')}")
    if has_no_results(own):
        again = command_line("search", "--resume", "--retry-failed", "--out", where)
        lines.append(f"{no_results_sentence(own)}: fix the cause, then `{again}`")
    for line in lines:
        console.say(line)

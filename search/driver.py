"""A search from its first trial to its report: Ray executes, the journal and the store are the truth."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.formatting import plural
from depthweave.reports.page.page import write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.warm_start import WarmStart
from depthweave.search.cluster.device_kinds import kind_of_run, placement_of
from depthweave.search.cluster.nodes import alive_nodes, inspect_nodes, this_node
from depthweave.search.cluster.placement import check_room, trials_per_node
from depthweave.search.cluster.ray_session import cluster
from depthweave.search.confirmation import check_confirmable, confirm_front
from depthweave.search.console import command_line
from depthweave.search.isolated_measurement import measure_front
from depthweave.search.ledger_opening import open_ledger
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.rate_trainings import run_rate_trainings
from depthweave.search.run_folder.resuming import keep_spec
from depthweave.search.search_run import SearchRun, open_run
from depthweave.search.survey import needs_survey, read_survey, take_survey
from depthweave.search.taggers import keep_examples
from depthweave.search.trial_plan import plan_of
from depthweave.search.trials.live_trial import Progress
from depthweave.search.trials.weight_retention import keep_front_only
from depthweave.search.tune.guarded_ledger import faults_as_one_line
from depthweave.search.tune.loop import Ending, run_trials
from depthweave.search.warm_start.outcome import keep_outcome
from depthweave.search.warm_start.start import begin_warm_start


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The result of a search."""

    store: RunStore
    records: list[Record]
    """Of the whole run, earlier parts included."""
    ending: Ending
    wall_s: float
    """Time of the trials of this part of the run, without the start of Ray and the report."""
    busy_frac: float | None
    """Share of the workers' time that went into measuring, training and evaluating; `None` where trials were cut."""


@dataclass(frozen=True, kw_only=True)
class ConfirmationResult:
    """The result of a confirmation."""

    store: RunStore
    records: list[Record]
    """Of the whole run."""
    ending: Ending


def run_search(
    prepared: PreparedSearch,
    store: RunStore,
    *,
    address: str | None,
    progress: Progress,
    chooser: Chooser | None = None,
    ship: bool = False,
    retry_failed: bool = False,
) -> SearchResult:
    """Runs or resumes the search of a run folder, to its front and its report.

    With a chooser, the one given or the spec's, trials pause. Otherwise the spec's Optuna pruner stops them.
    `ship`: the cluster's workers get this package. `retry_failed`: failed trials are trained again.
    Raises `ValueError` where another search works on the folder, the cluster does not answer, or its nodes are unfit.
    """
    command = command_line("search", "--resume", "--out", store.where)
    with faults_as_one_line(store.where, command=command), open_run(prepared, store, progress=progress) as run:
        keep_spec(store, prepared.spec)
        progress.on_phase("starting Ray")
        with cluster(address, ship=ship):
            run = _placed(run, address=address)
            deadline = _deadline(prepared.spec.search.time_budget_s)
            part = _SearchPart(run_rate_trainings(run, workers=_num_workers(run), deadline=deadline), 0.0, None)
            if part.ending == "done":
                run = run.with_chosen_rates()
                warm_start = begin_warm_start(run, local=address is None)
                part = _run_search_trials(
                    run, warm_start=warm_start, deadline=deadline, chooser=chooser, retry_failed=retry_failed
                )
            # The trials of Optuna, and those of Tune in cycles of objects: the report needs their memory.
            gc.collect()
            ending = _finalise_front(run, ending=part.ending) if part.ending == "done" else part.ending
        if part.ending == "time":
            # Tune was stopped within a step: a new Ray has none of its workers.
            with cluster(address, ship=ship):
                ending = _finalise_front(run, ending=part.ending)
        records = _conclude(run, ending=ending)
    busy_frac = part.busy_frac if ending == "done" else None
    return SearchResult(store=store, records=records, ending=ending, wall_s=part.wall_s, busy_frac=busy_frac)


def run_confirmation(
    prepared: PreparedSearch,
    store: RunStore,
    *,
    num_seeds: int,
    address: str | None,
    progress: Progress,
    ship: bool = False,
    retry_failed: bool = False,
    all_members: bool = False,
    all_sizes: bool = False,
) -> ConfirmationResult:
    """Confirms the front of a run folder with further seeds, then writes the front and the report again.

    `all_members`: twins are trained too. `all_sizes`: so is each one's pattern at the
    other budgets.
    Raises `ValueError` where a search works on the folder, there is no front, or the cluster does not answer.
    """
    options = [*(["--all"] if all_members else []), *(["--sizes"] if all_sizes else [])]
    command = command_line("confirm", store.where, "--seeds", num_seeds, *options)
    with faults_as_one_line(store.where, command=command), open_run(prepared, store, progress=progress) as run:
        check_confirmable(store, num_seeds=num_seeds)
        keep_spec(store, prepared.spec)
        progress.on_phase("starting Ray")
        with cluster(address, ship=ship):
            run = _placed(run, address=address)
            ending = _confirmed(
                run, num_seeds=num_seeds, retry_failed=retry_failed, all_members=all_members, all_sizes=all_sizes
            )
        return ConfirmationResult(store=store, records=_conclude(run, ending=ending), ending=ending)


class _SearchPart(NamedTuple):
    """The trials of one part of a search, from its start or resumption to its end or interruption."""

    ending: Ending
    wall_s: float
    busy_frac: float | None


def _run_search_trials(
    run: SearchRun, *, warm_start: WarmStart, deadline: float, chooser: Chooser | None, retry_failed: bool
) -> _SearchPart:
    """Runs the trials of the search on the connected cluster, after its survey."""
    prepared, progress, workers = run.prepared, run.progress, _num_workers(run)
    # Once: a resumed search sees the same costs as the original one, also where its journal is gone.
    if needs_survey(prepared) and not run.journal.path.exists() and not trained_here(run.store.records()):
        take_survey(prepared, run.store, workers=workers, progress=progress)
    ledger = open_ledger(run, warm_start=warm_start, workers=workers, chooser=chooser, retry_failed=retry_failed)
    num_before, paused, started = len(ledger.records), ledger.paused, time.perf_counter()
    max_trials = trial_limit(prepared, taken_over=len(warm_start.taken_over), say=progress.on_note)
    progress.on_begin(records=list(ledger.records), max_trials=max_trials, workers=workers)
    for live in paused:
        progress.on_pause(live)
    ending = run_trials(
        ledger,
        spec=prepared.spec,
        plan=plan_of(run),
        # No worker of a search gets the test part.
        data=prepared.data.without_test(),
        deadline=deadline,
        on_tick=progress.on_tick,
    )
    wall_s, records = time.perf_counter() - started, ledger.records[num_before:]
    busy_frac = None
    # The times of a trial that was interrupted or paused belong to several parts of the run.
    if ending == "done" and not paused:
        busy_frac = _busy_frac(records, workers=workers, wall_s=wall_s)
    return _SearchPart(ending, wall_s, busy_frac)


def trial_limit(prepared: PreparedSearch, *, taken_over: int, say: Callable[[str], None]) -> int:
    """Returns the most trials of a search; says so where the space has fewer architectures than are asked for.

    `taken_over`: architectures that other runs have trained.
    """
    asked, space = prepared.spec.search.trials, prepared.space
    left = len(space) - taken_over
    if Parameters(space).has_sparse or left >= asked:
        return asked
    if left:
        known = f", {taken_over} of them taken over" if taken_over else ""
        say(
            f"search.trials is {asked}: the space has {plural(len(space), 'architecture')}{known}, and {left} are tried"
        )
    return left


def _busy_frac(records: Sequence[Record], *, workers: int, wall_s: float) -> float | None:
    if not records or any(item.attempts > 1 for item in records):
        return None
    return sum(item.measure_s + item.train_s + item.evaluation_s for item in records) / (workers * wall_s)


def _placed(run: SearchRun, *, address: str | None) -> SearchRun:
    """Returns the run with the nodes of the connected cluster that its trials may use."""
    spec, store = run.prepared.spec, run.store
    if address is None:
        # One machine, which has this Depthweave and the run folder.
        check_room(spec.resources, nodes=[node["Resources"] for node in alive_nodes()])
        nodes = [this_node(spec.resources)]
    else:
        is_shared = len(alive_nodes()) > 1 or not store.storage.is_local
        nodes = inspect_nodes(spec.resources, storage=store.storage if is_shared else None)
    kind = kind_of_run(spec, surveyed=read_survey(store).hardware, records=store.records())
    return run.placed(placement_of(spec, nodes=nodes, kind=kind))


def _num_workers(run: SearchRun) -> int:
    """Trials at once."""
    resources, excluded = run.prepared.spec.resources, run.prepared.placement.excluded
    nodes = alive_nodes()
    fitting = [node["Resources"] for node in nodes if node["NodeID"] not in excluded]
    num_fitting = max(1, sum(trials_per_node(resources, nodes=fitting)))
    wanted = resources.max_concurrent or num_fitting
    # More machines may join a cluster of several, and an autoscaler looks at the trials that wait for room.
    return wanted if len(nodes) > 1 else min(wanted, num_fitting)


def _finalise_front(run: SearchRun, *, ending: Ending) -> Ending:
    """Measures the front in isolation and, where the spec asks for it, confirms it. Returns how the search ends.

    Ctrl-C interrupts both.
    """
    try:
        measure_front(run)
    except KeyboardInterrupt:
        return "interrupted"
    num_seeds = run.prepared.spec.search.confirm
    if num_seeds is None or not front(run.store.records(), objectives=run.prepared.spec.objectives):
        return ending
    confirmed = _confirmed(run, num_seeds=num_seeds)
    return ending if confirmed == "done" else confirmed


def _confirmed(
    run: SearchRun,
    *,
    num_seeds: int,
    retry_failed: bool = False,
    all_members: bool = False,
    all_sizes: bool = False,
) -> Ending:
    try:
        return confirm_front(
            run,
            num_seeds=num_seeds,
            workers=_num_workers(run),
            retry_failed=retry_failed,
            all_members=all_members,
            all_sizes=all_sizes,
        )
    except KeyboardInterrupt:
        return "interrupted"


def _conclude(run: SearchRun, *, ending: Ending) -> list[Record]:
    """Writes the front and the report, and returns the records."""
    run.progress.on_phase("writing the report")
    try:
        keep_outcome(run.store)
    except ValueError as error:
        run.progress.on_note(str(error))
    # One file a table, each trial once: other programs read it with one line.
    run.store.merge()
    records = run.store.records()
    write_front(run.store, records)
    try:
        keep_examples(run.store, run.prepared)
    except ValueError as error:
        # The host may be gone by now; the report has no examples then.
        run.progress.on_phase(f"no example sentences: {error}")
    if ending == "done":
        keep_front_only(run.store, checkpoints=run.checkpoints)
    write_report(run.store)
    return records


def _deadline(time_budget_s: float | None) -> float:
    return math.inf if time_budget_s is None else time.monotonic() + time_budget_s

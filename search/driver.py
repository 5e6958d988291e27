"""A search from its first trial to its report: Ray executes, the journal and the store are the truth."""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from depthweave.reports.analysis.front import front
from depthweave.reports.page.page import write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import CHECKPOINTS, RunStore
from depthweave.search.cluster.device_kinds import kind_of_run, placement_of
from depthweave.search.cluster.nodes import alive_nodes, inspect_nodes, this_node
from depthweave.search.cluster.placement import check_room, room
from depthweave.search.cluster.ray_session import cluster
from depthweave.search.confirmation import ConfirmationResources, check_confirmable, confirm_front
from depthweave.search.console import command_line
from depthweave.search.isolated_measurement import measure_front
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.run_folder.contents import check_files
from depthweave.search.run_folder.resuming import keep_spec
from depthweave.search.run_folder.run_lock import locked_run
from depthweave.search.strategy import strategy_of
from depthweave.search.study.journal import Journal, journal_of
from depthweave.search.study.opening import open_studies
from depthweave.search.survey import has_survey, read_survey, take_survey
from depthweave.search.trial_ledger import TrialLedger
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Progress
from depthweave.search.trials.plan import maker_of, plan_of
from depthweave.search.trials.weight_retention import keep_front_only
from depthweave.search.tune.guarded_ledger import faults_as_one_line
from depthweave.search.tune.loop import Ending, run_trials


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search came to."""

    store: RunStore
    records: list[Record]
    """Of the whole run, earlier parts included."""
    ending: Ending
    wall_s: float
    """Time of the trials of this part of the run, Ray's start and the report left out."""
    busy_frac: float | None
    """Share of the workers' time that went into measuring, training and evaluating; `None` where trials were cut."""


@dataclass(frozen=True, kw_only=True)
class ConfirmationResult:
    """What a confirmation came to."""

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
    """Run or continue the search of a run folder; at the end front and report stand.

    With a chooser trials pause and go on as it says: the one given, or the spec's pruner where it is one that pauses.
    Otherwise the spec's Optuna pruner stops them. `ship`: the cluster's workers get this package. `retry_failed`: what
    failed is trained again.
    Raises `ValueError` where another search works on the folder, the cluster does not answer, or its nodes do not do.
    """
    spec = prepared.spec
    again = command_line("search", "--resume", "--out", store.where)
    with faults_as_one_line(store.where, command=again), _locked_run(prepared, store, progress=progress) as resources:
        keep_spec(store, prepared.spec)
        progress.on_phase("starting Ray")
        with cluster(address, ship=ship):
            prepared = _placed(prepared, store, address=address)
            workers = _workers(prepared)
            deadline = _deadline(spec.search.time_budget_s)
            # Once: a resumed search sees the same costs as the original one, also where its journal is gone.
            if has_survey(prepared) and not resources.journal.path.exists() and not store.records():
                take_survey(prepared, store, workers=workers, progress=progress)
            ledger = _open_ledger(
                prepared,
                store,
                resources,
                workers=workers,
                progress=progress,
                chooser=chooser,
                retry_failed=retry_failed,
            )
            before, paused, started = len(ledger.records), ledger.paused, time.perf_counter()
            most = min(spec.search.trials, len(prepared.space))
            progress.on_begin(records=list(ledger.records), max_trials=most, workers=workers)
            for entry in paused:
                progress.on_pause(entry)
            ending = run_trials(
                ledger,
                spec=spec,
                plan=plan_of(prepared, store),
                # No worker of a search can read what it does not get.
                data=prepared.data.without_test(),
                deadline=deadline,
                on_tick=progress.on_tick,
            )
            wall_s, new = time.perf_counter() - started, ledger.records[before:]
            # All trials of Optuna's, and in rings of objects those of Tune's: the report has use for their memory.
            del ledger
            gc.collect()
            if ending == "done":
                ending = _finalise_front(prepared, store, resources, ending=ending, progress=progress)
        if ending == "time":
            # Tune was left in mid-step: a new Ray has none of its workers.
            with cluster(address, ship=ship):
                ending = _finalise_front(prepared, store, resources, ending=ending, progress=progress)
        records = _conclude(store, resources, ending=ending, progress=progress)
    busy_frac = None
    # Trials of several parts, or cut off in this one, have times that are not this part's.
    if ending == "done" and new and not paused and all(item.attempts == 1 for item in new):
        busy_s = sum(item.measure_s + item.train_s + item.evaluation_s for item in new)
        busy_frac = busy_s / (workers * wall_s)
    return SearchResult(store=store, records=records, ending=ending, wall_s=wall_s, busy_frac=busy_frac)


def run_confirmation(
    prepared: PreparedSearch,
    store: RunStore,
    *,
    num_seeds: int,
    address: str | None,
    progress: Progress,
    ship: bool = False,
    retry_failed: bool = False,
    every: bool = False,
) -> ConfirmationResult:
    """Confirm the front of a run folder with further seeds; at the end the restated front and the report stand.

    `every`: members within tolerance of another one are trained too.

    Raises `ValueError` where a search works on the folder, there is no front, or the cluster does not answer.
    """
    again = command_line("confirm", store.where, "--seeds", num_seeds, *(["--all"] if every else []))
    with faults_as_one_line(store.where, command=again), _locked_run(prepared, store, progress=progress) as resources:
        check_confirmable(store, num_seeds=num_seeds)
        keep_spec(store, prepared.spec)
        progress.on_phase("starting Ray")
        with cluster(address, ship=ship):
            prepared = _placed(prepared, store, address=address)
            ending = _confirmed(
                prepared,
                store,
                resources,
                num_seeds=num_seeds,
                progress=progress,
                retry_failed=retry_failed,
                every=every,
            )
        return ConfirmationResult(
            store=store, records=_conclude(store, resources, ending=ending, progress=progress), ending=ending
        )


@dataclass(frozen=True, kw_only=True)
class _RunResources:
    """What the one process that works on a run holds in hand."""

    journal: Journal
    checkpoints: Checkpoints


@contextmanager
def _locked_run(prepared: PreparedSearch, store: RunStore, *, progress: Progress) -> Iterator[_RunResources]:
    """One search or confirmation a run folder."""
    # Before anything is written or deleted there.
    store.check_links()
    with locked_run(store.storage, on_wait=progress.on_phase), journal_of(store.storage) as journal:
        for line in check_files(store, prepared.data):
            progress.on_phase(line)
        yield _RunResources(journal=journal, checkpoints=Checkpoints(store.storage.address(CHECKPOINTS)))


def _placed(prepared: PreparedSearch, store: RunStore, *, address: str | None) -> PreparedSearch:
    """On the connected cluster: the setting with the nodes that its trials may run on."""
    resources = prepared.spec.resources
    if address is None:
        # One machine, and it has this Depthweave and the folder.
        check_room(resources, nodes=[node["Resources"] for node in alive_nodes()])
        nodes = [this_node(resources)]
    else:
        shared = len(alive_nodes()) > 1 or not store.storage.is_local
        nodes = inspect_nodes(resources, storage=store.storage if shared else None)
    kind = kind_of_run(prepared.spec, surveyed=read_survey(store).hardware, records=store.records())
    return dataclasses.replace(prepared, placement=placement_of(prepared.spec, nodes=nodes, kind=kind))


def _workers(prepared: PreparedSearch) -> int:
    resources, excluded = prepared.spec.resources, prepared.placement.excluded
    there = alive_nodes()
    fits = max(1, sum(room(resources, nodes=[it["Resources"] for it in there if it["NodeID"] not in excluded])))
    wanted = resources.max_concurrent or fits
    # To a cluster of several machines more may join, and what waits for room is what an autoscaler looks at.
    return wanted if len(there) > 1 else min(wanted, fits)


def _finalise_front(
    prepared: PreparedSearch, store: RunStore, resources: _RunResources, *, ending: Ending, progress: Progress
) -> Ending:
    """After the trials: the front measured alone and, where the spec asks for it, confirmed; Ctrl-C ends that too."""
    try:
        measure_front(prepared, store, progress=progress)
    except KeyboardInterrupt:
        return "interrupted"
    num_seeds = prepared.spec.search.confirm
    if num_seeds is None or not front(store.records(), objectives=prepared.spec.objectives):
        return ending
    confirmed = _confirmed(prepared, store, resources, num_seeds=num_seeds, progress=progress)
    return ending if confirmed == "done" else confirmed


def _confirmed(
    prepared: PreparedSearch,
    store: RunStore,
    resources: _RunResources,
    *,
    num_seeds: int,
    progress: Progress,
    retry_failed: bool = False,
    every: bool = False,
) -> Ending:
    means = ConfirmationResources(
        plan=dataclasses.replace(plan_of(prepared, store), tests=True),
        checkpoints=resources.checkpoints,
        maker=maker_of(prepared, store),
        workers=_workers(prepared),
        retries=prepared.spec.search.retries,
        retry_failed=retry_failed,
    )
    try:
        return confirm_front(prepared, store, num_seeds=num_seeds, means=means, progress=progress, every=every)
    except KeyboardInterrupt:
        return "interrupted"


def _open_ledger(
    prepared: PreparedSearch,
    store: RunStore,
    resources: _RunResources,
    *,
    workers: int,
    progress: Progress,
    chooser: Chooser | None,
    retry_failed: bool,
) -> TrialLedger:
    spec, parameters = prepared.spec, Parameters(prepared.space)
    strategy = strategy_of(spec, parameters=parameters, measured=read_survey(store).measurements)
    studies = open_studies(
        prepared,
        store,
        strategy=strategy,
        parameters=parameters,
        journal=resources.journal,
        checkpoints=resources.checkpoints,
        retry_failed=retry_failed,
        note=progress.on_note,
    )
    # The reference first, then its siblings of other depths and budgets: no comparison is fair without them.
    plain = [item.architecture.id for item in prepared.space if item.architecture.fusion == "none"]
    studies.enqueue(sorted(plain, key=lambda item: item != prepared.reference.architecture.id))
    return TrialLedger(
        store=store,
        studies=studies,
        space=prepared.space,
        maker=maker_of(prepared, store),
        checkpoints=resources.checkpoints,
        max_trials=spec.search.trials,
        max_concurrent=workers,
        retries=spec.search.retries,
        listener=progress,
        chooser=chooser or strategy.chooser,
    )


def _conclude(store: RunStore, resources: _RunResources, *, ending: Ending, progress: Progress) -> list[Record]:
    progress.on_phase("writing the report")
    # One part a table, each trial once: other programs read it with one line.
    store.merge()
    records = store.records()
    store.write_front(records)
    if ending == "done":
        keep_front_only(store, checkpoints=resources.checkpoints)
    write_report(store)
    return records


def _deadline(time_budget_s: float | None) -> float:
    return math.inf if time_budget_s is None else time.monotonic() + time_budget_s

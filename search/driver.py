"""A search from its first trial to its report: Ray executes, the journal and the store are the truth."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import ray
from filelock import FileLock, Timeout
from ray.exceptions import RayError

from depthweave.reports.front import may_stand
from depthweave.reports.page import write_report
from depthweave.reports.records import Record
from depthweave.reports.store import RunStore
from depthweave.search.book import Book
from depthweave.search.cluster import cluster, slots
from depthweave.search.entry import Listener
from depthweave.search.parameters import Parameters
from depthweave.search.pruners import make_pruner
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.recording import RecordMaker
from depthweave.search.samplers import SAMPLERS, DistinctSampler
from depthweave.search.setting import Setting, software
from depthweave.search.studies import Studies
from depthweave.search.trial import TrialPlan
from depthweave.search.tuning import Ending, run_trials
from depthweave.spaces.architecture import Architecture
from depthweave.trainers import Measurement, Recipe, measure_in_turn, pick_device


class Progress(Listener, Protocol):
    """A listener that also hears of the run as a whole."""

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        """Trials are about to start; `records` are those of an earlier part of the run."""

    def on_tick(self) -> None:
        """Time has passed."""

    def on_phase(self, text: str) -> None:
        """Something else than trials begins."""


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


def run_search(
    setting: Setting, store: RunStore, *, address: str | None, progress: Progress, chooser: Chooser | None = None
) -> SearchResult:
    """Run or continue the search of a run folder; at the end front and report stand.

    With a chooser trials pause and go on as it says; without one the spec's Optuna pruner stops them.
    Raises `ValueError` where another search works on the folder, or the cluster does not answer.
    """
    spec = setting.spec
    lock = FileLock(_folder(store) / "search.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{store.where}: another search is working on this run; wait for it or stop it") from None
    try:
        progress.on_phase("starting Ray")
        with cluster(address):
            fits = slots(cpus_per_trial=spec.resources.cpus_per_trial, gpus_per_trial=spec.resources.gpus_per_trial)
            workers = min(spec.resources.max_concurrent or fits, fits)
            book = _open_book(setting, store, workers=workers, progress=progress, chooser=chooser)
            before, paused, started = len(book.records), book.paused, time.perf_counter()
            most = min(spec.search.trials, len(setting.space))
            progress.on_begin(records=list(book.records), max_trials=most, workers=workers)
            for entry in paused:
                progress.on_pause(entry)
            ending = run_trials(
                book, spec=spec, plan=_plan(setting, store), tokens=setting.tokens, on_tick=progress.on_tick
            )
            wall_s = time.perf_counter() - started
            if ending == "done":
                ending = _measured_front(setting, store, records=book.records, progress=progress, ending=ending)
        if ending == "time":
            # Tune was left in mid-step: a new Ray has none of its workers.
            with cluster(address):
                ending = _measured_front(setting, store, records=book.records, progress=progress, ending=ending)
        records = _conclude(store, progress=progress)
    finally:
        lock.release()
    new = book.records[before:]
    busy_frac = None
    # Trials of several parts, or cut off in this one, have times that are not this part's.
    if ending == "done" and new and not paused and all(item.attempts == 1 for item in new):
        busy_s = sum(item.measure_s + item.train_s + item.evaluation_s for item in new)
        busy_frac = busy_s / (workers * wall_s)
    return SearchResult(store=store, records=records, ending=ending, wall_s=wall_s, busy_frac=busy_frac)


def _open_book(setting: Setting, store: RunStore, *, workers: int, progress: Listener, chooser: Chooser | None) -> Book:
    spec = setting.spec
    parameters = Parameters(setting.space)
    studies = Studies(
        Path(store.journal_path),
        objectives=spec.objectives,
        sampler=DistinctSampler(parameters, make=SAMPLERS[spec.search.sampler], seed=spec.seed),
        pruner=make_pruner(spec.search.pruner, options=spec.search.pruner_options),
        parameters=parameters,
    )
    if not studies.trials:
        # The reference first, then its siblings of other depths and budgets: no comparison is fair without them.
        plain = [item.architecture.id for item in setting.space if item.architecture.fusion == "none"]
        reference_id = setting.reference.architecture.id
        for architecture_id in sorted(plain, key=lambda item: item != reference_id):
            studies.enqueue(architecture_id)
    maker = RecordMaker(
        run_id=store.info.run_id,
        reference_id=store.info.reference_id,
        recipe=spec.recipe,
        tokens=setting.tokens,
        software=software(),
        device=spec.resources.device,
    )
    return Book(
        store=store,
        studies=studies,
        space=setting.space,
        maker=maker,
        checkpoints=_checkpoints(store),
        max_trials=spec.search.trials,
        max_concurrent=workers,
        listener=progress,
        chooser=chooser,
    )


def _plan(setting: Setting, store: RunStore) -> TrialPlan:
    resources = setting.spec.resources
    return TrialPlan(
        reference=setting.reference.architecture,
        recipe=setting.spec.recipe,
        device=resources.device,
        threads=resources.cpus_per_trial,
        measure_limit_s=resources.measure_limit_s,
        locks=str(_folder(store)),
        checkpoints=str(_checkpoints(store)),
    )


def _measured_front(
    setting: Setting, store: RunStore, *, records: list[Record], progress: Progress, ending: Ending
) -> Ending:
    """`_measure_front`, whose failure costs no result: a resumed run measures what is left."""
    try:
        _measure_front(setting, store, records=records, progress=progress)
    except KeyboardInterrupt:
        return "interrupted"
    except RayError as error:
        first = str(error).strip().splitlines()[0]
        progress.on_phase(f"measuring alone failed ({first}): latencies are those that the trials saw")
    return ending


def _measure_front(setting: Setting, store: RunStore, *, records: list[Record], progress: Progress) -> None:
    """Measure latencies once more, in turn, with nothing else running, until the whole front was measured so.

    The trials measured beside each other. A corrected latency may let another record onto the front, which is then
    measured in its turn; what the trial saw is kept beside it.
    """
    spec = setting.spec
    if "latency" not in spec.objectives:
        return
    known = {item.trial: item for item in records}
    while True:
        hopeful = may_stand(list(known.values()), objectives=spec.objectives)
        members = [item for item in hopeful if item.trial_latency is None]
        if not members:
            return
        progress.on_phase(f"measuring {len(members)} architectures once more, alone")
        measurements = _measured_alone(setting, [item.architecture_id for item in members])
        for member, found in zip(members, measurements, strict=True):
            revised = dataclasses.replace(
                member,
                trial_latency=member.latency,
                latency=found.latency,
                latency_low=found.latency_low,
                latency_high=found.latency_high,
                latency_s=found.latency_s,
                reference_latency_s=found.reference_latency_s,
            )
            store.revise(revised)
            known[member.trial] = revised


def _measured_alone(setting: Setting, architecture_ids: list[str]) -> list[Measurement]:
    resources = setting.spec.resources
    task = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)(_measure_alone)
    measurements: list[Measurement] = ray.get(
        task.remote(
            [setting.space[item].architecture for item in architecture_ids],
            reference=setting.reference.architecture,
            recipe=setting.spec.recipe,
            device=resources.device,
            threads=resources.cpus_per_trial,
            time_limit_s=resources.measure_limit_s,
        )
    )
    return measurements


def _measure_alone(
    architectures: list[Architecture],
    *,
    reference: Architecture,
    recipe: Recipe,
    device: str,
    threads: int,
    time_limit_s: float,
) -> list[Measurement]:
    import torch

    torch.set_num_threads(threads)
    return measure_in_turn(
        architectures,
        reference=reference,
        recipe=recipe,
        device=pick_device(device),
        time_limit_s=time_limit_s,
        training_step=False,
    )


def _conclude(store: RunStore, *, progress: Progress) -> list[Record]:
    progress.on_phase("writing the report")
    # One part a table, each trial once: other programs read it with one line.
    store.merge()
    records = store.records()
    store.write_front(records)
    write_report(store)
    return records


def _folder(store: RunStore) -> Path:
    return Path(store.journal_path).parent


def _checkpoints(store: RunStore) -> Path:
    return Path(store.checkpoint_dir(0)).parent

"""Confirmation of a front: its members and their plain baselines trained again with further seeds, the same for all.

Of members that are as good within tolerance one is trained for all its twins, unless every one is asked for.

Each has the wanted number of fresh seeds; the search's own, by which it was chosen, does not count. A mean over seeds
may let another architecture onto the front, which is then confirmed in its turn, until every member of the front has
its seeds. What is recorded is never trained again; what was interrupted goes on from its checkpoint, under the trial
number that `confirmation.json` keeps for it. Optuna hears of none of it: its study holds each architecture once.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import TypeAdapter

from depthweave.reports.analysis.distinct import front_groups
from depthweave.reports.analysis.front import complete, front
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION, confirming
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.console import command_line
from depthweave.search.failures.streak import Streak
from depthweave.search.isolated_measurement import measure_again
from depthweave.search.preparation import PreparedSearch
from depthweave.search.spec.task_objectives import check_confirms
from depthweave.search.study.reopening import PreviousEnding, in_force
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Listener, LiveTrial, Progress
from depthweave.search.trials.recording import RecordMaker, outcome_of
from depthweave.search.trials.trial import TrialPlan, TrialReport
from depthweave.search.tune.loop import Ending, run_trials
from depthweave.spaces.checksums import check_seal, seal
from depthweave.spaces.space import Candidate, SearchSpace

PLAN_FILE = "confirmation.json"
MIN_SEEDS = 2
"""With fewer there is nothing to judge noise by."""


class Training(NamedTuple):
    """One architecture with one seed, and the number of its trial."""

    trial: int
    architecture_id: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class ConfirmationResources:
    """What trainings are made and recorded with; the driver's."""

    plan: TrialPlan
    checkpoints: Checkpoints
    maker: RecordMaker
    workers: int
    """Trainings at once."""
    retries: int
    """Times that one is tried again after a crash."""
    retry_failed: bool = False
    """Whether trainings that failed in an earlier part of the confirmation are made again."""


def check_confirmable(store: RunStore, *, num_seeds: int) -> None:
    """Raises `ValueError`, one line, where the run has no front or there are too few seeds to confirm it by."""
    if num_seeds < MIN_SEEDS:
        raise ValueError(f"--seeds {num_seeds}: give at least {MIN_SEEDS}; the search's own seed does not count")
    check_confirms(store.info.task)
    if not front(store.records(), objectives=store.info.objectives):
        raise ValueError(
            f"{store.where} has no front to confirm: no trial is complete with every objective; go on with "
            f"`{command_line('search', '--resume', '--out', store.where)}`"
        )


def confirm_front(
    prepared: PreparedSearch,
    store: RunStore,
    *,
    num_seeds: int,
    means: ConfirmationResources,
    progress: Progress,
    every: bool = False,
) -> Ending:
    """On the connected cluster: each distinct member of the front has `num_seeds` fresh seeds, and was measured alone.

    `every`: so has each of its twins.
    """
    measured: set[str] = set()
    again = {
        it.trial: PreviousEnding.of(it)
        for it in confirming(store.records())
        if means.retry_failed and it.state == "failed"
    }
    while True:
        records = in_force(store.records(), again)
        targets = targets_of(prepared, records, tolerances=store.info.tolerance_of, every=every)
        seeds = range(prepared.spec.seed + 1, prepared.spec.seed + 1 + num_seeds)
        trainings = _planned(store, _missing(records, targets, seeds=seeds), means=means)
        if trainings:
            ending = _train(prepared, store, trainings, records=records, means=means, progress=progress)
            if ending != "done":
                return ending
            continue
        if not any(OBJECTIVES[name].timed for name in prepared.spec.objectives) or measured.issuperset(targets):
            return "done"
        points = complete(records, objectives=[prepared.task.quality.column])
        numbers = {item.trial for item in points if item.architecture_id in targets}
        chosen = [item for item in records if item.trial in numbers]
        if not measure_again(prepared, store, chosen, progress=progress):
            return "done"
        measured.update(targets)


def targets_of(
    prepared: PreparedSearch, records: Sequence[Record], *, tolerances: Mapping[str, float], every: bool
) -> list[str]:
    """Ids of the front's distinct members, or of every one, and of the plain architectures of their sizes."""
    objectives = prepared.spec.objectives
    members = front(records, objectives=objectives)
    if not every:
        verdicts = verdicts_of(records, objectives=objectives, tolerances=tolerances)
        groups = front_groups(records, objectives=objectives, tolerances=tolerances, verdicts=verdicts)
        members = [group.member for group in groups]
    targets: dict[str, None] = {}
    for member in members:
        targets[member.architecture_id] = None
        candidate = prepared.space[member.architecture_id]
        try:
            plain = prepared.space.plain(depth=candidate.architecture.depth, budget=candidate.budget)
        except ValueError:
            continue  # no plain architecture meets the budget
        targets[plain.architecture.id] = None
    return list(targets)


def _missing(records: Iterable[Record], targets: Sequence[str], *, seeds: range) -> list[tuple[str, int]]:
    """Architectures and seeds without a record, seed by seed: an interrupted confirmation then is still paired."""
    recorded = {(item.architecture_id, item.seed) for item in records}
    return [(key, seed) for seed in seeds for key in targets if (key, seed) not in recorded]


def _planned(store: RunStore, wanted: Sequence[tuple[str, int]], *, means: ConfirmationResources) -> list[Training]:
    """The trainings with their trial numbers, which are on disk before any of them begins."""
    plan = read_plan(store)
    known = {(item.architecture_id, item.seed): item for item in plan}
    new = [key for key in wanted if key not in known]
    if new:
        taken = [item.trial for item in plan] + [item.trial for item in store.records()]
        first = max([FIRST_CONFIRMATION - 1, *taken]) + 1
        for number, (architecture_id, seed) in enumerate(new, first):
            # Without a plan there is nobody whose checkpoint this could be.
            means.checkpoints.drop(number, keep_weights=False)
            known[architecture_id, seed] = Training(number, architecture_id, seed)
        values = {"trainings": [item._asdict() for item in sorted(known.values())]}
        store.write_bytes(PLAN_FILE, json.dumps(seal(values), indent=1).encode())
    return [known[key] for key in wanted]


def read_plan(store: RunStore) -> list[Training]:
    """The trainings that were ever planned, by trial number; `ValueError` where the file is damaged."""
    if not store.has_file(PLAN_FILE):
        return []
    try:
        values = json.loads(store.read_bytes(PLAN_FILE))
        # Earlier versions wrote the bare list.
        plan = check_seal(values)["trainings"] if isinstance(values, dict) else values
        found = TypeAdapter(list[Training]).validate_json(json.dumps(plan), strict=True)
        # They name folders.
        if any(item.trial < FIRST_CONFIRMATION for item in found):
            raise ValueError(f"a trial has a number below {FIRST_CONFIRMATION:,}")
        return found
    except (ValueError, KeyError, RecursionError) as error:
        told = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{store.where}/{PLAN_FILE}: cannot be read ({told}); delete it, and trainings in flight begin anew"
        ) from None


def _train(
    prepared: PreparedSearch,
    store: RunStore,
    trainings: list[Training],
    *,
    records: list[Record],
    means: ConfirmationResources,
    progress: Progress,
) -> Ending:
    architectures = plural(len({item.architecture_id for item in trainings}), "architecture")
    progress.on_begin(records=records, max_trials=len(records) + len(trainings), workers=means.workers)
    progress.on_phase(f"confirming the front: {architectures}, {plural(len(trainings), 'further training')}")
    ledger = ConfirmationLedger(trainings, store=store, space=prepared.space, means=means, listener=progress)
    return run_trials(
        ledger,
        spec=prepared.spec,
        plan=means.plan,
        data=prepared.data,
        deadline=math.inf,  # the time budget is the search's
        on_tick=progress.on_tick,
    )


class ConfirmationLedger:
    """Trainings to be made and in flight, by the name that the executor gave them; what ends is recorded."""

    def __init__(
        self,
        trainings: Sequence[Training],
        *,
        store: RunStore,
        space: SearchSpace,
        means: ConfirmationResources,
        listener: Listener,
    ) -> None:
        self._waiting = list(trainings)
        self._store, self._space, self._means, self._listener = store, space, means, listener
        self._live: dict[str, LiveTrial] = {}
        self._again: list[LiveTrial] = []
        self._closed = False
        self._streak = Streak()

    @property
    def ended(self) -> bool:
        """Whether nothing runs and no further training will be asked for."""
        return not self._live and not self._again and not self._waiting

    def next(self, name: str) -> LiveTrial | None:
        """The next training; `None` where none is left or as many run as may."""
        if self._closed or len(self._live) >= self._means.workers:
            return None
        if self._again:
            live = self._again.pop(0)
        elif self._waiting:
            training = self._waiting.pop(0)
            candidate: Candidate = self._space[training.architecture_id]
            live = LiveTrial(
                number=training.trial, candidate=candidate, started_at=datetime.now(UTC), seed=training.seed
            )
        else:
            return None
        self._live[name] = live
        self._listener.on_start(live)
        return live

    def report(self, name: str, report: TrialReport) -> None:
        """Enter a training's new evaluations."""
        if name in self._live and not self._closed:
            self._live[name].hear(report)
            self._listener.on_evaluation(self._live[name])

    def stops(self, name: str) -> bool:
        """Never: a loss counts at its end alone."""
        return False

    def fail(self, name: str, error: str, *, node_lost: bool = False) -> None:
        """Remember why a training crashed."""
        if name in self._live and not self._closed:
            self._live[name].crash(error, node_lost=node_lost)

    def finish(self, name: str, *, crashed: bool) -> None:
        """The training ended: record it. One that crashed and may be tried again goes on first."""
        if name not in self._live or self._closed:
            return
        live, maker = self._live.pop(name), self._means.maker
        if crashed and live.may_retry(self._means.retries):
            self._again.append(live)
            return
        recipe = maker.recipe if live.seed is None else dataclasses.replace(maker.recipe, seed=live.seed)
        outcome = outcome_of(live, crashed=crashed, steps=recipe.steps, max_loss=maker.task.quality.max_loss)
        rows = dataclasses.replace(maker, recipe=recipe).rows(live, outcome=outcome)
        self._store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)
        self._means.checkpoints.drop(live.number, keep_weights=rows.record.state == "complete")
        self._listener.on_finish(rows.record)
        self._streak.hear(rows.record)

    def ignore_events(self) -> None:
        """Nothing more is heard."""
        self._closed = True

    def close(self) -> None:
        """Nothing more is heard; trainings in flight go on when the confirmation is called again."""
        self.ignore_events()

"""Confirmation of a front: its members and their baselines are trained again with the same further seeds.

A distinct member is trained for its twins too, unless all members are asked for. Baselines are the plain architecture
of its size and, for a member with another wiring than dilation and period, its strided control and its strided rival.

Each architecture gets the wanted number of fresh seeds. The search's own seed does not count, because the architecture
was chosen by it. The mean over the seeds may bring another architecture onto the front, which is then confirmed too,
until every member of the front has its seeds.

A recorded training is never repeated. An interrupted one continues from its checkpoint, under the trial number that
`confirmation.json` has for it. The trainings are in no Optuna study: a study has each architecture once.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import TypeAdapter

from depthweave.reports.analysis.front import complete, front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION, confirming
from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.analysis.strided_rivals import strided_rivals
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.console import command_line
from depthweave.search.failures.streak import Streak
from depthweave.search.isolated_measurement import remeasure
from depthweave.search.planned_trainings import PlannedTrainings
from depthweave.search.preparation import PreparedSearch
from depthweave.search.search_run import SearchRun
from depthweave.search.spec.task_objectives import check_confirms
from depthweave.search.study.reopening import current_records
from depthweave.search.trial_plan import maker_of, plan_of
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.previous_ending import PreviousEnding
from depthweave.search.trials.recording import outcome_of
from depthweave.search.tune.loop import Ending, run_trials
from depthweave.spaces.checksums import add_checksum, verified_values
from depthweave.spaces.space import Candidate, SearchSpace
from depthweave.spaces.strided_control import strided_control

PLAN_FILE = "confirmation.json"
MIN_FRESH_SEEDS = 2
"""Fewer seeds have no spread."""


class PlannedTraining(NamedTuple):
    """The training of one architecture with one seed, and its trial number."""

    trial: int
    architecture_id: str
    seed: int


def check_confirmable(store: RunStore, *, num_seeds: int) -> None:
    """Raises a `ValueError` of one line where the run has no front or there are too few seeds."""
    if num_seeds < MIN_FRESH_SEEDS:
        raise ValueError(f"--seeds {num_seeds}: give at least {MIN_FRESH_SEEDS}; the search's own seed does not count")
    check_confirms(store.info.task)
    if not front(store.records(), objectives=store.info.objectives):
        raise ValueError(
            f"{store.where} has no front to confirm: no trial is complete with every objective; continue with "
            f"`{command_line('search', '--resume', '--out', store.where)}`"
        )


def confirm_front(
    run: SearchRun,
    *,
    num_seeds: int,
    workers: int,
    retry_failed: bool = False,
    all_members: bool = False,
    all_sizes: bool = False,
) -> Ending:
    """Trains each distinct member of the front with `num_seeds` fresh seeds on the connected cluster, and measures it.

    `workers` is the number of trainings at once. `retry_failed`: trainings that failed in an earlier part of the
    confirmation are run again. `all_members`: the twins of a member are trained too. `all_sizes`: so is its pattern
    at the other budgets of its depth.
    """
    prepared, store = run.prepared, run.store
    measured: set[str] = set()
    trained_again = {
        item.trial: PreviousEnding.of(item)
        for item in confirming(store.records())
        if retry_failed and item.state == "failed"
    }
    seeds = range(prepared.spec.seed + 1, prepared.spec.seed + 1 + num_seeds)
    while True:
        records = current_records(store.records(), trained_again)
        tolerances = store.info.tolerance_of
        targets = targets_of(prepared, records, tolerances=tolerances, all_members=all_members, all_sizes=all_sizes)
        trainings = _plan_trainings(run, _missing(records, targets, seeds=seeds))
        if trainings:
            ending = _train(run, trainings, records=records, workers=workers)
            if ending != "done":
                return ending
            # The means over the seeds may bring other architectures onto the front.
            continue
        # Each once: a second figure moves places by its noise, which brings members without seeds onto the front.
        waiting = set(targets) - measured
        if not any(OBJECTIVES[name].timed for name in prepared.spec.objectives) or not waiting:
            return "done"
        points = complete(records, objectives=[prepared.task.quality.column])
        numbers = {item.trial for item in points if item.architecture_id in waiting}
        chosen = [item for item in records if item.trial in numbers]
        if not remeasure(run, chosen):
            return "done"
        measured |= waiting


def targets_of(
    prepared: PreparedSearch,
    records: Sequence[Record],
    *,
    tolerances: Mapping[str, float],
    all_members: bool,
    all_sizes: bool = False,
) -> list[str]:
    """Returns the ids of the front's distinct members, or of all, and of their baselines.

    With `all_sizes` also those of the members' patterns at the other budgets of their depths.
    """
    view = RunView.of(records, objectives=prepared.spec.objectives, tolerances=tolerances)
    members = view.front if all_members else [group.member for group in view.groups]
    targets: dict[str, None] = {}
    space = prepared.space
    wanted = [space[member.architecture_id] for member in members]
    if all_sizes:
        wanted += [item for member in wanted for item in _at_other_budgets(space, member)]
    for candidate in wanted:
        targets[candidate.architecture.id] = None
        for baseline in space.baselines(depth=candidate.architecture.depth, budget=candidate.budget):
            targets[baseline.architecture.id] = None
        control = strided_control(space, candidate)
        if control is not None:
            targets[control.architecture.id] = None
    # Once the controls are trained, one of them is often the rival.
    if {item.architecture_id for item in records}.issuperset(targets):
        targets |= {item.rival.architecture_id: None for item in strided_rivals(view)}
    return list(targets)


def _at_other_budgets(space: SearchSpace, member: Candidate) -> list[Candidate]:
    """Returns the same fusion and wiring rule at the other budgets of the same depth; none for a sparse graph."""
    own = member.architecture
    return [
        space[key]
        for combination, key in space.by_combination.items()
        if (combination.fusion, combination.depth) == (own.fusion, own.depth)
        and combination.budget != member.budget
        and combination.rule == member.rule
    ]


def _missing(records: Iterable[Record], targets: Sequence[str], *, seeds: range) -> list[tuple[str, int]]:
    """Architectures and seeds without a record. Seed by seed, so that an interrupted confirmation is still paired."""
    recorded = {(item.architecture_id, item.seed) for item in records}
    return [(key, seed) for seed in seeds for key in targets if (key, seed) not in recorded]


def _plan_trainings(run: SearchRun, wanted: Sequence[tuple[str, int]]) -> list[PlannedTraining]:
    """Returns the trainings with their trial numbers, which are on disk before any of them begins."""
    plan, store = read_plan(run.store), run.store
    known = {(item.architecture_id, item.seed): item for item in plan}
    new = [key for key in wanted if key not in known]
    if new:
        taken = [item.trial for item in plan] + [item.trial for item in store.records()]
        first = max([FIRST_CONFIRMATION - 1, *taken]) + 1
        for number, (architecture_id, seed) in enumerate(new, first):
            # A checkpoint under a number that was not planned belongs to no training.
            run.checkpoints.drop(number, keep_weights=False)
            known[architecture_id, seed] = PlannedTraining(number, architecture_id, seed)
        values = {"trainings": [item._asdict() for item in sorted(known.values())]}
        store.write_bytes(PLAN_FILE, json.dumps(add_checksum(values), indent=1).encode())
    return [known[key] for key in wanted]


def read_plan(store: RunStore) -> list[PlannedTraining]:
    """Returns all trainings that were planned, by trial number. Raises `ValueError` where the file is damaged."""
    if not store.has_file(PLAN_FILE):
        return []
    try:
        values = json.loads(store.read_bytes(PLAN_FILE))
        # Earlier versions wrote the bare list.
        plan = verified_values(values)["trainings"] if isinstance(values, dict) else values
        found = TypeAdapter(list[PlannedTraining]).validate_json(json.dumps(plan), strict=True)
        # The numbers name folders.
        if any(item.trial < FIRST_CONFIRMATION for item in found):
            raise ValueError(f"a trial has a number below {FIRST_CONFIRMATION:,}")
        return found
    except (ValueError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{store.where}/{PLAN_FILE}: cannot be read ({reason}); delete it, and trainings in flight start again"
        ) from None


def _train(run: SearchRun, trainings: list[PlannedTraining], *, records: list[Record], workers: int) -> Ending:
    progress = run.progress
    architectures = plural(len({item.architecture_id for item in trainings}), "architecture")
    progress.on_begin(records=records, max_trials=len(trained_here(records)) + len(trainings), workers=workers)
    progress.on_phase(f"confirming the front: {architectures}, {plural(len(trainings), 'further training')}")
    return run_trials(
        ConfirmationLedger(trainings, run=run, workers=workers),
        spec=run.prepared.spec,
        plan=dataclasses.replace(plan_of(run), evaluates_test=True),
        data=run.prepared.data,
        deadline=math.inf,  # the time budget is the search's
        on_tick=progress.on_tick,
    )


class ConfirmationLedger(PlannedTrainings):
    """The trainings of a confirmation. Each is recorded when it ends."""

    def __init__(self, trainings: Sequence[PlannedTraining], *, run: SearchRun, workers: int) -> None:
        planned = (
            LiveTrial(
                number=training.trial,
                candidate=run.prepared.space[training.architecture_id],
                started_at=datetime.now(UTC),
                seed=training.seed,
            )
            for training in trainings
        )
        super().__init__(planned, workers=workers, retries=run.prepared.spec.search.retries)
        self._run, self._maker = run, maker_of(run)
        self._streak = Streak()

    def on_start(self, live: LiveTrial) -> None:
        if not live.crashes:
            live.started_at = datetime.now(UTC)
        self._run.progress.on_start(live)

    def on_evaluation(self, live: LiveTrial) -> None:
        self._run.progress.on_evaluation(live)

    def keep(self, live: LiveTrial, *, crashed: bool) -> None:
        """Raises `OneCauseError` after too many failures of one cause in a row."""
        maker = self._maker
        recipe = maker.recipe if live.seed is None else dataclasses.replace(maker.recipe, seed=live.seed)
        outcome = outcome_of(live, crashed=crashed, steps=maker.schedule.steps, max_loss=maker.task.quality.max_loss)
        rows = dataclasses.replace(maker, recipe=recipe).rows(live, outcome=outcome)
        self._run.store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)
        self._run.checkpoints.drop(live.number, keep_weights=rows.record.state == "complete")
        self._run.progress.on_finish(rows.record)
        self._streak.add(rows.record)

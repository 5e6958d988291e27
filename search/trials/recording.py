"""The rows of a trial that ended: its record, its evaluations and its connection weights."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from depthweave.reports.store.objectives import OBJECTIVES, column_value, cost_names
from depthweave.reports.store.records import EvaluationRow, Record, State, WeightRow
from depthweave.reports.store.score_rows import LIST_ROWS, rows_of
from depthweave.search.known_columns import KnownColumns
from depthweave.search.learning_rates import ONE_RATE, LearningRates
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.trial import TrialReport
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.hosted import HostedArchitecture
from depthweave.trainers import Evaluation, HeldOutLoss, Measurement, Recipe
from depthweave.trainers.recipe import Precision
from depthweave.trainers.tasks import AnyTask, Schedule, TaskData

TIMED = tuple(column for item in OBJECTIVES.values() if item.timed for column in item.measured_columns)
"""Columns of a record that a clock fills, named as in a measurement."""
_MEASURED = tuple(column for item in OBJECTIVES.values() for column in item.measured_columns)
_NO_QUALITY: Mapping[str, None] = {"perplexity": None, "bits_per_byte": None}
"""Columns without a default that not every task fills."""


class Rows(NamedTuple):
    """All rows of one trial."""

    record: Record
    evaluations: list[EvaluationRow]
    weights: list[WeightRow]


class Outcome(NamedTuple):
    """How a trial ended, and why where it is not complete."""

    state: State
    reason: str | None


def outcome_of(live: LiveTrial, *, crashed: bool, steps: int, max_loss: float) -> Outcome:
    """Returns how a trial ended. A stopped trial is pruned, and one that ended before its last step has failed.

    A loss above `max_loss` counts as diverged: the task's columns cannot hold its quality.
    """
    if crashed:
        return Outcome("failed", live.error or "the worker ended without a message")
    if live.evaluations and live.evaluations[-1].diverged:
        return Outcome("diverged", f"the loss was not finite at step {live.evaluations[-1].step}")
    if live.stop_reason is not None:
        return Outcome("pruned", live.stop_reason)
    if not live.evaluations or not math.isfinite(live.evaluations[-1].loss):
        return Outcome("failed", "the trial ended without an evaluation")
    if live.evaluations[-1].loss > max_loss:
        return Outcome("diverged", f"the loss was above {max_loss:.0f} at step {live.evaluations[-1].step}")
    if live.evaluations[-1].step < steps:
        return Outcome("failed", f"the trial ended after step {live.evaluations[-1].step} of {steps}")
    return Outcome("complete", None)


@dataclass(frozen=True, kw_only=True)
class RecordMaker:
    """Makes records, with what is the same for all trials of a run."""

    run_id: str
    reference_id: str
    recipe: Recipe
    rates: LearningRates = ONE_RATE
    """The learning rates that replace the recipe's."""
    task: AnyTask
    data: TaskData
    software: str
    device: str
    """Device type of a trial that never reported."""

    @property
    def schedule(self) -> Schedule:
        """How long a trial is."""
        found: Schedule = self.task.schedule(self.recipe)
        return found

    def rows(self, live: LiveTrial, *, outcome: Outcome) -> Rows:
        """Returns all rows of a trial that ended."""
        record = self._record(live, outcome)
        key = {name: getattr(record, name) for name in ("run_id", "trial", "architecture_id", "seed")}
        evaluations = [
            EvaluationRow(
                **key,
                index=item.index,
                step=item.step,
                tokens=item.tokens,
                loss=item.loss,
                train_loss=item.train_loss,
                bits_per_byte=item.bits_per_byte,
                train_s=item.train_s,
                evaluation_s=item.evaluation_s,
            )
            for item in live.evaluations
        ]
        weights = [
            WeightRow(**key, tokens=item.tokens, site=weight.site, source=weight.source, value=weight.value)
            for item in live.evaluations
            for weight in item.weights
            # Weights of a diverged training mean nothing, and no reader accepts them.
            if math.isfinite(weight.value)
        ]
        return Rows(record, evaluations, weights)

    def _record(self, live: LiveTrial, outcome: Outcome) -> Record:
        architecture, rule = live.candidate.architecture, live.candidate.rule
        stride = None if rule is None else rule.stride
        costs = costs_of(architecture)
        last = live.evaluations[-1] if live.evaluations else None
        final = last if outcome.state == "complete" else None
        states = None if final is None else final.states
        test = None if final is None or live.last_report is None else live.last_report.test
        return Record(
            run_id=self.run_id,
            trial=live.number,
            architecture_id=architecture.id,
            seed=self.recipe.seed,
            state=outcome.state,
            reason=outcome.reason,
            reference=architecture.id == self.reference_id,
            audit=live.audit,
            fusion=architecture.fusion,
            rule=None if rule is None else rule.text,
            dilation=None if stride is None else stride.dilation,
            period=None if stride is None else stride.period,
            depth=architecture.depth,
            width=architecture.width,
            heads=architecture.heads,
            feed_forward=architecture.feed_forward,
            block=architecture.block.kind,
            heads_per_kv=architecture.block.heads_per_kv,
            qk_norm=architecture.block.qk_norm,
            vocabulary=architecture.vocabulary,
            context=architecture.context,
            wiring=json.dumps([[site.block, list(site.sources)] for site in architecture.wiring]),
            head=_head_json(architecture),
            budget=live.candidate.budget,
            parameters=costs.parameters,
            embedding_parameters=costs.embedding_parameters,
            forward_flops=costs.forward_flops,
            kept_states=costs.kept_states,
            loss=None if final is None else final.loss,
            last_loss=None if last is None else last.loss,
            last_train_loss=None if last is None else last.train_loss,
            steps=0 if last is None else last.step,
            tokens=0 if last is None else last.tokens,
            state_norms=None if states is None else _rounded(states.norms),
            input_cosines=None if states is None else _rounded(states.cosines),
            text_losses=_rounded(final.text_losses, digits=7) if final is not None and final.text_losses else None,
            tokens_per_s=None if last is None or not last.train_s else last.tokens / last.train_s,
            trial_latency=None,
            started_at=live.started_at,
            finished_at=datetime.now(UTC),
            train_s=0.0 if last is None else last.train_s,
            evaluation_s=0.0 if last is None else last.evaluation_s,
            recipe=_recipe_json(self.rates.recipe(self.recipe, architecture), live.last_report),
            corpus=self.data.corpus,
            corpus_sha256=self.data.corpus_sha256,
            tokenizer=self.data.tokenizer,
            software=self.software,
            attempts=_attempts(live, outcome),
            **self._quality(final, test),
            **self._worker_columns(live),
        )

    def _quality(self, final: Evaluation | None, test: HeldOutLoss | None) -> dict[str, Any]:
        """Returns the columns that the task fills; absent before the end of a training."""
        values = {
            **_NO_QUALITY,
            **({} if final is None else self.task.record_values(final)),
            **({} if test is None else self.task.test_values(test)),
        }
        return {name: rows_of(name, value) if name in LIST_ROWS else value for name, value in values.items()}

    def _worker_columns(self, live: LiveTrial) -> dict[str, Any]:
        """Returns the columns that a worker measures or knows."""
        report = live.last_report
        measured = {} if report is None else dataclasses.asdict(report.measurement)
        return {
            **{name: _finite(measured.get(name)) for name in _MEASURED},
            "latency_noise": _finite(measured.get("noise_frac")),
            "measure_s": measured.get("measure_s", 0.0),
            "wall_s": 0.0 if report is None else report.wall_s,
            "device": self.device if report is None else report.device,
            "hardware": "" if report is None else report.hardware,
            "threads": 0 if report is None else report.threads,
            "host": "" if report is None else report.host,
        }


def costs_among(objectives: Sequence[str], values: Mapping[str, float | None]) -> dict[str, float]:
    """Returns those of the values that are costs among the objectives; a cost without a value is infinite."""
    costs = {name: values[name] for name in objectives if OBJECTIVES[name].cost}
    return {name: math.inf if value is None else float(value) for name, value in costs.items()}


def costs_before_training(
    objectives: Sequence[str], *, architecture: Architecture, measured: Measurement
) -> dict[str, float]:
    """Returns the costs among the objectives, by name, of an architecture that was measured and not yet trained."""
    known = KnownColumns(architecture, measured)
    values = {name: column_value(known, name) for name in cost_names(objectives)}
    return costs_among(objectives, values)


def _finite(value: float | None) -> float | None:
    """Returns the value, or `None` where it is not finite: no reader accepts that."""
    return value if value is not None and math.isfinite(value) else None


def _recipe_json(recipe: Recipe, report: TrialReport | None) -> str:
    """Returns the recipe with the precision of the training."""
    return _json_of(recipe, None if report is None else report.precision)


@cache
def _json_of(recipe: Recipe, precision: Precision | None) -> str:
    """Cached, because a search has all its records in memory."""
    if recipe.precision == "auto" and precision is not None:
        recipe = dataclasses.replace(recipe, precision=precision)
    return json.dumps(dataclasses.asdict(recipe))


def _head_json(architecture: Architecture) -> str | None:
    """Returns the shapes of head and host as JSON; `None` for a decoder, which the other columns describe."""
    return json.dumps(architecture.to_dict()) if isinstance(architecture, HostedArchitecture) else None


def _rounded(values: Sequence[float], *, digits: int = 5) -> str:
    """Returns the values as JSON. Five digits are enough for means over a thousand tokens."""
    return json.dumps([float(f"{value:.{digits}g}") for value in values])


def _attempts(live: LiveTrial, outcome: Outcome) -> int:
    """Workers count attempts with a checkpoint, over all parts of the run. A crash may precede the first checkpoint."""
    reported = 0 if live.last_report is None else live.last_report.attempts
    return max(1, reported, live.crashes + (outcome.state != "failed"))

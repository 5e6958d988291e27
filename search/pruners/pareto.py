"""The pruner `pareto`: gives up trials that are unlikely to be Pareto optimal, and trains the most promising ones.

A trial's costs are known before it trains; its final loss is forecast from its learning curve (`learning_curves.py`).
Its probability of being optimal is that of a final loss below the final losses of all complete trials that cost no
more. Below `level` the trial is given up. At the first rung a trial has one loss and no curve, and is not judged.

`ParetoChooser` pauses trials at rungs. A free worker resumes the trial with the largest expected hypervolume
improvement per remaining evaluation, or starts a new trial if that is worth more. Every fusion has a trial that is
trained to its end (`first_of_fusion.py`). With a guide, which forecasts from the architectures too, the first rung is
judged as well, and trials with a negligible improvement are given up.
`ParetoPruner` stops trials in any Optuna study with one objective; its stops are final. Until three trials are
complete, both use successive halving by non-dominated rank (`halving.py`), or what a guide expects from other runs.

Both are pure functions of the trials that they see: a resumed search decides as the uninterrupted one.

Axes: T trials, R rungs and the last evaluation, C costs, S samples.

Source: K. Swersky, J. Snoek and R. P. Adams (2014), Freeze-thaw Bayesian optimization, arXiv:1406.3896, for pausing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.pruners.chooser import NEW, Guide, GuideView, NewTrialOutlook, TrialSnapshot
from depthweave.search.pruners.first_of_fusion import first_of_its_fusion
from depthweave.search.pruners.halving import MoAshaPruner, ranks
from depthweave.search.pruners.peers import COSTS
from depthweave.search.pruners.trial_table import TrialTable, trial_table
from depthweave.search.surrogate.learning_curves import (
    RUNG_FACTOR,
    Array,
    Forecast,
    RungRegression,
    fit_regressions,
    forecast_final,
    geometric_rungs,
)
from depthweave.search.surrogate.optimality import FrontOptimality, optimality_of, should_start_new

MIN_FINISHED = 3
"""Minimum number of complete trials for a forecast of curves."""
_STARTUP = 10
"""Number of trials that are started before any is resumed."""
_STARTUP_ETA = 3
_STARTUP_PRUNER_ETA = 2
"""Of the pruner: smaller, because its stops are final."""
_QUANTILES = np.array([NormalDist().inv_cdf((place + 0.5) / 32) for place in range(32)])
"""Quantiles of a standard normal distribution: equally likely outcomes."""
_MIN_IMPROVEMENT_FRAC = 1e-4
"""Share of the front's hypervolume. With a guide, a trial with a smaller expected improvement is given up."""
_MAX_EVALUATED = 128
"""Maximum number of paused trials whose improvements are computed, those with the highest probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoChooser:
    """Pauses trials at rungs and resumes the most promising one (a `Chooser`)."""

    num_evaluations: int
    """Of a full training."""
    level: float = 0.08
    """A trial with a lower probability of being optimal is given up, 0 to 1."""
    audit_frac: float = 0.05
    """Share of the given-up trials that are trained to their end as an audit, at least one; 0 for none."""
    grace: int = 1
    """The first rung: evaluations that every trial gets."""
    seed: int = 0
    """Of the draw of audited trials."""
    guide: Guide | None = None
    """Forecasts from the architectures as well, and the outlook of a new trial; else the curves alone are used."""

    def __post_init__(self) -> None:
        _check_options(level=self.level, audit_frac=self.audit_frac, grace=self.grace)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Evaluations after which the chooser decides."""
        return geometric_rungs(self.num_evaluations, grace=self.grace, factor=RUNG_FACTOR)

    def is_rung(self, evaluation: int) -> bool:
        """Returns whether this evaluation, counted from 1, is a rung."""
        return evaluation in self.rungs

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        """Returns the paused trial to resume, `NEW`, or `None` if all are given up and none may start."""
        otherwise: Literal["new"] | None = NEW if may_start else None
        if may_start and len(snapshots) < _STARTUP:
            return NEW
        table = trial_table(snapshots, evaluations=(*self.rungs, self.num_evaluations))
        if not len(table.paused):
            return otherwise
        first = first_of_its_fusion(snapshots)
        if first is not None:
            return first
        view = None if self.guide is None else self.guide.advise(snapshots)
        if len(table.finished) >= MIN_FINISHED:
            index = self._most_promising(table, view=view, may_start=may_start)
        elif view is not None and view.is_prior:
            index = _most_expected(table, view=view)
        else:
            index = _promoted(table, may_start=may_start)
        return otherwise if index is None else int(table.number_T[index])

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        """Returns the paused trials that are trained to their end as an audit."""
        paused = [item.number for item in snapshots if item.state == "paused"]
        if not paused or not self.audit_frac:
            return []
        draws = {number: _draw(number, seed=self.seed) for number in paused}
        return [number for number in paused if draws[number] < self.audit_frac] or [min(draws, key=draws.__getitem__)]

    def _most_promising(self, table: TrialTable, *, view: GuideView | None, may_start: bool) -> int | None:
        """Returns the promising paused trial that improves most per evaluation; `None` if a new one is worth more."""
        final = table.losses_TR[table.finished, -1]
        optimality = optimality_of(final, table.costs_TC[table.finished], all_costs=table.costs_TC)
        regressions = fit_regressions(table.losses_TR, evaluations=table.evaluations)
        forecast = forecast_final(regressions, table.losses_TR[table.paused])
        if view is not None:
            guided = np.array([view.forecasts[int(number)] for number in table.number_T[table.paused]])
            forecast = Forecast(guided[:, 0], guided[:, 1])
        promising, improvements = self._promising(
            table, optimality=optimality, forecast=forecast, guided=view is not None
        )
        if not len(promising):
            return None
        rates = improvements / (self.num_evaluations - table.num_losses_T[promising])
        best = int(np.argmax(rates))
        if may_start:
            new = self._improvements_of_new(table, regressions, optimality=optimality, view=view)
            if should_start_new(new, rate=float(rates[best]), first=self.grace, rest=self.num_evaluations - self.grace):
                return None
        return int(promising[best])

    def _improvements_of_new(
        self,
        table: TrialTable,
        regressions: Sequence[RungRegression],
        *,
        optimality: FrontOptimality,
        view: GuideView | None,
    ) -> Array:
        """Returns a sample of the improvements to expect of a new trial once it has reached the first rung.

        Without a guide, a new trial is taken to be like the existing ones, as they were at the first rung.
        """
        sample = np.unique(np.linspace(0, len(table.number_T) - 1, _MAX_EVALUATED).round().astype(int))
        first_TR = np.full((len(sample), len(table.evaluations)), np.nan)
        first_TR[:, 0] = table.losses_TR[sample, 0]
        forecast, costs_SC = forecast_final(regressions, first_TR), table.costs_TC[sample]
        if view is not None and view.new is not None:
            forecast = _preposterior(view.new, sd=float(np.median(forecast.sd_T)))
            costs_SC = np.tile([view.new.costs[name] for name in table.names], (len(forecast.mean_T), 1))
        return optimality.improvements(forecast, costs_SC)

    def _promising(
        self, table: TrialTable, *, optimality: FrontOptimality, forecast: Forecast, guided: bool
    ) -> tuple[NDArray[np.intp], Array]:
        """Returns indices of the paused trials that are not given up, and the expected improvement of each.

        `forecast` holds a row for each paused trial.
        """
        probabilities = optimality.probabilities(forecast, table.costs_TC[table.paused])
        # One loss is no curve yet: a curve that falls late looks like a bad one. A guide knows similar architectures.
        judged = (table.num_losses_T[table.paused] > self.grace) | guided
        best = np.argsort(-probabilities, kind="stable")
        best = best[(probabilities[best] >= self.level) | ~judged[best]][:_MAX_EVALUATED]
        if not len(best):
            return best, np.zeros(0)
        forecast = Forecast(forecast.mean_T[best], forecast.sd_T[best])
        improvements = optimality.improvements(forecast, table.costs_TC[table.paused[best]])
        kept = improvements >= (_MIN_IMPROVEMENT_FRAC * optimality.volume if guided else 0.0)
        return table.paused[best[kept]], improvements[kept]


class ParetoPruner(BasePruner):
    """Stops trials that are unlikely to be optimal. The study has one objective, its trials the user attribute `costs`.

    A trial's costs are a mapping by name, known before its first report. A trial without costs is never stopped. The
    length of a full training is that of the longest complete trial.
    """

    sees_all_peers: ClassVar[bool] = True
    """It compares costs itself (`peers.should_stop`), and learns from the curves of trials that cost more too."""

    def __init__(self, level: float = 0.08, audit_frac: float = 0.05, grace: int = 1, seed: int = 0) -> None:
        _check_options(level=level, audit_frac=audit_frac, grace=grace)
        self._level, self._audit_frac, self._grace, self._seed = level, audit_frac, grace, seed
        self._startup = MoAshaPruner(eta=_STARTUP_PRUNER_ETA, grace=grace)
        self._finished: dict[int, tuple[FrozenTrial, TrialSnapshot | None]] = {}
        """Finished trials and their snapshots, by number. In a study they do not change."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether the trial is at a rung, unlikely to be optimal, and not drawn for the audit."""
        if study.direction != StudyDirection.MINIMIZE:
            raise ValueError("pruner 'pareto': the study maximises: report a loss, and minimise it")
        names = trial.user_attrs.get(COSTS)
        if names is None or _draw(trial.number, seed=self._seed) < self._audit_frac:
            return False
        snapshots = [
            snapshot
            for item in study.get_trials(deepcopy=False)
            if (snapshot := self._snapshot(item)) is not None and snapshot.costs.keys() >= names.keys()
        ]
        lengths = [len(item.losses) for item in snapshots if item.state == "complete"]
        num_evaluations = max(lengths, default=0)
        if lengths.count(num_evaluations) < MIN_FINISHED:
            return self._startup.prune(study, trial)
        rungs = geometric_rungs(num_evaluations, grace=self._grace, factor=RUNG_FACTOR)
        if not all(map(math.isfinite, trial.intermediate_values.values())):
            return True
        if len(trial.intermediate_values) not in rungs[1:]:
            return False
        table = trial_table(snapshots, evaluations=(*rungs, num_evaluations), names=tuple(names))
        full = table.finished[table.num_losses_T[table.finished] == num_evaluations]
        optimality = optimality_of(table.losses_TR[full, -1], table.costs_TC[full], all_costs=table.costs_TC[full])
        row = np.flatnonzero(table.number_T == trial.number)
        regressions = fit_regressions(table.losses_TR, evaluations=table.evaluations)
        forecast = forecast_final(regressions, table.losses_TR[row])
        return bool(optimality.probabilities(forecast, table.costs_TC[row])[0] < self._level)

    def _snapshot(self, trial: FrozenTrial) -> TrialSnapshot | None:
        """Returns the snapshot of a trial with a curve and costs. That of a finished trial is cached."""
        cached = self._finished.get(trial.number)
        if cached is not None and cached[0] is trial:
            return cached[1]
        snapshot = _snapshot_of(trial)
        if trial.state.is_finished():
            self._finished[trial.number] = trial, snapshot
        return snapshot


def _snapshot_of(trial: FrozenTrial) -> TrialSnapshot | None:
    values, costs = trial.intermediate_values, trial.user_attrs.get(COSTS)
    if costs is None or trial.state == TrialState.FAIL or not values or not all(map(math.isfinite, values.values())):
        return None
    state: Literal["complete", "running"] = "complete" if trial.state == TrialState.COMPLETE else "running"
    return TrialSnapshot(trial.number, "", costs, tuple(values[step] for step in sorted(values)), state)


def _preposterior(outlook: NewTrialOutlook, *, sd: float) -> Forecast:
    """Returns a sample of a new trial's forecasts after its first losses, which alone predict its end up to `sd`.

    Before they are observed, the mean of that forecast is normal about the outlook's mean. Its standard deviation is
    the same for all observations.
    """
    share = outlook.sd**2 / (outlook.sd**2 + sd**2)
    mean_S = outlook.mean + outlook.sd * math.sqrt(share) * _QUANTILES
    return Forecast(mean_S, np.full(len(mean_S), outlook.sd * math.sqrt(1.0 - share)))


def _most_expected(table: TrialTable, *, view: GuideView) -> int:
    """Returns the paused trial that adds most to the front by what other runs let expect of it."""
    expected_T = np.array([view.forecasts[int(number)] for number in table.number_T])
    final_T = np.where(np.isnan(table.losses_TR[:, -1]), expected_T[:, 0], table.losses_TR[:, -1])
    # The complete trials do not span the objectives yet: all trials do, as they are expected to end.
    reference_O = optimality_of(final_T, table.costs_TC, all_costs=table.costs_TC).reference_O
    optimality = FrontOptimality(final_T[table.finished], table.costs_TC[table.finished], reference_O)
    forecast = Forecast(*expected_T[table.paused].T)
    return int(table.paused[np.argmax(optimality.improvements(forecast, table.costs_TC[table.paused]))])


def _promoted(table: TrialTable, *, may_start: bool) -> int | None:
    """Returns the paused trial that successive halving promotes, from the highest rung down.

    If it promotes none, a new trial is due (`None`); if none may start, the furthest paused trial is resumed.
    """
    last_T = (~np.isnan(table.losses_TR)).sum(axis=1) - 1
    for rung in range(int(last_T[table.paused].max()), -1, -1):
        peers = np.flatnonzero(last_T >= rung)
        waiting = [index for index in table.paused if last_T[index] == rung]
        if waiting and int((last_T[peers] > rung).sum()) < max(MIN_FINISHED, len(peers) // _STARTUP_ETA):
            rank = dict(zip(peers, ranks(table.losses_TR[peers, rung], table.costs_TC[peers]), strict=True))
            return int(min(waiting, key=lambda index: (rank[index], table.losses_TR[index, rung])))
    if may_start:
        return None
    return int(min(table.paused, key=lambda index: (-last_T[index], table.losses_TR[index, last_T[index]])))


def _draw(number: int, *, seed: int) -> float:
    """Returns a uniform number from 0 to 1, a function of the trial's number and the seed alone."""
    return float(np.random.default_rng([seed, number]).random())


def _check_options(*, level: float, audit_frac: float, grace: int) -> None:
    for name, value in (("level", level), ("audit_frac", audit_frac)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"pruner 'pareto': {name} is {value}: give a share from 0 to under 1")
    if grace < 1:
        raise ValueError(f"pruner 'pareto': grace is {grace}: give at least 1 evaluation")

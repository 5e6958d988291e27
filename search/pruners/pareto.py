"""The pruner `pareto`: who goes on promises most hypervolume an evaluation; who can hardly be optimal does not.

A trial's costs are known before it trains, and its final loss is forecast from its curve (`forecast.py`). It is
hopeless where the probability is under `level` that it ends below every finished trial that costs no more; at the
first rung, where it has one loss and no curve, nobody is. Where a guide forecasts, which knows the architectures, the
first rung is judged too, and who promises next to nothing is hopeless as well.
`ParetoChooser` pauses trials at rungs and gives a free worker to the hopeful one that promises most hypervolume for
the evaluations that it still needs, or to a new one where that promises more. `ParetoPruner` stops the hopeless in any
Optuna study with one objective, where a stop is for ever. Until three trials have finished, both halve successively
by non-dominated rank (`halving.py`).

Both are pure functions of what they are shown: a resumed search decides as the uninterrupted one would have.

Axes: T trials, R rungs and the last evaluation, C costs.

Source: K. Swersky, J. Snoek and R. P. Adams (2014), Freeze-thaw Bayesian optimization, arXiv:1406.3896, for pausing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.pruners.chooser import NEW, Guide, GuideView, NewTrialOutlook, TrialSnapshot
from depthweave.search.pruners.halving import MoAshaPruner, ranks
from depthweave.search.pruners.peers import COSTS
from depthweave.search.surrogate.learning_curves import Array, Forecast, fit_links, forecast_final, geometric_rungs
from depthweave.search.surrogate.optimality import FrontOptimality, optimality_of, should_start_new

MIN_FINISHED = 3
"""Finished trials from which on curves are forecast."""
_RUNG_FACTOR = 2.0
_STARTUP = 10
"""Trials that are started before any goes on."""
_STARTUP_ETA = 3
_STARTUP_STOP_ETA = 2
"""Gentler than where a trial is only paused."""
_QUANTILES = np.array([NormalDist().inv_cdf((place + 0.5) / 32) for place in range(32)])
"""Of a standard normal distribution: equally likely outcomes."""
_LEAST_GAIN_FRAC = 1e-4
"""Of the hypervolume there is: who promises less, where a surrogate says what to expect, is not worth a training."""
_MAX_WEIGHED = 128
"""Of so many paused trials at most is the promise computed: those with the best chances."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoChooser:
    """Pauses trials at rungs and goes on with what promises most (a `Chooser`)."""

    num_evaluations: int
    """Of a whole training."""
    level: float = 0.08
    """The probability of being optimal under which a trial is hopeless, 0 to 1."""
    audit_frac: float = 0.05
    """Share of the hopeless that run to their end all the same, at least one; 0 for none."""
    grace: int = 1
    """Evaluations that every trial gets: the first rung."""
    seed: int = 0
    """Of the draw of the audited."""
    guide: Guide | None = None
    """Forecasts of one who knows the architectures, and the trial that would be started; else the curves alone say."""

    def __post_init__(self) -> None:
        _check_options(level=self.level, audit_frac=self.audit_frac, grace=self.grace)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Evaluations after which is decided."""
        return geometric_rungs(self.num_evaluations, grace=self.grace, factor=_RUNG_FACTOR)

    def is_rung(self, evaluation: int) -> bool:
        """Whether to decide after this evaluation, counted from 1."""
        return evaluation in self.rungs

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        """The paused trial to go on with, `NEW`, or `None` where no paused one is hopeful and none may start."""
        otherwise: Literal["new"] | None = NEW if may_start else None
        if may_start and len(snapshots) < _STARTUP:
            return NEW
        table = _table(snapshots, evaluations=(*self.rungs, self.num_evaluations))
        if not len(table.paused):
            return otherwise
        if len(table.finished) < MIN_FINISHED:
            index = _promoted(table, may_start=may_start)
        else:
            view = None if self.guide is None else self.guide.advise(snapshots)
            index = self._most_promising(table, view=view, may_start=may_start)
        return otherwise if index is None else int(table.number_T[index])

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        """The paused trials that run to their end all the same."""
        paused = [item.number for item in snapshots if item.state == "paused"]
        if not paused or not self.audit_frac:
            return []
        lots = {number: _draw(number, seed=self.seed) for number in paused}
        return [number for number in paused if lots[number] < self.audit_frac] or [min(lots, key=lots.__getitem__)]

    def _most_promising(self, table: _Table, *, view: GuideView | None, may_start: bool) -> int | None:
        """Of the hopeful paused trials the one with the highest rate; none where a new trial is worth more."""
        whole = table.losses_TR[table.finished, -1]
        optimality = optimality_of(whole, table.costs_TC[table.finished], all_costs=table.costs_TC)
        links = fit_links(table.losses_TR, evaluations=table.evaluations)
        forecast = forecast_final(links, table.losses_TR[table.paused])
        if view is not None:
            told = np.array([view.forecasts[int(number)] for number in table.number_T[table.paused]])
            forecast = Forecast(told[:, 0], told[:, 1])
        hopeful, promises = self._hopeful(table, optimality=optimality, forecast=forecast, guided=view is not None)
        if not len(hopeful):
            return None
        rates = promises / (self.num_evaluations - table.num_losses_T[hopeful])
        first = int(np.argmax(rates))
        if may_start:
            some = np.unique(np.linspace(0, len(table.number_T) - 1, _MAX_WEIGHED).round().astype(int))
            early_TR = np.full((len(some), len(table.evaluations)), np.nan)
            early_TR[:, 0] = table.losses_TR[some, 0]
            early, costs_SC = forecast_final(links, early_TR), table.costs_TC[some]
            if view is not None and view.new is not None:
                early = _look_ahead(view.new, sd=float(np.median(early.sd_T)))
                costs_SC = np.tile([view.new.costs[name] for name in table.names], (len(early.mean_T), 1))
            # Else a new trial is taken to be like those there are, as they looked at the first rung.
            new = optimality.improvements(early, costs_SC)
            if should_start_new(
                new, rate=float(rates[first]), first=self.grace, rest=self.num_evaluations - self.grace
            ):
                return None
        return int(hopeful[first])

    def _hopeful(
        self, table: _Table, *, optimality: FrontOptimality, forecast: Forecast, guided: bool
    ) -> tuple[NDArray[np.intp], Array]:
        """Indices of the hopeful paused trials, and what each promises; `forecast` is of all paused ones."""
        chances = optimality.probabilities(forecast, table.costs_TC[table.paused])
        # One loss is no curve yet: what falls late is not told from what does not, and nobody is hopeless for it,
        # unless somebody knows how its like fared.
        judged = (table.num_losses_T[table.paused] > self.grace) | guided
        best = np.argsort(-chances, kind="stable")
        best = best[(chances[best] >= self.level) | ~judged[best]][:_MAX_WEIGHED]
        if not len(best):
            return best, np.zeros(0)
        weighed = Forecast(forecast.mean_T[best], forecast.sd_T[best])
        promises = optimality.improvements(weighed, table.costs_TC[table.paused[best]])
        worth = promises >= (_LEAST_GAIN_FRAC * optimality.volume if guided else 0.0)
        return table.paused[best[worth]], promises[worth]


class ParetoPruner(BasePruner):
    """Stops an Optuna trial that is hopeless; the study has one objective, its trials the user attribute `costs`.

    A trial's costs are a mapping by name, known before its first report; one without them is never stopped. The
    length of a whole training is that of the longest finished trial.
    """

    sees_all_peers: ClassVar[bool] = True
    """It compares costs itself, and learns from the curves of dearer trials too."""

    def __init__(self, level: float = 0.08, audit_frac: float = 0.05, grace: int = 1, seed: int = 0) -> None:
        _check_options(level=level, audit_frac=audit_frac, grace=grace)
        self._level, self._audit_frac, self._grace, self._seed = level, audit_frac, grace, seed
        self._startup = MoAshaPruner(eta=_STARTUP_STOP_ETA, grace=grace)
        self._known: dict[int, tuple[FrozenTrial, TrialSnapshot | None]] = {}
        """Trials that have ended, by number, and what is to be known of them: in a study they do not change."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is at a rung, hopeless there, and not drawn for the audit."""
        if study.direction != StudyDirection.MINIMIZE:
            raise ValueError("pruner 'pareto': the study maximises: report a loss, and minimise it")
        names = trial.user_attrs.get(COSTS)
        if names is None or _draw(trial.number, seed=self._seed) < self._audit_frac:
            return False
        snapshots = [
            found
            for item in study.get_trials(deepcopy=False)
            if (found := self._standing(item)) is not None and found.costs.keys() >= names.keys()
        ]
        lengths = [len(item.losses) for item in snapshots if item.state == "complete"]
        num_evaluations = max(lengths, default=0)
        if lengths.count(num_evaluations) < MIN_FINISHED:
            return self._startup.prune(study, trial)
        rungs = geometric_rungs(num_evaluations, grace=self._grace, factor=_RUNG_FACTOR)
        if not all(map(math.isfinite, trial.intermediate_values.values())):
            return True
        if len(trial.intermediate_values) not in rungs[1:]:
            return False
        table = _table(snapshots, evaluations=(*rungs, num_evaluations), names=tuple(names))
        whole = table.finished[table.num_losses_T[table.finished] == num_evaluations]
        optimality = optimality_of(table.losses_TR[whole, -1], table.costs_TC[whole], all_costs=table.costs_TC[whole])
        mine = np.flatnonzero(table.number_T == trial.number)
        links = fit_links(table.losses_TR, evaluations=table.evaluations)
        chances = optimality.probabilities(forecast_final(links, table.losses_TR[mine]), table.costs_TC[mine])
        return bool(chances[0] < self._level)

    def _standing(self, trial: FrozenTrial) -> TrialSnapshot | None:
        """A trial with a curve and costs; one that has ended is read once."""
        known = self._known.get(trial.number)
        if known is not None and known[0] is trial:
            return known[1]
        found = _standing_of(trial)
        if trial.state.is_finished():
            self._known[trial.number] = trial, found
        return found


def _standing_of(trial: FrozenTrial) -> TrialSnapshot | None:
    values, costs = trial.intermediate_values, trial.user_attrs.get(COSTS)
    if costs is None or trial.state == TrialState.FAIL or not values or not all(map(math.isfinite, values.values())):
        return None
    state: Literal["complete", "running"] = "complete" if trial.state == TrialState.COMPLETE else "running"
    return TrialSnapshot(trial.number, "", costs, tuple(values[step] for step in sorted(values)), state)


def _look_ahead(prospect: NewTrialOutlook, *, sd: float) -> Forecast:
    """How a trial may be forecast once its curve has begun, which alone would tell its final loss up to `sd`.

    The forecast's mean is then normal about the prospect's, and what doubt is left is the same for all outcomes.
    """
    share = prospect.sd**2 / (prospect.sd**2 + sd**2)
    mean_S = prospect.mean + prospect.sd * math.sqrt(share) * _QUANTILES
    return Forecast(mean_S, np.full(len(mean_S), prospect.sd * math.sqrt(1.0 - share)))


class _Table(NamedTuple):
    """The standings that have reached the first rung, as arrays."""

    names: tuple[str, ...]
    """Of the costs."""

    evaluations: tuple[int, ...]
    """Of the columns of `losses_TR`."""
    number_T: NDArray[np.int64]
    num_losses_T: NDArray[np.int64]
    losses_TR: Array
    """NaN where not reached."""
    costs_TC: Array
    paused: NDArray[np.intp]
    """Indices."""
    finished: NDArray[np.intp]
    """Indices."""


def _table(
    snapshots: Sequence[TrialSnapshot], *, evaluations: tuple[int, ...], names: tuple[str, ...] | None = None
) -> _Table:
    """`names`: of the costs that count, all that anybody has where absent."""
    if names is None:
        # Before it is measured, a trial shows none.
        names = max((tuple(item.costs) for item in snapshots), key=len, default=())
    known = [item for item in snapshots if len(item.losses) >= evaluations[0] and len(item.costs) >= len(names)]
    return _Table(
        names=names,
        evaluations=evaluations,
        number_T=np.array([item.number for item in known], dtype=np.int64),
        num_losses_T=np.array([len(item.losses) for item in known], dtype=np.int64),
        losses_TR=_at([item.losses for item in known], evaluations),
        costs_TC=np.array([[item.costs[name] for name in names] for item in known]).reshape(len(known), len(names)),
        paused=np.flatnonzero([item.state == "paused" for item in known]),
        finished=np.flatnonzero([item.state == "complete" for item in known]),
    )


def _at(losses: Sequence[tuple[float, ...]], evaluations: tuple[int, ...]) -> Array:
    """The losses `[T, R]` after these evaluations, NaN where not reached; every trial has one."""
    # In one flat array: a loop over a thousand trials takes longer than the decision.
    flat = np.fromiter(chain.from_iterable(losses), dtype=np.float64)
    num_T = np.fromiter(map(len, losses), dtype=np.int64)
    place_R = np.array(evaluations) - 1
    index_TR = (np.cumsum(num_T) - num_T)[:, None] + np.minimum(place_R, num_T[:, None] - 1)
    return np.where(place_R < num_T[:, None], flat[index_TR], np.nan)


def _promoted(table: _Table, *, may_start: bool) -> int | None:
    """The paused trial that successive halving promotes, the highest rung first.

    Where it promotes none, a new one is due; where none may start, the paused one that is furthest goes on.
    """
    last_T = (~np.isnan(table.losses_TR)).sum(axis=1) - 1
    for rung in range(int(last_T[table.paused].max()), -1, -1):
        peers = np.flatnonzero(last_T >= rung)
        mine = [index for index in table.paused if last_T[index] == rung]
        if mine and int((last_T[peers] > rung).sum()) < max(MIN_FINISHED, len(peers) // _STARTUP_ETA):
            rank = dict(zip(peers, ranks(table.losses_TR[peers, rung], table.costs_TC[peers]), strict=True))
            return int(min(mine, key=lambda index: (rank[index], table.losses_TR[index, rung])))
    if may_start:
        return None
    return int(min(table.paused, key=lambda index: (-last_T[index], table.losses_TR[index, last_T[index]])))


def _draw(number: int, *, seed: int) -> float:
    """A number from 0 to 1 that a trial keeps: whether it is audited does not depend on when that is asked."""
    return float(np.random.default_rng([seed, number]).random())


def _check_options(*, level: float, audit_frac: float, grace: int) -> None:
    for name, value in (("level", level), ("audit_frac", audit_frac)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"pruner 'pareto': {name} is {value}: give a share from 0 to under 1")
    if grace < 1:
        raise ValueError(f"pruner 'pareto': grace is {grace}: give at least 1 evaluation")

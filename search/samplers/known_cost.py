"""The sampler `known-cost`: the loss is learned, the costs are known, and the space is finite.

Optuna, Ax, Syne Tune and Ray model every objective as an unknown function. Here parameters and operations are known
exactly before training, and latency takes seconds to measure. So only the loss needs a surrogate (`surrogate/`), and
the expected hypervolume improvement has a closed form: it is maximised over all candidates, not over a few samples.
The first proposals are spread over the costs. Then every fusion without a trial gets one. What is expected of it would
otherwise follow from the others alone, and a fusion with few wirings might never be tried.

A proposal is a pure function of the study and the seed: a resumed search equals the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.pruners.peers import COSTS
from depthweave.search.samplers.distinct import fixed_params_of
from depthweave.search.surrogate.candidates import Candidates, Indices
from depthweave.search.surrogate.evidence import TrialObservation, evidence_of
from depthweave.search.surrogate.loss_model import Evidence
from depthweave.search.surrogate.pool import NO_ROW, FixedPool, Pool, PoolTrial
from depthweave.search.surrogate.posterior import KnownCosts, candidate_posterior, known_costs

STARTUP = 8
"""Number of trials that are spread over the costs before the surrogate is used."""
_MAX_DISTANT = 64
"""Maximum number of candidates of a stratum that the farthest one is chosen from."""

Curves = Mapping[int, tuple[float, ...]]
"""Losses after evaluation 1, 2, ... by the number of the trial."""
CurveSource = Callable[[], Curves]
"""Returns the curves as they are now."""


class KnownCostSampler(BaseSampler):
    """Proposes the untried candidate with the largest expected hypervolume improvement.

    For any Optuna study that minimises one loss and costs, which are known for all candidates or predicted from
    measured ones. Raises `RuntimeError` if no candidate is left, and `ValueError` in a study that maximises or has
    other objectives than the loss and the candidates' costs.
    """

    def __init__(self, candidates: Candidates | Pool, *, seed: int, loss: int = 0) -> None:
        """`loss` is the index of the loss among the study's objectives; the others are the candidates' costs.

        With a pool the candidates may grow with the trials.
        """
        self._pool: Pool = FixedPool(candidates) if isinstance(candidates, Candidates) else candidates
        num_objectives = 1 + self._pool.num_costs
        if not 0 <= loss < num_objectives:
            raise ValueError(
                f"KnownCostSampler.loss is {loss}: it must be from 0 to {num_objectives - 1}, the last cost"
            )
        self._seed, self._loss = seed, loss
        self._independent = RandomSampler(seed=seed)
        self.curves: CurveSource | None = None
        """Source of the losses of running and stopped trials: a study with several objectives cannot hold them."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Raises `ValueError` unless the objectives are one loss and the candidates' costs, all minimised."""
        num_costs = self._pool.num_costs
        if len(study.directions) != 1 + num_costs:
            raise ValueError(
                f"KnownCostSampler: the study has {len(study.directions)} objectives, the candidates have {num_costs} "
                "costs: tell the study the loss and every cost, or give the candidates the costs of its objectives"
            )
        if any(item != StudyDirection.MINIMIZE for item in study.directions):
            raise ValueError("KnownCostSampler: the study maximises an objective: minimise all, with its sign turned")

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._pool.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if fixed_params_of(trial):  # enqueued
            return {}
        others = [item for item in study.get_trials(deepcopy=False) if item.number != trial.number]
        candidates, row = self._proposal(others, number=trial.number)
        return dict(candidates.parameters[row])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def propose(self, trials: Sequence[FrozenTrial], *, number: int) -> int:
        """Returns the row of the next candidate, given all other trials; `number` is that of the new trial."""
        return self._proposal(trials, number=number)[1]

    def _proposal(self, trials: Sequence[FrozenTrial], *, number: int) -> tuple[Candidates, int]:
        """Returns the candidates of this decision, and the row of the one that is taken."""
        candidates, evidence = self._evidence(trials)
        tried = {item.row for item in evidence}
        untried = np.array([row for row in range(len(candidates.parameters)) if row not in tried], dtype=np.intp)
        if not len(untried):
            raise RuntimeError("KnownCostSampler: every architecture of the space has been tried")
        costs = known_costs(candidates, evidence)
        spread = untried if len(tried) < STARTUP else _of_unknown_fusions(candidates, untried, tried)
        if not len(spread):
            spread = untried
            posterior = candidate_posterior(candidates, evidence, costs=costs)
            # All improvements may underflow to 0: then they cannot rank candidates.
            if posterior is not None and posterior.gains_N[untried].max() > 0.0:
                return candidates, int(untried[np.argmax(posterior.gains_N[untried])])
        rng = np.random.default_rng([self._seed, number])
        return candidates, _spread(candidates, spread, sorted(tried), costs=costs, rng=rng)

    def _evidence(self, trials: Sequence[FrozenTrial]) -> tuple[Candidates, list[Evidence]]:
        """Returns the candidates after these trials, and what the trials say of them."""
        known = self._known_trials(trials)
        candidates, rows = self._pool.view(known)
        return candidates, [item.evidence._replace(row=rows[item.key]) for item in known]

    def _known_trials(self, trials: Sequence[FrozenTrial]) -> list[PoolTrial]:
        """Returns the trials whose candidates are known, with what they say of the losses."""
        curves = None if self.curves is None else self.curves()
        named = []
        observations = []
        for trial in trials:
            key = self._pool.key_of(fixed_params_of(trial) or trial.params)
            if key is None:
                continue
            finished = trial.state == TrialState.COMPLETE
            losses = () if curves is None else curves.get(trial.number, ())
            if finished and not losses:
                losses = (float(trial.values[self._loss]),)
            # A trial that was stopped without a loss counts as failed.
            failed = trial.state == TrialState.FAIL or (trial.state == TrialState.PRUNED and not losses)
            state: Literal["unfinished", "complete", "failed"] = "unfinished"
            if finished or failed:
                state = "complete" if finished else "failed"
            named.append((trial.number, key))
            observations.append(TrialObservation(NO_ROW, losses, state, self._measured(trial, finished=finished)))
        return [PoolTrial(*name, evidence) for name, evidence in zip(named, evidence_of(observations), strict=True)]

    def _measured(self, trial: FrozenTrial, *, finished: bool) -> tuple[float, ...] | None:
        costs: Mapping[str, float] | None = trial.user_attrs.get(COSTS)
        if costs is not None:
            return tuple(costs.values())
        return tuple(value for place, value in enumerate(trial.values) if place != self._loss) if finished else None


def _of_unknown_fusions(candidates: Candidates, untried: Indices, tried: set[int]) -> Indices:
    """Returns the untried candidates of fusions without any trial; none in a table of other parameters."""
    fusions = [values.get("fusion") for values in candidates.parameters]
    known = {None, *(fusions[row] for row in tried)}
    return np.array([row for row in untried.tolist() if fusions[row] not in known], dtype=np.intp)


def _spread(
    candidates: Candidates, untried: Indices, tried: list[int], *, costs: KnownCosts, rng: np.random.Generator
) -> int:
    """Returns the candidate farthest from all trials, in a random one of the cost strata with the fewest trials."""
    ranks_NC = costs.costs_NC.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    order_N = ranks_NC.sum(axis=1).argsort(kind="stable").argsort(kind="stable")
    stratum_N = order_N * STARTUP // len(order_N)
    filled = np.bincount(stratum_N[tried], minlength=STARTUP)
    available = np.unique(stratum_N[untried])
    stratum = int(rng.choice(available[filled[available] == filled[available].min()]))
    members = untried[stratum_N[untried] == stratum]
    if len(members) > _MAX_DISTANT:
        members = np.sort(rng.choice(members, _MAX_DISTANT, replace=False))
    if not tried:
        return int(rng.choice(members))
    difference = candidates.features_NF[members][:, None] - candidates.features_NF[tried][None]
    return int(members[np.square(difference).sum(axis=2).min(axis=1).argmax()])

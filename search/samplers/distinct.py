"""Wraps an Optuna sampler so that it proposes every architecture of a finite space at most once.

Optuna's samplers propose parameters. On a finite space, where several combinations of parameters name the same graph,
they repeat themselves (half of the proposals of the default TPE). Here repeated and infeasible proposals are redrawn
before the trial is created, so the study holds no trial that never ran.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.parameters import SPARSE_WIRING, Parameters

FIXED_PARAMS = "fixed_params"
"""Optuna's system attribute for the parameters of an enqueued trial."""
MAX_DRAWS = 8
"""Number of draws from the inner sampler before the nearest untried architecture is taken.

TPE repeats its best proposal. More draws cost time (10 ms each) and do not improve the front (6 seeds, a planted
optimum among 401 architectures: 1, 8 and 32 draws are equal).
"""


class DistinctSampler(BaseSampler):
    """Draws from an inner sampler until it proposes an architecture that no trial of the study has.

    Each trial gets a new inner sampler, seeded by the run's seed and the trial's number. So a proposal depends on the
    study alone, and a resumed search equals the uninterrupted one. Without an inner sampler, the architectures are
    taken in the order of the space. Raises `RuntimeError` if every architecture has been tried (see `Untried`).
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        make: Callable[[int], BaseSampler] | None,
        seed: int,
        max_draws: int = MAX_DRAWS,
    ) -> None:
        self._parameters, self._make, self._seed, self._max_draws = parameters, make, seed, max_draws
        self._untried: Untried | None = None
        self._inner: BaseSampler = RandomSampler(seed=seed) if make is None else make(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._parameters.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if params_of(trial):  # enqueued or resumed: its architecture is known
            return {}
        if self._untried is None or not self._untried.belongs_to(study):
            self._untried = Untried(study, parameters=self._parameters)
        untried = self._untried.ids()
        if not untried:
            raise RuntimeError("DistinctSampler: every architecture of the space has been tried")
        if self._make is None:
            return self._parameters.spelling(next(iter(untried)))
        seed = int(np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0])
        self._inner = self._make(seed)
        for _ in range(self._max_draws):
            proposal = self._draw(study, trial)
            if self._parameters.architecture_id(proposal) in untried:
                return proposal
        return self._nearest(proposal, untried, rng=np.random.default_rng(seed))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)

    def _draw(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        space = self._inner.infer_relative_search_space(study, trial)
        proposal = self._inner.sample_relative(study, trial, space) if space else {}
        return {
            name: proposal[name] if name in proposal else self._inner.sample_independent(study, trial, name, item)
            for name, item in self._parameters.distributions.items()
        }

    def _nearest(
        self, proposal: dict[str, Any], untried: Collection[str], *, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Returns an untried architecture that has the most parameters in common with the proposal, drawn at random."""
        candidates = [self._parameters.spelling(item) for item in untried]
        common = np.array([sum(item[name] == value for name, value in proposal.items()) for item in candidates])
        return candidates[int(rng.choice(np.flatnonzero(common == common.max())))]


class Untried:
    """The architectures that no trial of a study has, in any state.

    The architecture of a trial does not change once it is known, so each query reads new trials only: a search queries
    before every trial, and may have ten thousand trials.
    """

    def __init__(self, study: Study, *, parameters: Parameters) -> None:
        self._storage, self._study_id, self._parameters = study._storage, study._study_id, parameters
        # A dict, because it keeps the order of the space.
        self._ids = dict.fromkeys(parameters.architecture_ids)
        self._num_known = 0
        self._unknown: list[int] = []
        """Optuna's ids of the trials that had no architecture at the last query."""

    def belongs_to(self, study: Study) -> bool:
        """Returns whether this is about that study."""
        return study._storage is self._storage and study._study_id == self._study_id

    def ids(self) -> Collection[str]:
        """Returns a read-only view of their ids, in the order of the space."""
        unknown, self._unknown = [*self._unknown, *self._new_trial_ids()], []
        for trial_id in unknown:
            architecture_id = self._parameters.architecture_id(params_of(self._storage.get_trial(trial_id)))
            if architecture_id is None:
                self._unknown.append(trial_id)
            else:
                self._ids.pop(architecture_id, None)
        return self._ids.keys()

    def _new_trial_ids(self) -> list[int]:
        """Returns Optuna's ids of the trials that were created since the last query."""
        found = []
        # One by one: a list of all trials would grow with the study.
        with suppress(KeyError):
            while True:
                found.append(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, self._num_known))
                self._num_known += 1
        return found


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Returns the parameters of a trial, also of a waiting one."""
    return fixed_params_of(trial) or trial.params


def started_params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Returns the parameters of a trial that has started, with the wiring of a sparse graph; empty before that."""
    fixed = fixed_params_of(trial)
    # Optuna's own parameters have no wiring: it is no choice of a fixed list.
    is_sparse = bool(trial.params) and SPARSE_WIRING in fixed
    return {**trial.params, SPARSE_WIRING: fixed[SPARSE_WIRING]} if is_sparse else trial.params


def fixed_params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Returns the parameters of an enqueued trial; empty for a trial whose parameters the sampler proposes."""
    fixed: dict[str, Any] = trial.system_attrs.get(FIXED_PARAMS, {})
    return fixed

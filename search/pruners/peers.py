"""Fair pruning: an Optuna pruner that sees only the peers that cost no more than the trial it is asked about.

Costs (latency, memory, parameters) are known before training. A slower, larger model may not stop a faster, smaller
one: worse in loss, the small one may still stand on the front.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import Any, cast

from optuna import Study
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

COSTS = "costs"
"""User attribute of a trial: its costs by objective name, all minimised."""


def should_stop(pruner: BasePruner, *, study: Study, trial: FrozenTrial) -> bool:
    """Whether the pruner would stop the trial, asked with its fair peers alone.

    `study` has one objective and the intermediate losses; its trials carry their costs in the user attribute `COSTS`.
    A pruner that compares the costs itself (`sees_all_peers`) is shown everyone.
    """
    if getattr(pruner, "sees_all_peers", False):
        return pruner.prune(study, trial)
    fair = _FairStorage(study._storage, trial)
    view = Study(study_name=study.study_name, storage=cast(BaseStorage, fair), sampler=study.sampler, pruner=pruner)
    return pruner.prune(view, trial)


def costs_no_more(peer: Mapping[str, float] | None, costs: Mapping[str, float] | None) -> bool:
    """True where every cost of both is known and the peer's is at most the trial's."""
    if peer is None or costs is None:
        return False
    # A plain loop: it runs for every peer at every evaluation, and a generator takes three times as long.
    for name, value in costs.items():  # noqa: SIM110
        if name not in peer or not peer[name] <= value:
            return False
    return True


class _FairStorage:
    """A study's storage with the trials that cost more than `trial` out of sight.

    A view of the storage and not of the study: Optuna's Hyperband makes studies of its own from the storage.
    """

    def __init__(self, storage: BaseStorage, trial: FrozenTrial) -> None:
        self._storage = storage
        self._number = trial.number
        self._costs: Mapping[str, float] | None = trial.user_attrs.get(COSTS)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(study_id, deepcopy=False, states=states)
        fair = [
            item
            for item in trials
            if costs_no_more(item.user_attrs.get(COSTS), self._costs) or item.number == self._number
        ]
        return copy.deepcopy(fair) if deepcopy else fair

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        # Of the trials in sight: the storage's own would look through all of its trials.
        return BaseStorage.get_best_trial(cast(BaseStorage, self), study_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

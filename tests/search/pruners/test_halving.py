"""Successive halving: decisions computed by hand, and by Optuna's pruner where both are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
import pytest
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from depthweave.search.pruners.halving import AshaPruner, MoAshaPruner
from depthweave.search.pruners.peers import COSTS


def decisions(
    pruner: BasePruner,
    losses: Sequence[float],
    *,
    costs: Sequence[Mapping[str, float] | None],
    study: Study | None = None,
) -> list[bool]:
    """Whether each trial is stopped, for trials that report one loss each, one after the other."""
    study = study or optuna.create_study()
    stopped = []
    for loss, cost in zip(losses, costs, strict=True):
        trial = study.ask()
        if cost is not None:
            trial.set_user_attr(COSTS, dict(cost))
        trial.report(loss, 0)
        stopped.append(pruner.prune(study, study._storage.get_trial(trial._trial_id)))
    return stopped


def test_asha_stops_the_trials_below_the_share_by_hand() -> None:
    # Ranks among the trials so far: 1 of 1, 2 of 2, 1 of 3, 4 of 4, 1 of 5, 3 of 6. With eta 3, two of six continue.
    losses = [3.0, 4.0, 2.0, 5.0, 1.0, 2.5]
    assert decisions(AshaPruner(eta=3), losses, costs=[None] * 6) == [False, True, False, True, False, True]


def test_asha_with_loss_alone_is_mo_asha_without_costs() -> None:
    losses = [3.0, 4.0, 2.0, 5.0, 1.0, 2.5, 0.5, 2.2, 0.7]
    ours = decisions(AshaPruner(eta=2), losses, costs=[None] * 9)
    assert ours == decisions(MoAshaPruner(eta=2), losses, costs=[{}] * 9)


def test_mo_asha_stops_the_trials_below_the_rank_by_hand() -> None:
    losses = [3.0, 4.0, 2.0, 3.5, 4.5, 2.9, 2.0, 3.2, 3.1]
    costs = [{"latency": value} for value in (1.0, 2.0, 3.0, 0.5, 3.0, 1.0, 3.0, 1.0, 0.6)]
    # The first dominates the second, and one of two continues. Third and fourth are on the front. The fifth has rank 2:
    # four rank better, and two of five continue. Sixth and seventh, which equals the third, are on the front. Five rank
    # better than the eighth (the first has rank 1 by now), and four continue. The last is on the front.
    expected = [False, True, False, False, True, False, False, True, False]
    assert decisions(MoAshaPruner(eta=2), losses, costs=costs) == expected


def test_mo_asha_continues_a_cheap_trial_that_asha_stops() -> None:
    losses, costs = [2.0, 1.0, 3.0, 4.0], [{"latency": value} for value in (5.0, 6.0, 6.0, 1.0)]
    assert decisions(AshaPruner(eta=2), losses, costs=costs)[-1]
    assert not decisions(MoAshaPruner(eta=2), losses, costs=costs)[-1]


def test_decides_at_powers_of_eta_only() -> None:
    study, pruner = optuna.create_study(), AshaPruner(eta=3, grace=2)
    best = study.ask()
    for step in range(30):
        best.report(1.0, step)
    worse, stopped = study.ask(), []
    for step in range(30):
        worse.report(2.0, step)
        if pruner.prune(study, study._storage.get_trial(worse._trial_id)):
            stopped.append(step + 1)
    assert stopped == [2, 6, 18]


def test_nan_is_the_worst_loss() -> None:
    assert decisions(AshaPruner(eta=2), [9.0, float("nan"), 8.0], costs=[None] * 3) == [False, True, False]


def test_stopped_and_failed_peers_still_count() -> None:
    study = optuna.create_study()
    for state in (TrialState.PRUNED, TrialState.FAIL):
        study.add_trial(
            optuna.create_trial(state=state, intermediate_values={0: 1.0}, user_attrs={COSTS: {"latency": 1}})
        )
    assert decisions(MoAshaPruner(eta=2), [2.0], costs=[{"latency": 1.0}], study=study) == [True]


def test_trial_without_costs_is_never_stopped_by_mo_asha() -> None:
    assert decisions(MoAshaPruner(), [1.0, 9.0], costs=[None, None]) == [False, False]


@pytest.mark.parametrize(("options", "message"), [({"eta": 1}, "eta is 1"), ({"grace": 0}, "grace is 0")])
@pytest.mark.parametrize("kind", [AshaPruner, MoAshaPruner])
def test_bad_option_is_one_line(kind: type[AshaPruner | MoAshaPruner], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)

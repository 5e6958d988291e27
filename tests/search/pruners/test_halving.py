"""Successive halving: decisions computed by hand, and Optuna's own where it does the same."""

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
    """For trials that report one loss each, one after the other: who is stopped."""
    study = study or optuna.create_study()
    stopped = []
    for loss, cost in zip(losses, costs, strict=True):
        trial = study.ask()
        if cost is not None:
            trial.set_user_attr(COSTS, dict(cost))
        trial.report(loss, 0)
        stopped.append(pruner.prune(study, study._storage.get_trial(trial._trial_id)))
    return stopped


def test_asha_stops_whom_the_shares_by_hand_stop() -> None:
    # Places among those so far: 1 of 1, 2 of 2, 1 of 3, 4 of 4, 1 of 5, 3 of 6; two of six go on, with eta 3.
    losses = [3.0, 4.0, 2.0, 5.0, 1.0, 2.5]
    assert decisions(AshaPruner(eta=3), losses, costs=[None] * 6) == [False, True, False, True, False, True]


def test_asha_with_loss_alone_is_mo_asha_without_costs() -> None:
    losses = [3.0, 4.0, 2.0, 5.0, 1.0, 2.5, 0.5, 2.2, 0.7]
    ours = decisions(AshaPruner(eta=2), losses, costs=[None] * 9)
    assert ours == decisions(MoAshaPruner(eta=2), losses, costs=[{}] * 9)


def test_mo_asha_stops_whom_the_ranks_by_hand_stop() -> None:
    losses = [3.0, 4.0, 2.0, 3.5, 4.5, 2.9, 2.0, 3.2, 3.1]
    costs = [{"latency": value} for value in (1.0, 2.0, 3.0, 0.5, 3.0, 1.0, 3.0, 1.0, 0.6)]
    # The second is beaten by the first, and one of two goes on. Third and fourth are beaten by nobody. The fifth is of
    # rank 2, with four ahead and two of five to go on. Then none beats the sixth, nor the seventh, which equals the
    # third. Of the eighth's rivals five are ahead (the first is of rank 1 by now), and four go on. None beats the last.
    expected = [False, True, False, False, True, False, False, True, False]
    assert decisions(MoAshaPruner(eta=2), losses, costs=costs) == expected


def test_mo_asha_keeps_the_cheap_one_that_asha_stops() -> None:
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


def test_a_loss_that_is_not_a_number_is_the_worst() -> None:
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


@pytest.mark.parametrize(("options", "told"), [({"eta": 1}, "eta is 1"), ({"grace": 0}, "grace is 0")])
@pytest.mark.parametrize("kind", [AshaPruner, MoAshaPruner])
def test_bad_option_is_one_line(kind: type[AshaPruner | MoAshaPruner], options: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(**options)

"""Pruners: each works through the view of fair peers, and keeps its state in the study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import Study, Trial
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.pruners import PRUNERS, check_pruner, make_chooser, make_pruner
from depthweave.search.pruners.pareto import ParetoChooser
from depthweave.search.pruners.peers import COSTS, costs_no_more, should_stop

_EVALUATIONS = 8
_EAGER: dict[str, dict[str, Any]] = {
    "median": {"n_startup_trials": 1},
    "percentile": {"percentile": 50.0, "n_startup_trials": 1},
    "successive_halving": {"min_resource": 1, "reduction_factor": 2},
    "hyperband": {"min_resource": 1, "max_resource": _EVALUATIONS, "reduction_factor": 2},
    "patient": {"wrapped_pruner": "median", "patience": 0},
    "threshold": {"upper": 2.5},
    "pareto": {"audit_frac": 0.0},
    "mo-asha": {"eta": 2},
    "asha": {"eta": 2},
    "none": {},
}
"""Options with which a pruner stops a bad trial within a few evaluations."""
_COMPARING = ("median", "percentile", "successive_halving", "hyperband", "pareto", "mo-asha", "asha")
"""The pruners that compare a trial with its peers."""
_CHEAP = {"latency": 1.0, "memory_bytes": 100.0}
_DEAR = {"latency": 1.0, "memory_bytes": 101.0}


def new_study(storage: InMemoryStorage | None = None) -> Study:
    """A study with one objective, as that of the curves."""
    return optuna.create_study(study_name="curves", storage=storage or InMemoryStorage(), load_if_exists=True)


def start(study: Study, costs: Mapping[str, float]) -> Trial:
    trial = study.ask()
    trial.set_user_attr(COSTS, dict(costs))
    return trial


def add_peers(study: Study, pruner: BasePruner, *, costs: Mapping[str, float], count: int = 6) -> None:
    """Complete trials with falling losses. The pruner is asked about each, since some pruners store attributes then."""
    for number in range(count):
        trial = start(study, costs)
        for step in range(1, _EVALUATIONS + 1):
            trial.report(1.0 + 1.0 / step + number / 100, step)
            stops(pruner, study, trial)
        study.tell(trial, 1.0 + number / 100)


def stops(pruner: BasePruner, study: Study, trial: Trial) -> bool:
    return should_stop(pruner, study=study, trial=study._storage.get_trial(trial._trial_id))


def stopped_at(pruner: BasePruner, study: Study, trial: Trial, *, losses: Sequence[float]) -> int | None:
    """The evaluation, from 1, after which the trial is stopped."""
    for step, loss in enumerate(losses, start=1):
        trial.report(loss, step)
        if stops(pruner, study, trial):
            return step
    return None


@pytest.mark.parametrize("name", _EAGER)
def test_bad_trial_among_peers_of_equal_cost_is_stopped_by_every_pruner(name: str) -> None:
    study, pruner = new_study(), make_pruner(name, options=_EAGER[name])
    add_peers(study, pruner, costs=_CHEAP)
    hopeless = [3.0 + step / 10 for step in range(_EVALUATIONS)]
    found = stopped_at(pruner, study, start(study, _CHEAP), losses=hopeless)
    assert (found is None) == (name == "none")


@pytest.mark.parametrize("name", _EAGER)
def test_best_trial_is_stopped_by_no_pruner(name: str) -> None:
    study, pruner = new_study(), make_pruner(name, options=_EAGER[name])
    add_peers(study, pruner, costs=_CHEAP)
    best = [0.5 / step for step in range(1, _EVALUATIONS + 1)]
    assert stopped_at(pruner, study, start(study, _CHEAP), losses=best) is None


@pytest.mark.parametrize("name", _COMPARING)
def test_peers_of_higher_cost_do_not_stop_a_trial(name: str) -> None:
    study, pruner = new_study(), make_pruner(name, options=_EAGER[name])
    add_peers(study, pruner, costs=_DEAR)
    assert stopped_at(pruner, study, start(study, _CHEAP), losses=[3.0] * _EVALUATIONS) is None


@pytest.mark.parametrize("name", _COMPARING)
@pytest.mark.parametrize("costs", [_DEAR, {"latency": 1.2, "memory_bytes": 200.0}], ids=["equal", "dearer"])
def test_same_peers_stop_a_trial_that_costs_no_less(name: str, costs: dict[str, float]) -> None:
    study, pruner = new_study(), make_pruner(name, options=_EAGER[name])
    add_peers(study, pruner, costs=_DEAR)
    assert stopped_at(pruner, study, start(study, costs), losses=[3.0] * _EVALUATIONS) is not None


def test_peers_that_cost_less_in_one_objective_and_more_in_another_do_not_count() -> None:
    study, pruner = new_study(), make_pruner("median", options=_EAGER["median"])
    add_peers(study, pruner, costs={"latency": 0.5, "memory_bytes": 150.0})
    assert stopped_at(pruner, study, start(study, _CHEAP), losses=[3.0] * _EVALUATIONS) is None


def test_only_fair_peers_count_toward_the_startup_trials() -> None:
    study, pruner = new_study(), make_pruner("median", options={"n_startup_trials": 3})
    add_peers(study, pruner, costs=_DEAR, count=5)
    add_peers(study, pruner, costs=_CHEAP, count=2)
    trial = start(study, _CHEAP)
    assert stopped_at(pruner, study, trial, losses=[3.0] * 4) is None
    add_peers(study, pruner, costs=_CHEAP, count=1)
    assert stops(pruner, study, trial)


def test_view_of_fair_peers_holds_all_trials_for_the_one_of_highest_cost() -> None:
    study, pruner = new_study(), make_pruner("median", options=_EAGER["median"])
    add_peers(study, pruner, costs=_CHEAP)
    for losses in ([1.6, 1.4], [2.2, 1.9], [3.0, 3.0]):
        trial = start(study, _DEAR)
        fair = stopped_at(pruner, study, trial, losses=losses)
        assert (fair is not None) == pruner.prune(study, study._storage.get_trial(trial._trial_id))


@pytest.mark.parametrize(
    ("peer", "costs", "answer"),
    [
        ({"latency": 1.0}, {"latency": 1.0}, True),
        ({"latency": 0.9, "memory_bytes": 5.0}, {"latency": 1.0}, True),
        ({"latency": 1.1}, {"latency": 1.0}, False),
        ({"memory_bytes": 1.0}, {"latency": 1.0}, False),
        ({}, {}, True),
        (None, {"latency": 1.0}, False),
        ({"latency": 1.0}, None, False),
    ],
)
def test_costs_no_more(peer: dict[str, float] | None, costs: dict[str, float] | None, answer: bool) -> None:
    assert costs_no_more(peer, costs) == answer


_VALUES = st.sampled_from([0.0, 1.0, 1.5, math.inf, math.nan])
_COSTS = st.none() | st.dictionaries(st.sampled_from(["latency", "memory_bytes", "parameters"]), _VALUES)


@given(peer=_COSTS, costs=_COSTS)
def test_costs_no_more_agrees_with_its_definition(
    peer: dict[str, float] | None, costs: dict[str, float] | None
) -> None:
    known = peer is not None and costs is not None
    assert costs_no_more(peer, costs) == (
        known and all(name in (peer or {}) and (peer or {})[name] <= value for name, value in (costs or {}).items())
    )


class _BestPruner(BasePruner):
    """Stops trials that are worse than the best complete one, which it queries as Optuna's Wilcoxon pruner does."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        try:
            best = study.best_trial
        except ValueError:
            return False
        best.intermediate_values.clear()  # a copy, so that the study does not change
        assert best.value is not None
        return trial.intermediate_values[1] > best.value


def test_best_trial_is_the_best_fair_peer() -> None:
    study, pruner = new_study(), _BestPruner()
    for costs, loss in ((_DEAR, 1.0), (_CHEAP, 2.0)):
        peer = start(study, costs)
        peer.report(loss, 1)
        study.tell(peer, loss)
    answers = []
    for costs, loss in ((_CHEAP, 1.5), (_CHEAP, 2.5), (_DEAR, 1.5), ({"latency": 0.5, "memory_bytes": 1.0}, 9.0)):
        trial = start(study, costs)
        trial.report(loss, 1)
        answers.append(stops(pruner, study, trial))
    assert answers == [False, True, True, False]
    assert all(item.intermediate_values for item in study.trials)


@pytest.mark.parametrize("name", ["successive_halving", "hyperband"])
def test_rungs_are_stored_in_the_study_across_calls_and_restarts(name: str) -> None:
    storage = InMemoryStorage()
    study = new_study(storage)
    add_peers(study, make_pruner(name, options=_EAGER[name]), costs=_CHEAP)
    rungs = [sum(key.startswith("completed_rung") for key in item.system_attrs) for item in study.trials]
    assert max(rungs) >= 2
    # A new pruner on the same storage, as after a restart, reads them: the worst trial is stopped at once.
    again = new_study(storage)
    found = stopped_at(make_pruner(name, options=_EAGER[name]), again, start(again, _CHEAP), losses=[3.0] * 8)
    assert found is not None
    assert found <= 4


def test_running_peers_count_for_successive_halving() -> None:
    study, pruner = new_study(), make_pruner("successive_halving", options=_EAGER["successive_halving"])
    assert [stops_after(study, pruner, loss=loss) for loss in (1.0, 3.0, 0.9, 2.0)] == [False, True, False, True]
    assert all(item.state == TrialState.RUNNING for item in study.trials)


def stops_after(study: Study, pruner: BasePruner, *, loss: float) -> bool:
    trial = start(study, _CHEAP)
    trial.report(loss, 1)
    return stops(pruner, study, trial)


def test_all_known_pruners_are_covered_here() -> None:
    assert set(_EAGER) | {"wilcoxon"} == set(PRUNERS)


def test_options_reach_the_pruner() -> None:
    pruner = make_pruner("percentile", options={"percentile": 25, "n_warmup_steps": 3})
    assert (pruner._percentile, pruner._n_warmup_steps) == (25.0, 3)  # type: ignore[attr-defined]
    assert isinstance(make_pruner("none", options={}), NopPruner)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("medan", {}, "pruner 'medan' is not known: did you mean 'median'? Known: median, percentile"),
        (
            "median",
            {"startup": 3},
            "pruner 'median': option 'startup' is not known: did you mean 'n_startup_trials'? Known:",
        ),
        ("none", {"x": 1}, "pruner 'none': option 'x' is not known: there are none"),
        ("median", {"n_startup_trials": -1}, "do not suit pruner 'median'"),
        ("median", {"n_startup_trials": "some"}, "option 'n_startup_trials' of pruner 'median' is 'some'"),
        ("median", {"n_startup_trials": 1.5}, "is 1.5"),
        ("percentile", {}, "pruner 'percentile' needs percentile"),
        ("percentile", {"percentile": 101.0}, "do not suit pruner 'percentile'"),
        ("successive_halving", {"reduction_factor": 1}, "do not suit pruner 'successive_halving'"),
        ("hyperband", {"min_resource": "a"}, "option 'min_resource' of pruner 'hyperband' is 'a'"),
        ("patient", {"wrapped_pruner": "medan", "patience": 1}, "pruner 'medan' is not known"),
        ("patient", {"wrapped_pruner": [1], "patience": 1}, "option 'wrapped_pruner' of pruner 'patient' is [1]"),
        ("threshold", {}, "do not suit pruner 'threshold'"),
    ],
)
def test_bad_pruner_or_option_is_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="pruner") as caught:
        make_pruner(name, options=options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_check_pruner_returns_the_name() -> None:
    assert check_pruner("median") == "median"


def test_a_pruner_whose_row_has_a_chooser_pauses_and_any_other_stops() -> None:
    choosers = {
        name: make_chooser(name, options={}, num_evaluations=8, seed=1)
        for name, row in PRUNERS.items()
        if row.requires is None
    }
    assert {name for name, chooser in choosers.items() if chooser is not None} == {"pareto"}


def test_options_reach_the_chooser_as_the_numbers_that_the_pruner_takes() -> None:
    # YAML reads 5e-2 as text.
    options = {"level": "5e-2", "grace": "2"}
    expected = ParetoChooser(num_evaluations=8, level=0.05, grace=2, seed=3)
    assert make_chooser("pareto", options=options, num_evaluations=8, seed=3) == expected
    assert make_chooser("pareto", options={"seed": 5}, num_evaluations=8, seed=3) == ParetoChooser(
        num_evaluations=8, seed=5
    )

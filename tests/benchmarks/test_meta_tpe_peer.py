"""The peer of a warm start: what its source study holds, and that it searches where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmarks.meta_tpe_peer import _source_study
from benchmarks.warm_start import CASES, _search


def test_source_trials_are_spelled_in_the_targets_parameters_with_their_own_objectives() -> None:
    target, source = next(CASES["larger"].problems())
    study = _source_study(target, source=source)
    assert len(study.trials) == len(source.curves.ids)
    wanted = target.problem.parameters.spelling(target.curves.ids[0])["budget"]
    for row, trial in enumerate(study.trials):
        own = source.problem.parameters.spelling(source.curves.ids[row])
        assert own["budget"] != wanted
        assert trial.params == {**own, "budget": wanted}
        assert trial.values == [source.curves.losses_NE[row, -1], *source.curves.costs_NC[row]]


@pytest.mark.skipif(find_spec("optunahub") is None, reason="no optunahub")
def test_search_with_it_tries_every_architecture_of_the_target_once() -> None:
    target, origin = next(CASES["larger"].problems())
    found = _search(CASES["larger"], "meta-tpe", origin=origin, target=target, workers=1, seed=0)
    other = _search(CASES["larger"], "tpe", origin=origin, target=target, workers=1, seed=0)
    assert found["growth"] != other["growth"]
    assert found["evaluations"] <= target.curves.losses_NE.size

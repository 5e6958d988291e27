"""Scores of forecasts: sums by hand, what a chooser's guide is asked, and the printed table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest

from benchmarks import calibration, connectivity_table
from benchmarks.arms import ARMS
from benchmarks.cache import Cache
from benchmarks.connectivity_table import run
from benchmarks.forecast_scores import Scores, Watched, watch
from depthweave.search.pruners.chooser import GuideView, TrialSnapshot
from tests.benchmarks.planted import planted_curves


class Oracle:
    """Expects 2 +- 0.1 of everybody."""

    def advise(self, snapshots: Sequence[TrialSnapshot]) -> GuideView:
        return GuideView({item.number: (2.0, 0.1) for item in snapshots}, None)


def test_scores_by_hand() -> None:
    scores = Scores()
    for value in (-1.0, 1.0, 2.5, 3.5):
        scores.add(value)
    whole = scores + Scores()
    assert (whole.count, whole.mean, whole.beyond_2, whole.beyond_3) == (4, 1.5, 2, 1)
    assert whole.sd == pytest.approx(1.6955825)


def test_paused_trials_alone_are_scored_once_enough_have_finished() -> None:
    final = {f"a{number}": 2.0 for number in range(3)} | {"paused": 2.25, "running": 9.0}
    watched = Watched(guide=Oracle(), final=final)
    snapshots = [TrialSnapshot(number, f"a{number}", {}, (2.0,), "complete") for number in range(3)]
    snapshots += [TrialSnapshot(3, "paused", {}, (3.0,), "paused"), TrialSnapshot(4, "running", {}, (3.0,), "running")]
    watched.advise(snapshots[1:])
    assert watched.scores.count == 0
    assert watched.advise(snapshots) == Oracle().advise(snapshots)
    assert (watched.scores.count, watched.scores.mean) == (1, pytest.approx(2.5))


def test_watched_search_is_the_same_search(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = planted_curves(num_parameters=3, num_choices=3, num_evaluations=5)
    arm = ARMS["known-cost + pareto"]
    watched = run(arm, problem=problem, workers=1, seed=3)
    assert watched["scores"]["count"] > 0
    monkeypatch.setattr(connectivity_table, "watch", lambda guide, curves: (guide, None))
    assert run(arm, problem=problem, workers=1, seed=3) == watched | {"scores": None}


def test_arm_without_a_surrogate_has_no_guide_to_score() -> None:
    problem = planted_curves(num_parameters=2, num_choices=2, num_evaluations=4)
    assert ARMS["random + pareto"].guide is None
    assert watch(None, curves=problem.curves) == (None, None)


def test_table_pools_the_searches_and_names_the_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = planted_curves(num_parameters=2, num_choices=2, num_evaluations=4)
    cache = Cache("some")
    monkeypatch.setattr(cache, "_path", tmp_path / "some.jsonl")
    key = {"table": connectivity_table.identity(problem), "arm": calibration.ARM, "workers": 1}
    good = {"count": 10, "total": 0.0, "squares": 10.0, "beyond_2": 0, "beyond_3": 0}
    bad = {"count": 10, "total": 0.0, "squares": 40.0, "beyond_2": 4, "beyond_3": 1}
    for seed, scores in enumerate((good, bad, None)):
        cache.keep({**key, "seed": seed, "scores": scores})
    monkeypatch.setattr(calibration, "CACHE", cache)
    monkeypatch.setattr(calibration, "load", lambda edition: iter([problem]))
    monkeypatch.setattr("sys.argv", ["calibration"])
    calibration.main()
    *_, first, whole, last = capsys.readouterr().out.splitlines()
    assert first == "| planted; 1 | 2 | +0.00 | 1.58 (2.00) | 20.0% (40.0%) | 5.0% (10.0%) |"
    assert whole == first.replace("planted; 1", "all")
    assert json.loads(last)["searches"] == 2

"""Loggers: each evaluation once, against tokens, under the trial's number; one that fails ends nothing."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from depthweave.search.spec.loading import SpecError, make_spec
from depthweave.search.spec.logger_names import LOGGERS, check_installed
from depthweave.search.trials.trial import REPORT, TrialReport
from depthweave.search.tune.loggers import EvaluationLogger, LoggedTrial, make_loggers
from tests.search.ledger_runs import make_evaluation, make_report
from tests.search.search_runs import prepared_search, search

_ARCHITECTURE = {"fusion": "dwa", "depth": 6, "wiring": [[1, [0, 1]]]}


class _RayTrial(NamedTuple):
    """What of Ray's trial is looked at."""

    trial_id: str
    config: dict[str, Any]


class _Sink:
    """One of Ray's callbacks that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Any]]] = []

    def setup(self) -> None:
        pass

    def log_trial_start(self, trial: LoggedTrial) -> None:
        # Weights & Biases begins a process there.
        assert Path(trial.local_path).is_dir()
        self.heard.append(("start", str(trial), trial.config))

    def log_trial_result(self, iteration: int, trial: LoggedTrial, result: dict[str, Any]) -> None:
        self.heard.append(("result", str(trial), result))

    def log_trial_end(self, trial: LoggedTrial, failed: bool) -> None:
        self.heard.append(("failed" if failed else "end", str(trial), {}))


def _report(*indices: int) -> TrialReport:
    evaluations = tuple(make_evaluation(index, loss=3.0) for index in indices)
    return dataclasses.replace(make_report(), evaluations=evaluations)


@pytest.fixture
def sink() -> _Sink:
    return _Sink()


def test_trial_that_was_paused_goes_on_in_its_curve(sink: _Sink, tmp_path: Path) -> None:
    ours = EvaluationLogger(sink, name="sink", folder=tmp_path, run_id="run")
    first, again = (_RayTrial(name, {"trial": 7, "architecture": _ARCHITECTURE}) for name in "ab")
    ours.on_trial_start(0, [], first)
    ours.on_trial_result(0, [], first, {REPORT: _report(0)})
    ours.on_trial_complete(0, [], first)
    ours.on_trial_start(0, [], again)
    # A trial that goes on hands over all again.
    ours.on_trial_result(0, [], again, {REPORT: _report(0, 1)})
    ours.on_trial_error(0, [], again)
    assert [(kind, name) for kind, name, _ in sink.heard] == [
        (kind, "trial-00007") for kind in ("start", "result", "end", "start", "result", "failed")
    ]
    (_, _, earlier), (_, _, later) = (item for item in sink.heard if item[0] == "result")
    assert earlier["loss"] == 3.0
    assert (earlier["timesteps_total"], later["timesteps_total"]) == tuple(
        make_evaluation(it, loss=3.0).tokens for it in (0, 1)
    )
    assert sink.heard[0][2] == {"trial": 7, "fusion": "dwa", "depth": 6}


def test_logger_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(_Sink):
        def log_trial_start(self, trial: LoggedTrial) -> None:
            raise ConnectionError("the server is gone")

    broken = Broken()
    ours = EvaluationLogger(broken, name="broken", folder=tmp_path, run_id="run")
    trial = _RayTrial("a", {"trial": 0, "architecture": _ARCHITECTURE})
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            ours.on_trial_start(0, [], trial)
    assert [record.getMessage() for record in caplog.records] == [
        "logger broken failed (ConnectionError: the server is gone): the search continues without it"
    ]
    ours.on_trial_result(0, [], trial, {REPORT: _report(0)})
    assert not broken.heard


def test_folder_that_cannot_be_made_ends_nothing(sink: _Sink, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    ours = EvaluationLogger(sink, name="sink", folder=tmp_path / "taken", run_id="run")
    for number in range(2):
        trial = _RayTrial("a", {"trial": number, "architecture": _ARCHITECTURE})
        ours.on_trial_start(0, [], trial)
        ours.on_trial_result(0, [], trial, {REPORT: _report(0)})
        ours.on_trial_complete(0, [], trial)
    assert not sink.heard


def test_unknown_logger_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'tensorboard'"):
        make_spec({"loggers": ["tensorbord"]})


def test_logger_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthweave.search.spec.logger_names.find_spec", lambda name: None)
    for name in LOGGERS:
        with pytest.raises(ValueError, match=rf"loggers: {name} is not installed: pip install 'depthweave\[{name}\]'"):
            check_installed([name])


@pytest.mark.slow
def test_tensorboard_has_every_trials_curve(small_spec: dict[str, Any], ray_address: str, tmp_path: Path) -> None:
    values = small_spec | {"loggers": ["tensorboard"], "search": {"trials": 2, "pruner": "none", "sampler": "random"}}
    result = search(prepared_search(values), out=tmp_path / "run", address=ray_address)
    for record in result.records:
        (file,) = (tmp_path / "run" / "tensorboard" / f"trial-{record.trial:05d}").iterdir()
        # Tags and steps in the events: three evaluations.
        assert file.read_bytes().count(b"ray/tune/perplexity") >= 3
    assert make_loggers([], folder=tmp_path, run_id="run") == []

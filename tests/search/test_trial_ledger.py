"""The trial ledger: every trial that ended is recorded and reported to Optuna once, whatever is killed meanwhile."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.store.records import Record
from depthweave.search.parameters import Parameters
from depthweave.search.study.studies import ARCHITECTURE, REASON
from depthweave.search.trials.checkpoints import trial_folder
from depthweave.search.trials.live_trial import Decision
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers.checkpoint import STATE_FILE
from tests.search.ledger_runs import RECIPE, REFERENCE, SPACE, Run, make_evaluation, make_measurement, make_report


class _Crash(Exception):
    """The driver dies here."""


def states(run: Run) -> list[TrialState]:
    return [item.state for item in run.studies.trials]


def test_complete_trial_is_recorded_and_reported_to_optuna_and_the_listener(tmp_path: Path) -> None:
    run = Run(tmp_path)
    live = run.start("a")
    run.train("a", last_loss=1.25, latency=1.5, memory_bytes=2000)
    (record,) = run.store.records()
    assert record == run.ledger.records[0] == run.listener.finished[0]
    assert (record.trial, record.architecture_id, record.state) == (0, live.candidate.architecture.id, "complete")
    assert run.studies.trials[0].values == [pytest.approx(math.exp(1.25)), 1.5, 2000.0]
    assert run.studies.trials[0].user_attrs[ARCHITECTURE] == record.architecture_id
    assert run.studies.curves.trials[0].intermediate_values == pytest.approx({1: 1.55, 2: 1.45, 3: 1.35, 4: 1.25})
    assert run.store.evaluations().num_rows == RECIPE.num_evaluations
    assert run.listener.evaluated == [0] * RECIPE.num_evaluations


def test_repeated_report_counts_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    live = run.start("a")
    for _ in range(2):
        run.ledger.report("a", make_report(make_evaluation(0, loss=2.0)))
    run.ledger.report("a", make_report(make_evaluation(0, loss=2.0), make_evaluation(1, loss=1.5)))
    assert [item.index for item in live.evaluations] == [0, 1]


def test_stopped_diverged_and_crashed_trials_never_count_as_complete(tmp_path: Path) -> None:
    run = Run(tmp_path, pruner="threshold", options={"upper": 5.0})
    for name in ("reference", "stopped", "diverged", "crashed"):
        run.start(name)
    run.train("reference")
    run.start("short")

    run.ledger.report("stopped", make_report(make_evaluation(0, loss=9.0)))
    assert run.ledger.decide("stopped") is Decision.STOP
    run.ledger.finish("stopped", crashed=False)

    run.ledger.report("diverged", make_report(make_evaluation(0, loss=2.0), make_evaluation(1, loss=math.inf)))
    assert run.ledger.decide("diverged") is Decision.CONTINUE, "what diverged has ended by itself"
    run.ledger.finish("diverged", crashed=False)

    run.ledger.report("crashed", make_report(make_evaluation(0, loss=0.1)))
    run.ledger.fail("crashed", "RuntimeError: out of memory")
    run.ledger.finish("crashed", crashed=True)

    run.ledger.report("short", make_report(make_evaluation(2, loss=0.1)))
    run.ledger.finish("short", crashed=False)

    records = run.store.records()
    assert [item.state for item in records] == ["complete", "pruned", "diverged", "failed", "failed"]
    assert [item.reason for item in records] == [
        None,
        "stopped by the pruner after evaluation 1",
        f"the loss was not finite at step {RECIPE.evaluation_steps()[1]}",
        "RuntimeError: out of memory",
        "the trial ended after step 30 of 40",
    ]
    expected = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL, TrialState.FAIL]
    assert states(run) == [item.state for item in run.studies.curves.trials] == expected
    assert [item.values is not None for item in run.studies.trials] == [True, False, False, False, False]
    assert [item.user_attrs.get(REASON) for item in run.studies.trials] == [item.reason for item in records]
    assert all(item.perplexity is None for item in records[1:])


def test_only_complete_trials_are_on_the_front(tmp_path: Path) -> None:
    run = Run(tmp_path, pruner="threshold", options={"upper": 5.0})
    run.start("whole")
    run.start("stopped")
    run.start("crashed")
    run.train("whole", last_loss=2.0, latency=2.0)
    # Better than the whole one in everything, had they been allowed to end.
    best = make_measurement(latency=0.1, memory_bytes=1)
    run.ledger.report("stopped", make_report(make_evaluation(0, loss=6.0), measurement=best))
    assert run.ledger.decide("stopped") is Decision.STOP
    run.ledger.finish("stopped", crashed=False)
    run.ledger.report("crashed", make_report(make_evaluation(0, loss=0.1), measurement=best))
    run.ledger.finish("crashed", crashed=True)
    write_front(run.store, run.store.records())
    front = pq.read_table(tmp_path / "front.parquet")
    assert set(front["trial"].to_pylist()) == {0}
    assert set(front["state"].to_pylist()) == {"complete"}


def test_trial_with_an_objective_that_is_no_number_has_failed_in_the_study(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    run.train("a", latency=math.nan)
    assert states(run) == [TrialState.FAIL]
    assert run.studies.trials[0].user_attrs[REASON] == "an objective is missing"
    assert write_front(run.store, run.store.records()).num_rows == 1, "the pair of perplexity and memory has both"


def test_reference_is_never_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path, pruner="threshold", options={"upper": 0.0})
    names = [f"t{number}" for number in range(4)]
    decisions = {}
    for name in names:
        live = run.start(name)
        run.ledger.report(name, make_report(make_evaluation(0, loss=9.0)))
        decisions[live.candidate.architecture.id] = run.ledger.decide(name)
    assert decisions.pop(REFERENCE.architecture.id) is Decision.CONTINUE
    assert set(decisions.values()) == {Decision.STOP}


def test_trials_in_flight_and_known_ones_end_the_search_exactly(tmp_path: Path) -> None:
    run = Run(tmp_path, max_trials=3, max_concurrent=2)
    run.start("a")
    run.start("b")
    assert run.ledger.next("c") is None, "no more than two at once"
    assert not run.ledger.ended
    run.train("a")
    run.start("c")
    run.train("b")
    assert run.ledger.next("d") is None
    assert not run.ledger.ended, "a trial that runs may crash"
    run.train("c")
    assert run.ledger.ended
    assert len(run.store.records()) == len(run.studies.trials) == 3


def test_exhausted_space_ends_the_search(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number in range(len(SPACE)):
        run.start(str(number))
        run.train(str(number))
    assert not run.ledger.ended
    assert run.ledger.next("more") is None
    assert run.ledger.ended
    assert len({item.architecture_id for item in run.store.records()}) == len(SPACE)


def test_closed_ledger_ignores_reports_and_its_trials_wait(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("whole")
    live = run.start("flying")
    run.train("whole")
    run.ledger.report("flying", make_report(make_evaluation(0, loss=2.0)))
    run.ledger.close()
    run.ledger.report("flying", make_report(make_evaluation(1, loss=1.0)))
    assert run.ledger.decide("flying") is Decision.CONTINUE
    run.ledger.finish("flying", crashed=True)
    assert run.ledger.next("more") is None
    assert [item.trial for item in run.store.records()] == [0]
    assert states(run) == [TrialState.COMPLETE, TrialState.WAITING]

    again = Run(tmp_path)
    continued = again.start("x")
    assert (continued.number, continued.candidate) == (live.number, live.candidate)
    # The worker, with its checkpoint, reports all evaluations again.
    again.ledger.report("x", make_report(*(make_evaluation(index, loss=1.0) for index in range(4)), attempts=2))
    again.ledger.finish("x", crashed=False)
    assert [item.state for item in again.store.records()] == ["complete", "complete"]
    assert again.store.records()[1].attempts == 2
    assert again.store.evaluations([1]).num_rows == RECIPE.num_evaluations


@pytest.mark.parametrize("tidily", [False, True], ids=["killed", "closed"])
@pytest.mark.parametrize("study", ["objectives", "curves"])
def test_record_is_written_before_optuna_is_informed_and_a_crash_in_between_is_repaired(
    study: str, tidily: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.start("before")
    run.train("before")
    crashed = run.start("a")

    def die(*_: object, **__: object) -> None:
        raise _Crash

    # Before any study hears, or between the two.
    if study == "curves":
        monkeypatch.setattr(run.studies, "complete", die)
    else:
        monkeypatch.setattr(run.studies.objectives, "tell", die)
    with pytest.raises(_Crash):
        run.train("a")
    monkeypatch.undo()
    if tidily:
        run.ledger.close()
    assert [item.trial for item in run.store.records()] == [0, 1]

    again = Run(tmp_path)
    ids: list[str] = []
    while (live := again.ledger.next(str(len(ids)))) is not None:
        ids.append(live.candidate.architecture.id)
        again.train(str(len(ids) - 1))
    assert crashed.candidate.architecture.id not in ids, "trained twice"
    assert len(again.store.records()) == len(SPACE)
    assert set(states(again)) == {TrialState.COMPLETE}
    assert {item.state for item in again.studies.curves.trials} == {TrialState.COMPLETE}


def test_every_record_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """A driver is killed after each of its actions. Together the runs train everything once."""
    trained: list[str] = []
    for killed_after in range(3 * len(SPACE)):
        run = Run(tmp_path)
        live = run.ledger.next("a")
        if live is None:
            break
        if killed_after % 3 == 0:
            continue
        run.ledger.report("a", make_report(make_evaluation(0, loss=2.0)))
        if killed_after % 3 == 1:
            continue
        run.train("a")
        trained.append(live.candidate.architecture.id)
    assert sorted(trained) == sorted(item.architecture.id for item in SPACE)
    assert [item.architecture_id for item in Run(tmp_path).store.records()] == trained


def test_crashed_trial_continues_first_and_is_recorded_once_its_retries_are_spent(tmp_path: Path) -> None:
    run = Run(tmp_path, max_trials=1, retries=1)
    live = run.start("a")
    run.ledger.report("a", make_report(make_evaluation(0, loss=2.0)))
    run.ledger.fail("a", "OSError: gone")
    run.ledger.finish("a", crashed=True)
    assert (run.store.records(), run.ledger.ended, states(run)) == ([], False, [TrialState.RUNNING])
    assert run.start("b") is live
    assert len(live.evaluations) == 1
    assert run.ledger.next("c") is None
    assert not run.ledger.ended, "a trial that runs may crash"
    run.ledger.fail("b", "OSError: gone again")
    run.ledger.finish("b", crashed=True)
    (record,) = run.store.records()
    assert (record.state, record.reason, record.attempts) == ("failed", "OSError: gone again", 2)
    assert run.ledger.ended


def test_lost_node_is_no_crash_of_the_trial_unless_it_takes_one_after_the_other_down(tmp_path: Path) -> None:
    run = Run(tmp_path, max_trials=1)

    def lose() -> bool:
        run.start("a")
        run.ledger.fail("a", "its node has died", node_lost=True)
        run.ledger.finish("a", crashed=True)
        return run.ledger.ended

    assert not any(lose() for _ in range(3))
    run.start("a")
    run.ledger.report("a", make_report(make_evaluation(0, loss=2.0)))
    run.ledger.fail("a", "its node has died", node_lost=True)
    run.ledger.finish("a", crashed=True)
    assert [lose() for _ in range(3)] == [False, False, True]
    (record,) = run.store.records()
    assert (record.state, record.reason, record.attempts) == ("failed", "its node has died", 7)


def test_reports_after_a_signal_are_ignored(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    run.ledger.ignore_events()
    run.ledger.fail("a", "the worker was taken down")
    run.ledger.finish("a", crashed=True)
    assert run.ledger.next("b") is None
    run.ledger.close()
    assert (run.store.records(), states(run)) == ([], [TrialState.WAITING])


def test_files_that_a_kill_left_beside_a_record_are_deleted_when_the_run_continues(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    run.train("a")
    folder = trial_folder(tmp_path / "checkpoints", 0)
    folder.mkdir(parents=True)
    for name in (STATE_FILE, MODEL_FILE, f".{STATE_FILE}.x1"):
        (folder / name).touch()
    Run(tmp_path)
    assert [path.name for path in folder.iterdir()] == [MODEL_FILE]


def test_known_architecture_gets_the_values_of_its_record(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    run.train("a", last_loss=1.5)
    known = run.store.records()[0]
    run.studies.objectives.enqueue_trial(Parameters(SPACE).spelling(known.architecture_id))
    live = run.start("b")
    assert live.candidate.architecture.id != known.architecture_id
    assert [item.state for item in run.studies.trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    assert run.studies.trials[1].values == run.studies.trials[0].values
    assert run.store.records() == [known]


def test_journal_that_lacks_the_records_trials_is_refused_in_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    run.train("a")
    (tmp_path / "study.journal").unlink()
    with pytest.raises(ValueError, match=r"study\.journal does not know trial 0 of the records.*restore") as caught:
        Run(tmp_path)
    assert "\n" not in str(caught.value)


def test_checkpoint_goes_and_the_weights_of_complete_trials_stay(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for name in ("whole", "crashed"):
        folder = trial_folder(tmp_path / "checkpoints", run.start(name).number)
        folder.mkdir(parents=True)
        (folder / STATE_FILE).touch()
        (folder / MODEL_FILE).touch()
    run.train("whole")
    run.ledger.fail("crashed", "OSError: gone")
    run.ledger.finish("crashed", crashed=True)
    kept = {path.relative_to(tmp_path / "checkpoints").as_posix() for path in (tmp_path / "checkpoints").rglob("*.*")}
    assert kept == {f"trial-00000/{MODEL_FILE}"}


def test_costs_are_reported_to_optuna_with_the_first_report(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    run.ledger.report("a", make_report(make_evaluation(0, loss=2.0), measurement=make_measurement(latency=1.25)))
    assert run.studies.curves.trials[0].user_attrs["costs"] == {"latency": 1.25, "memory_bytes": 1000.0}


def test_more_expensive_trial_stops_no_cheaper_one(tmp_path: Path) -> None:
    run = Run(tmp_path, pruner="median", options={"n_startup_trials": 1})
    answers: list[Decision] = []
    run.start("reference")
    run.start("expensive")
    run.train("expensive", last_loss=1.0, latency=2.0)
    for name, latency in (("cheap", 1.0), ("as expensive", 2.0)):
        run.start(name)
        worse = make_report(make_evaluation(0, loss=5.0), measurement=make_measurement(latency=latency))
        run.ledger.report(name, worse)
        answers.append(run.ledger.decide(name))
    assert answers == [Decision.CONTINUE, Decision.STOP]


def test_reports_of_unknown_trials_are_ignored(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.ledger.report("stranger", make_report(make_evaluation(0, loss=1.0)))
    run.ledger.fail("stranger", "x")
    run.ledger.finish("stranger", crashed=True)
    assert run.ledger.decide("stranger") is Decision.CONTINUE
    assert run.store.records() == []
    assert isinstance(run.ledger.records, list)
    assert not any(isinstance(item, Record) for item in run.listener.finished)

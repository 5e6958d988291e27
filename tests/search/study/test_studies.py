"""The two studies of a journal: how trials end, wait and resume, and what a crash may leave behind."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.parameters import Parameters
from depthweave.search.pruners import PRUNERS
from depthweave.search.pruners.peers import COSTS
from depthweave.search.study.studies import (
    ARCHITECTURE,
    CURVES_STUDY,
    OBJECTIVES_STUDY,
    REASON,
    TRIAL,
    AskedTrial,
    Studies,
)
from tests.search.ledger_runs import OBJECTIVES, REFERENCE, SPACE, open_studies

_VALUES = (2.0, 1.0, 5.0)


def ask(studies: Studies) -> AskedTrial:
    asked = studies.ask()
    assert asked is not None
    return asked


def load(folder: Path, name: str) -> list[FrozenTrial]:
    """As another program reads the journal."""
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name=name, storage=storage).trials


def test_every_ending_is_recorded_in_both_studies_with_its_reason(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    complete, stopped, crashed = (ask(studies).number for _ in range(3))
    studies.complete(complete, values=_VALUES, loss=0.7)
    studies.stop(stopped, reason="above the median")
    studies.fail(crashed, reason="out of memory")
    objectives, curves = load(tmp_path, OBJECTIVES_STUDY), load(tmp_path, CURVES_STUDY)
    expected = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [item.state for item in objectives] == [item.state for item in curves] == expected
    assert [item.values for item in objectives] == [list(_VALUES), None, None]
    assert [item.value for item in curves] == [0.7, None, None]
    assert [item.user_attrs.get(REASON) for item in objectives] == [None, "above the median", "out of memory"]
    assert [item.user_attrs.get(REASON) for item in curves] == [None, "above the median", "out of memory"]


def test_stopped_trial_has_no_values_though_it_reported(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    asked = ask(studies)
    studies.report(asked.number, evaluation=1, loss=0.1)
    studies.stop(asked.number, reason="of a test")
    assert load(tmp_path, OBJECTIVES_STUDY)[0].values is None
    # Optuna itself shows a pruned trial's last intermediate value, which is not recorded as its value.
    assert load(tmp_path, CURVES_STUDY)[0].values is None


def test_studies_open_in_optuna_with_names_parameters_and_curves(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    asked = ask(studies)
    studies.set_costs(asked.number, {"latency": 1.5})
    for evaluation, loss in enumerate((3.0, 2.0, 1.5), start=1):
        studies.report(asked.number, evaluation=evaluation, loss=loss)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    assert optuna.load_study(study_name=OBJECTIVES_STUDY, storage=storage).metric_names == list(OBJECTIVES)
    (trial,), (curve,) = load(tmp_path, OBJECTIVES_STUDY), load(tmp_path, CURVES_STUDY)
    assert curve.intermediate_values == {1: 3.0, 2: 2.0, 3: 1.5}
    assert curve.user_attrs == {TRIAL: 0, ARCHITECTURE: asked.architecture_id, COSTS: {"latency": 1.5}}
    assert trial.user_attrs == {ARCHITECTURE: asked.architecture_id, COSTS: {"latency": 1.5}}
    assert curve.params == trial.params == Parameters(SPACE).spelling(asked.architecture_id)


def test_enqueued_architectures_come_first_and_an_exhausted_space_has_no_trial(tmp_path: Path) -> None:
    studies = open_studies(tmp_path, sampler="grid")
    last = [item.architecture.id for item in SPACE][-1]
    studies.enqueue([last])
    found = [ask(studies).architecture_id for _ in range(len(SPACE))]
    assert found[0] == last
    assert len(set(found)) == len(SPACE)
    assert studies.ask() is None


def test_released_trial_continues_under_its_number_and_architecture(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    first, second = ask(studies), ask(studies)
    studies.report(first.number, evaluation=1, loss=3.0)
    studies.complete(second.number, values=_VALUES, loss=0.7)
    studies.release()
    assert studies.running() == []
    states = [item.state for name in (OBJECTIVES_STUDY, CURVES_STUDY) for item in load(tmp_path, name)]
    assert TrialState.RUNNING not in states

    again = open_studies(tmp_path)
    assert ask(again) == first
    again.report(first.number, evaluation=2, loss=2.5)
    again.complete(first.number, values=_VALUES, loss=0.7)
    assert load(tmp_path, CURVES_STUDY)[0].intermediate_values == {1: 3.0, 2: 2.5}
    assert ask(again).number == 2
    assert len(load(tmp_path, CURVES_STUDY)) == 3, "a trial that went on has one curve"


def test_trials_of_a_killed_driver_are_asked_for_again(tmp_path: Path) -> None:
    asked = [ask(open_studies(tmp_path))]
    studies = open_studies(tmp_path)  # the first driver was killed
    asked.append(ask(studies))
    del studies
    again = open_studies(tmp_path)
    assert again.running() == [0, 1]
    again.release()
    assert [ask(again), ask(again)] == asked
    assert ask(again).number == 2


def test_restarted_search_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    sequences = []
    for name, breaks in (("whole", ()), ("broken", (3, 4, 7))):
        folder = tmp_path / name
        folder.mkdir()
        studies = open_studies(folder)
        found = []
        for number in range(len(SPACE)):
            if number in breaks:
                studies = open_studies(folder)
            asked = ask(studies)
            found.append(asked)
            value = int(asked.architecture_id[:4], 16) / 1000
            studies.complete(asked.number, values=(value, 1.0, 1.0), loss=value)
        sequences.append(found)
    assert sequences[0] == sequences[1]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "known-cost", "grid"])
def test_kill_at_any_line_of_asking_changes_neither_number_nor_architecture(sampler: str, tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    studies = open_studies(tmp_path, sampler=sampler)
    studies.complete(ask(studies).number, values=_VALUES, loss=0.7)
    before = journal.read_bytes()
    asked = ask(studies)
    lines = journal.read_bytes().removeprefix(before).splitlines(keepends=True)
    assert len(lines) > 5
    for num_lines in range(1, len(lines)):
        journal.write_bytes(before + b"".join(lines[:num_lines]))
        again = open_studies(tmp_path, sampler=sampler)
        again.release()
        assert ask(again) == asked, f"killed after {num_lines} lines"
        assert [item.state for item in load(tmp_path, OBJECTIVES_STUDY)] == [TrialState.COMPLETE, TrialState.RUNNING]
        assert len(load(tmp_path, CURVES_STUDY)) == 2


def test_trial_with_half_of_its_parameters_from_an_earlier_version_fails(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    storage, study = studies.objectives._storage, studies.objectives._study_id
    storage.set_trial_param(storage.create_new_trial(study), "depth", 0, Parameters(SPACE).distributions["depth"])
    again = open_studies(tmp_path)
    again.release()
    assert load(tmp_path, OBJECTIVES_STUDY)[0].state == TrialState.FAIL
    assert ask(again).number == 1


def test_architectures_are_enqueued_once_however_often_they_are_named(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    first, second = (item.architecture.id for item in list(SPACE)[:2])
    studies.enqueue([first])  # then the driver was killed
    open_studies(tmp_path).enqueue([first, second])
    again = open_studies(tmp_path)
    assert [ask(again).architecture_id for _ in range(2)] == [first, second]
    again.enqueue([first, second])
    assert len(again.trials) == 2


def test_enqueued_trial_killed_before_it_had_its_parameters_is_asked_for_again(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    studies.enqueue([REFERENCE.architecture.id])
    studies.objectives._pop_waiting_trial_id()  # the first step of `ask`
    again = open_studies(tmp_path)
    again.release()
    assert ask(again) == AskedTrial(0, REFERENCE.architecture.id)


def test_crash_between_the_two_studies_is_repaired_by_telling_again(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    for _ in range(3):
        ask(studies)
    curves = studies.curves.get_trials(deepcopy=False)
    for number, state in enumerate((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)):
        values = [0.7] if state == TrialState.COMPLETE else None
        studies.curves._storage.set_trial_state_values(curves[number]._trial_id, state, values)
    again = open_studies(tmp_path)
    again.complete(0, values=_VALUES, loss=0.7)
    again.stop(1, reason="a")
    again.fail(2, reason="b")
    for name in (OBJECTIVES_STUDY, CURVES_STUDY):
        assert [item.state.name for item in load(tmp_path, name)] == ["COMPLETE", "PRUNED", "FAIL"]


def test_trial_killed_before_its_curve_was_created_gets_one(tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    studies.objectives.ask(dict(Parameters(SPACE).distributions))
    again = open_studies(tmp_path)
    again.release()
    asked = ask(again)
    again.report(asked.number, evaluation=1, loss=1.0)
    assert load(tmp_path, CURVES_STUDY)[0].user_attrs[TRIAL] == asked.number


@pytest.mark.parametrize("torn", [b'{"op_code":4,"worker_id":"x","tri', b"{", b'{"op_code": 4}'])
def test_torn_last_line_of_the_journal_is_dropped(torn: bytes, tmp_path: Path) -> None:
    studies = open_studies(tmp_path)
    first, second = ask(studies), ask(studies)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    again = open_studies(tmp_path)
    assert journal.read_bytes().startswith(whole)
    assert again.running() == [first.number, second.number]
    again.complete(first.number, values=_VALUES, loss=0.7)
    assert ask(again).number == 2
    assert len(open_studies(tmp_path).trials) == 3
    assert all(json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines())


def test_empty_journal_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_bytes(b"")
    assert ask(open_studies(tmp_path)).number == 0


def test_lock_of_a_killed_driver_is_removed(tmp_path: Path) -> None:
    ask(open_studies(tmp_path))
    (tmp_path / "study.journal.lock").touch()
    started = time.monotonic()
    ask(open_studies(tmp_path))
    # Optuna ignores a lock after 30 s.
    assert time.monotonic() - started < 15


def test_fair_pruner_is_asked_through_the_journal(tmp_path: Path) -> None:
    studies = open_studies(tmp_path, pruner="median", n_startup_trials=1)
    answers = []
    for memory_bytes, loss in ((100.0, 1.0), (100.0, 2.0), (50.0, 2.0)):
        number = ask(studies).number
        studies.set_costs(number, {"memory_bytes": memory_bytes})
        studies.report(number, evaluation=1, loss=loss)
        answers.append(studies.should_stop(number))
        if number == 0:
            studies.complete(number, values=_VALUES, loss=loss)
    assert answers == [False, True, False]


def test_rungs_of_successive_halving_are_stored_in_the_journal(tmp_path: Path) -> None:
    options: dict[str, Any] = {"min_resource": 1, "reduction_factor": 2}
    studies = open_studies(tmp_path, pruner="successive_halving", **options)
    for loss in (1.0, 1.1):
        number = ask(studies).number
        studies.set_costs(number, {})
        studies.report(number, evaluation=1, loss=loss)
        studies.should_stop(number)
    again = open_studies(tmp_path, pruner="successive_halving", **options)
    number = ask(again).number
    again.set_costs(number, {})
    again.report(number, evaluation=1, loss=3.0)
    assert again.should_stop(number)


_PRUNER_OPTIONS: dict[str, dict[str, Any]] = {
    "percentile": {"percentile": 50.0},
    "successive_halving": {"min_resource": 1, "reduction_factor": 2},
    "hyperband": {"min_resource": 1, "max_resource": 10, "reduction_factor": 2},
    "patient": {"wrapped_pruner": "median", "patience": 0},
    "threshold": {"upper": 100.0},
}
_MAX_DECISION_S = 0.03
"""The target is 5 ms on an idle machine; on a busy one the slowest pruners take three times that. Copying all trials,
or visiting all of them for each of them, takes longer.
"""


@pytest.fixture(scope="module")
def long_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a run with 1,000 complete trials of ten evaluations each."""
    folder = tmp_path_factory.mktemp("long")
    generator = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        studies = open_studies(folder)
        for number in range(1000):
            loss = float(generator.uniform(1.5, 2.5))
            curve = optuna.create_trial(
                value=loss,
                # Numbers beyond those that the test asks for.
                user_attrs={TRIAL: 1000 + number, COSTS: {name: generator.uniform() for name in OBJECTIVES[1:]}},
                system_attrs={f"completed_rung_{rung}": loss for rung in range(3)},
                intermediate_values={evaluation: loss + 1 / evaluation for evaluation in range(1, 11)},
            )
            studies.curves.add_trial(curve)
    return folder / "study.journal"


@pytest.mark.parametrize("name", sorted(set(PRUNERS) - {"wilcoxon"}))
def test_decision_among_a_thousand_trials_takes_milliseconds(name: str, long_journal: Path, tmp_path: Path) -> None:
    shutil.copy(long_journal, tmp_path)
    studies = open_studies(tmp_path, pruner=name, **_PRUNER_OPTIONS.get(name, {}))
    decisions_s = []
    for _ in range(3):
        number = ask(studies).number
        # High costs: nearly all trials are its peers. Low losses: it is not stopped early.
        studies.set_costs(number, dict.fromkeys(OBJECTIVES[1:], 0.95))
        for evaluation in range(1, 11):
            studies.report(number, evaluation=evaluation, loss=1.2 + evaluation / 100)
            # The time of this thread only: other processes share the processor.
            started = time.thread_time()
            studies.should_stop(number)
            decisions_s.append(time.thread_time() - started)
    # The fastest of three: garbage collection may fall into one of them.
    assert max(np.reshape(decisions_s, (3, 10)).min(axis=0)) < _MAX_DECISION_S

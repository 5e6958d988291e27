"""The indexed storage gives the same answers as Optuna's own."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from depthweave.search.study.study_storage import StudyStorage

_STATES = tuple(TrialState)
_ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def _some_history(studies: list[optuna.Study], generator: np.random.Generator, *, length: int) -> None:
    """Trials start, report, wait, resume and end, in both studies, in random order."""
    storage = studies[0]._storage
    running: list[tuple[optuna.Study, int]] = []
    for step in range(length):
        study = studies[int(generator.integers(len(studies)))]
        action = generator.choice(["enqueue", "ask", "report", "wait", "end"])
        if action == "enqueue":
            study.enqueue_trial({"x": step})
        elif action == "ask" or not running:
            running.append((study, study.ask()._trial_id))
        else:
            study, trial_id = running.pop(int(generator.integers(len(running))))
            if action == "report":
                storage.set_trial_intermediate_value(trial_id, step, 0.5)
                running.append((study, trial_id))
            elif action == "wait":
                storage.set_trial_state_values(trial_id, TrialState.WAITING)
            else:
                end = _ENDS[int(generator.integers(len(_ENDS)))]
                storage.set_trial_state_values(trial_id, end, [1.0] if end == TrialState.COMPLETE else None)
        if generator.random() < 0.3:
            study.get_trials(deepcopy=False)


@pytest.mark.parametrize("seed", range(4))
def test_trials_are_those_of_optunas_own_journal_for_any_states(seed: int, tmp_path: Path) -> None:
    path = str(tmp_path / "study.journal")
    ours = StudyStorage(JournalFileBackend(path))
    studies = [optuna.create_study(study_name=name, storage=ours) for name in ("first", "second")]
    _some_history(studies, np.random.default_rng(seed), length=60)
    # One storage that followed every step, one that is opened late, and Optuna's.
    again, optunas = StudyStorage(JournalFileBackend(path)), JournalStorage(JournalFileBackend(path))
    groups = [None, *(group for size in range(len(_STATES) + 1) for group in combinations(_STATES, size))]
    for study in studies:
        for states in groups:
            expected = optunas.get_all_trials(study._study_id, states=states)
            assert ours.get_all_trials(study._study_id, states=states) == expected
            assert again.get_all_trials(study._study_id, states=states) == expected


def test_returned_list_is_a_copy(tmp_path: Path) -> None:
    journal = StudyStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=journal)
    study.tell(study.ask(), 1.0)
    for states in (None, (TrialState.COMPLETE,)):
        study.get_trials(deepcopy=False, states=states).clear()
        assert len(study.get_trials(deepcopy=False, states=states)) == 1


def test_unknown_study_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        StudyStorage(JournalFileBackend(str(tmp_path / "study.journal"))).get_all_trials(7)

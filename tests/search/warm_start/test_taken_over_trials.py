"""The studies and the ledger of a search that took records over, whatever was killed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.store.run_store import RunStore
from depthweave.search.ledger_opening import open_ledger
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.search_run import SearchRun
from depthweave.search.study.checksummed_journal import ChecksummedJournal
from depthweave.search.trial_ledger import TrialLedger
from depthweave.search.warm_start.start import begin_warm_start
from tests.search.ledger_runs import make_report
from tests.search.search_runs import RecordingProgress
from tests.search.warm_runs import evaluation_of, opened, prepared_of, source_run

_LOSSES = (2.0, 1.9, 1.8)


def _ledger(run: SearchRun) -> TrialLedger:
    warm_start = begin_warm_start(run, local=True)
    return open_ledger(run, warm_start=warm_start, workers=1, chooser=None, retry_failed=False)


def _train(run: SearchRun, ledger: TrialLedger, *, count: int) -> list[str]:
    """Trains the next trials to their end, and returns their architectures."""
    trained = []
    recipe = run.prepared.spec.recipe
    for number in range(count):
        name = f"trial {number}"
        live = ledger.next(name)
        if live is None:
            break
        loss = 1.0 + 0.01 * live.number
        evaluations = [evaluation_of(recipe, index, loss=loss) for index in range(recipe.num_evaluations)]
        ledger.report(name, make_report(*evaluations))
        ledger.finish(name, crashed=False)
        trained.append(live.candidate.architecture.id)
    return trained


def _described(trials: Sequence[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [(it.number, it.state, it.params, it.values, it.user_attrs, it.intermediate_values) for it in trials]


def _setting(small_spec: dict[str, Any], tmp_path: Path, *, trials: int = 3) -> tuple[PreparedSearch, RunStore]:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"], search__trials=trials)
    return prepared, create_run(prepared, out=tmp_path / "second")


def test_taken_over_trials_are_complete_in_the_study_and_not_trained_or_counted(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    prepared, store = _setting(small_spec, tmp_path)
    progress = RecordingProgress()
    with opened(prepared, store, progress=progress) as run:
        ledger = _ledger(run)
        assert progress.notes == ["run small: 3 records taken over"]
        trained = _train(run, ledger, count=10)
        assert ledger.ended
        objectives, curves = ledger._studies.objectives.trials, ledger._studies.curves.trials
    taken = [item.architecture_id for item in store.records() if item.taken_from]
    assert (len(taken), len(trained), len({*taken, *trained})) == (3, 3, 6)
    assert [item.trial for item in trained_here(store.records())] == [3, 4, 5]
    assert {item.state for item in objectives} == {item.state for item in curves} == {TrialState.COMPLETE}
    assert [item.values for item in objectives[:3]] == [
        [item.perplexity, item.latency, item.memory_bytes] for item in store.records()[:3]
    ]
    assert curves[1].intermediate_values == pytest.approx({1: 2.1, 2: 2.0, 3: 1.9})


def test_search_of_which_everything_is_taken_over_trains_nothing(small_spec: dict[str, Any], tmp_path: Path) -> None:
    whole = prepared_of(small_spec)
    source_run(whole, tmp_path / "first", losses=[2.0 + 0.01 * number for number in range(len(whole.space))])
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    with opened(prepared, create_run(prepared, out=tmp_path / "second")) as run:
        ledger = _ledger(run)
        assert _train(run, ledger, count=1) == []
        assert ledger.ended


class _Kill(BaseException):
    """The driver dies here."""


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=[] if moment in (5, 26) else [pytest.mark.slow]) for moment in range(27)]
)
def test_driver_killed_while_records_enter_the_journal_goes_on_as_if_undisturbed(
    moment: int, small_spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, store = _setting(small_spec, tmp_path)
    undisturbed = create_run(prepared, out=tmp_path / "third")
    with opened(prepared, undisturbed) as run:
        ledger = _ledger(run)
        expected = _train(run, ledger, count=2), _described(ledger._studies.trials)
        expected_curves = _described(ledger._studies.curves.trials)
    lines, original = 0, ChecksummedJournal.append_logs

    def dying(self: ChecksummedJournal, logs: list[dict[str, Any]]) -> None:
        nonlocal lines
        if lines == moment:
            raise _Kill
        lines += 1
        original(self, logs)

    with monkeypatch.context() as patch, opened(prepared, store) as run:
        patch.setattr(ChecksummedJournal, "append_logs", dying)
        with pytest.raises(_Kill):
            _ledger(run)
    progress = RecordingProgress()
    with opened(prepared, RunStore.open(tmp_path / "second"), progress=progress) as run:
        ledger = _ledger(run)
        assert (_train(run, ledger, count=2), _described(ledger._studies.trials)) == expected
        assert _described(ledger._studies.curves.trials) == expected_curves
    # A start that is repeated is nothing to report.
    assert progress.notes == ["run small: 3 records taken over"]


def test_lost_journal_is_rebuilt_with_the_taken_over_trials(small_spec: dict[str, Any], tmp_path: Path) -> None:
    prepared, store = _setting(small_spec, tmp_path)
    with opened(prepared, store) as run:
        ledger = _ledger(run)
        _train(run, ledger, count=2)
        before = [item.values for item in ledger._studies.trials[:5]]
    (tmp_path / "second" / "study.journal").unlink()
    progress = RecordingProgress()
    with opened(prepared, RunStore.open(tmp_path / "second"), progress=progress) as run:
        ledger = _ledger(run)
        assert [item.values for item in ledger._studies.trials[:5]] == before
        assert "rebuilt from the records and checkpoints: 5 trials" in progress.notes[1]
        assert len(_train(run, ledger, count=5)) == 1


def test_lost_record_of_another_run_is_trained_under_its_number_and_takes_no_place(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    prepared, store = _setting(small_spec, tmp_path)
    with opened(prepared, store) as run:
        _train(run, _ledger(run), count=1)
    for table in ("records", "evaluations", "weights"):
        (tmp_path / "second" / table / "trial-00001-r000.parquet").unlink()
    with opened(prepared, RunStore.open(tmp_path / "second")) as run:
        ledger = _ledger(run)
        trained = _train(run, ledger, count=9)
        assert ledger.ended
    records = store.records()
    assert trained[0] == records[1].architecture_id
    assert (len(trained), len(records), records[1].taken_from) == (3, 6, None)

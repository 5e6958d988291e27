"""A damaged study journal is rebuilt from the records and the checkpoints, and the search continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.study.journal_recovery import rebuild, set_aside_damaged
from depthweave.search.trials.checkpoints import Checkpoints, trial_folder
from depthweave.search.trials.trial import write_progress
from depthweave.trainers import TrainingState
from depthweave.trainers.checkpoint import STATE_FILE
from tests.search.ledger_runs import RECIPE, SPACE, Run, make_evaluation, make_report, open_studies


def _unfinished_run(folder: Path) -> Run:
    """A run with trials that are complete, stopped, crashed and diverged, and two in flight, one of them unreported."""
    run = Run(folder, max_concurrent=8)
    names = ("complete", "crashed", "diverged", "in flight", "unreported")
    started = {name: run.start(name) for name in names}
    run.train("complete", last_loss=1.1)
    run.ledger.fail("crashed", "OSError: planted")
    run.ledger.finish("crashed", crashed=True)
    run.ledger.report("diverged", make_report(make_evaluation(0, loss=float("nan"))))
    run.ledger.finish("diverged", crashed=False)
    for name, number in (("in flight", 3), ("unreported", 4)):
        report = make_report(make_evaluation(0, loss=2.0))
        live = started[name]
        assert live.number == number
        place = trial_folder(folder / "checkpoints", number)
        write_progress(place, report)
        TrainingState.start(live.candidate.architecture, recipe=RECIPE, device="cpu").save(place / STATE_FILE)
        if name == "in flight":
            run.ledger.report(name, report)
    return run


def _described(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [(it.number, it.state, it.values, it.params, it.user_attrs.get("architecture_id")) for it in trials]


def _repaired(folder: Path) -> str | None:
    """Repairs the journal as the driver does."""
    message = set_aside_damaged(folder / "study.journal")
    if message is not None:
        store, checkpoints = RunStore.open(folder), Checkpoints(folder / "checkpoints")
        rebuild(open_studies(folder), store=store, parameters=Parameters(SPACE), checkpoints=checkpoints)
    return message


_Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"\0" * 512 + data[512:],
        lambda data: data.replace(b"\n", b"", 1),
        lambda data: data[: len(data) // 2] + b"\x00\xffgarbage" + data[len(data) // 2 :],
        lambda data: data[: len(data) // 2] + b"\n[1, 2]\n" + data[len(data) // 2 :],
        lambda data: data[:-40] + b"\xff" * 20 + data[-20:],
    ],
    ids=["zeros", "two lines in one", "garbage", "another kind of line", "last line"],
)
def test_damaged_journal_is_rebuilt_and_the_search_continues(damage: _Damage, tmp_path: Path) -> None:
    run = _unfinished_run(tmp_path)
    before, records = run.studies.trials, run.store.records()
    journal = tmp_path / "study.journal"
    data = damage(journal.read_bytes())
    journal.write_bytes(data)

    message = _repaired(tmp_path)
    assert message is not None
    assert len(message.splitlines()) == 1
    assert "is damaged; it is set aside as study.journal.corrupt" in message
    assert (tmp_path / "study.journal.corrupt").read_bytes() == data
    again = Run(tmp_path)
    assert repr(again.store.records()) == repr(records), "NaN is not itself"
    after = again.studies.trials
    assert [item[0] for item in _described(after)] == list(range(5))
    assert _described(after)[:3] == _described(before)[:3]
    assert again.studies.losses()[0] == run.studies.losses()[0]
    # Those in flight wait and are resumed under their numbers. No trial runs without a worker.
    assert [item.state for item in after[3:]] == [TrialState.WAITING] * 2
    assert again.studies.running() == []
    assert [again.start(name).number for name in ("a", "b", "c")] == [3, 4, 5]
    for name in ("a", "b", "c"):
        again.train(name)
    while not again.ledger.ended:
        live = again.ledger.next("more")
        if live is not None:
            again.train("more")
    assert len({item.architecture_id for item in again.store.records()}) == len(again.store.records()) == len(SPACE)
    assert again.studies.running() == []
    assert set_aside_damaged(journal) is None


def test_number_without_any_information_is_a_failed_trial(tmp_path: Path) -> None:
    run = _unfinished_run(tmp_path)
    for path in (
        *trial_folder(tmp_path / "checkpoints", 3).iterdir(),
        tmp_path / "records" / "trial-00001-r000.parquet",
    ):
        path.unlink()
    (tmp_path / "study.journal").write_bytes(b"garbage\n")
    assert _repaired(tmp_path)
    again = Run(tmp_path)
    states = [item.state for item in again.studies.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.FAIL, TrialState.WAITING]
    assert len(again.store.records()) == len(run.store.records()) == 2


def test_whole_journal_and_one_with_a_torn_end_are_left_alone(tmp_path: Path) -> None:
    _unfinished_run(tmp_path)
    journal = tmp_path / "study.journal"
    assert set_aside_damaged(journal) is None
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    assert set_aside_damaged(journal) is None
    assert set_aside_damaged(tmp_path / "absent") is None


def test_second_damage_keeps_what_the_first_set_aside(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    for content in (b"one\n", b"two\n"):
        journal.write_bytes(content)
        assert set_aside_damaged(journal)
    assert (tmp_path / "study.journal.corrupt").read_bytes() == b"one\n"
    assert (tmp_path / "study.journal.corrupt-1").read_bytes() == b"two\n"

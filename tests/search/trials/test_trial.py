"""A trial on its worker, without Ray: what it reports of its checkpoint before it continues to train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from depthweave.search.preparation import PreparedSearch
from depthweave.search.trials.checkpoints import PROGRESS_FILE, Checkpoints, trial_folder
from depthweave.search.trials.trial import (
    REPORT,
    ArchitectureTrial,
    TrialPlan,
    TrialReport,
    read_progress,
    write_progress,
)
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers import Measurement, hardware, pick_device
from depthweave.trainers.checkpoint import STATE_FILE
from depthweave.trainers.device_lock import DeviceLock
from tests.search.ledger_runs import make_evaluation, make_measurement, make_report
from tests.search.search_runs import prepared_search, with_unreadable_test_part


@pytest.fixture(scope="module")
def prepared(small_spec: dict[str, Any]) -> PreparedSearch:
    return prepared_search(small_spec)


def dwa_of(prepared: PreparedSearch) -> Architecture:
    return next(item.architecture for item in prepared.space if item.architecture.fusion == "dwa")


class Worker:
    """Workers that run the same trial one after the other: three evaluations, a site with connection weights."""

    def __init__(
        self,
        prepared: PreparedSearch,
        folder: Path,
        *,
        measured: dict[str, Measurement] | None = None,
        measured_on: str = "",
        evaluates_test: bool = False,
    ) -> None:
        self._data, self.folder = prepared.data, folder
        self._architecture = dwa_of(prepared)
        self._plan = TrialPlan(
            task=prepared.task,
            reference=prepared.reference.architecture,
            recipe=prepared.spec.recipe,
            device="cpu",
            threads=1,
            measure_limit_s=0.05,
            kinds=("forward", "step"),
            measured=measured or {},
            measured_on=measured_on,
            locks=str(folder),
            checkpoints=str(folder),
            evaluates_test=evaluates_test,
        )

    def begin(self, **config: Any) -> ArchitectureTrial:
        # Ray's part of the class wants a place for logs.
        trial = ArchitectureTrial.__new__(ArchitectureTrial)
        values = {"trial": 0, "architecture": self._architecture.to_dict(), **config}
        trial.setup(values, data=self._data, plan=self._plan)
        return trial


@pytest.fixture
def worker(prepared: PreparedSearch, tmp_path: Path) -> Worker:
    return Worker(prepared, tmp_path)


def next_report(trial: ArchitectureTrial) -> tuple[TrialReport, bool]:
    result = trial.step()
    return result[REPORT], result["done"]


def losses(report: TrialReport) -> list[float]:
    return [item.loss for item in report.evaluations]


def test_trial_that_continues_after_a_pause_trains_as_one_that_never_stopped(
    worker: Worker, prepared: PreparedSearch, tmp_path: Path
) -> None:
    (tmp_path / "through").mkdir()
    through = Worker(prepared, tmp_path / "through").begin()
    expected = [losses(next_report(through)[0])[0] for _ in range(3)]

    first, _ = next_report(worker.begin(num_reported=0, paused=False))
    again = worker.begin(num_reported=1, paused=True)
    second, done = next_report(again)
    assert (losses(second), done) == (expected[:2], False), "the driver laid the first aside"
    assert second.attempts == 1, "a pause is no attempt"
    assert second.measurement == first.measurement
    assert second.wall_s > first.wall_s
    third, done = next_report(again)
    assert (losses(third), done) == (expected[2:], True)


def test_interrupted_trial_first_reports_what_the_driver_does_not_have(worker: Worker) -> None:
    next_report(worker.begin())
    again = worker.begin(num_reported=0)
    report, done = next_report(again)
    assert ([item.index for item in report.evaluations], done, report.attempts) == ([0], False, 2)
    assert [item.index for item in next_report(again)[0].evaluations] == [1]


def test_trial_that_ended_unreported_only_reports(worker: Worker) -> None:
    trial = worker.begin()
    assert [next_report(trial)[1] for _ in range(3)] == [False, False, True]
    folder = trial_folder(worker.folder, 0)
    # The driver died between the last state and the weights.
    (folder / MODEL_FILE).unlink()
    report, done = next_report(worker.begin(num_reported=2))
    assert ([item.index for item in report.evaluations], done) == ([0, 1, 2], True)
    assert (folder / MODEL_FILE).exists()
    report, done = next_report(worker.begin(num_reported=3))
    assert (len(report.evaluations), done) == (3, True)


def test_trial_of_a_confirmation_is_evaluated_on_the_test_part_at_its_end_and_one_of_a_search_never(
    prepared: PreparedSearch, tmp_path: Path
) -> None:
    (tmp_path / "search").mkdir()
    reports = {}
    for tests, some in ((True, prepared), (False, with_unreadable_test_part(prepared))):
        trial = Worker(some, tmp_path / ("." if tests else "search"), evaluates_test=tests).begin()
        reports[tests] = [next_report(trial)[0] for _ in range(3)]
    assert [report.test is not None for report in reports[True]] == [False, False, True]
    assert [report.test for report in reports[False]] == [None] * 3
    assert losses(reports[True][-1]) == losses(reports[False][-1])
    # As the validation loss is: a whole evaluation of the same size, on other text.
    last = reports[True][-1]
    assert last.test is not None
    assert last.test.loss == pytest.approx(losses(last)[-1], rel=0.05)
    assert last.test.loss != losses(last)[-1]
    # It is made again where the driver does not have it, and nothing else is.
    assert next_report(Worker(prepared, tmp_path, evaluates_test=True).begin(num_reported=2))[0].test == last.test
    with pytest.raises(AssertionError, match="the test part is read"):
        next_report(Worker(with_unreadable_test_part(prepared), tmp_path, evaluates_test=True).begin(num_reported=2))


def test_progress_is_the_whole_report_and_absent_without_a_state(worker: Worker) -> None:
    folder = trial_folder(worker.folder, 0)
    assert read_progress(Checkpoints(worker.folder), 0) is None
    trial = worker.begin()
    reports = [next_report(trial)[0] for _ in range(2)]
    progress = read_progress(Checkpoints(worker.folder), 0)
    assert progress is not None
    assert progress.evaluations == tuple(item for report in reports for item in report.evaluations)
    assert progress.evaluations[0].weights
    assert (progress.measurement, progress.host, progress.device) == (reports[1].measurement, reports[1].host, "cpu")
    (folder / "state.pt").unlink()
    assert (folder / PROGRESS_FILE).exists()
    assert read_progress(Checkpoints(worker.folder), 0) is None


def test_trial_shares_its_device_while_it_trains_and_measures_alone(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the device is played; trainings look for measurements at every step."""
    events: list[str] = []

    class PlayedLock(DeviceLock):
        def shared(self) -> AbstractContextManager[None]:
            events.append("shared")
            return super().shared()

        @contextmanager
        def exclusive(self) -> Iterator[float]:
            events.append("alone")
            with super().exclusive() as waited_s:
                yield waited_s
            events.append("measured")

        def give_way(self) -> float:
            events.append("step")
            return super().give_way()

    monkeypatch.setattr("depthweave.search.trials.trial.DeviceLock", PlayedLock)
    trial = worker.begin()
    assert trial.step()[REPORT].precision == "float32"
    measured = events.index("measured")
    assert events[measured - 1] == "alone"
    assert events[measured + 1] == "shared"
    assert set(events[measured + 2 :]) == {"step"}


def test_what_was_measured_on_this_hardware_is_taken_over(prepared: PreparedSearch, tmp_path: Path) -> None:
    known, here = make_measurement(latency=7.0), hardware(pick_device("cpu"))
    measured = {dwa_of(prepared).id: known}
    report, _ = next_report(Worker(prepared, tmp_path / "here", measured=measured, measured_on=here).begin())
    assert report.measurement == known
    report, _ = next_report(Worker(prepared, tmp_path / "there", measured=measured, measured_on="an abacus").begin())
    assert report.measurement.latency != known.latency, "on another machine it holds for nothing"
    report, _ = next_report(Worker(prepared, tmp_path / "other", measured={"another": known}, measured_on=here).begin())
    assert report.measurement.latency != known.latency


@pytest.mark.parametrize("name", [STATE_FILE, PROGRESS_FILE])
@pytest.mark.parametrize("content", [b"", b"{}", b"cos\nsystem\n(S'exit 1'\ntR.", None])
def test_checkpoint_that_cannot_be_read_costs_the_training_and_not_the_trial(
    name: str, content: bytes | None, worker: Worker
) -> None:
    first, _ = next_report(worker.begin())
    path = trial_folder(worker.folder, 0) / name
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    again, _ = next_report(worker.begin(num_reported=1))
    assert [item.index for item in again.evaluations] == [0]
    assert losses(again) == losses(first)


def test_progress_comes_back_as_it_was_written(tmp_path: Path) -> None:
    # The last evaluation of a whole training has a profile of its states, the others none.
    report = make_report(*(make_evaluation(index, loss=3.0 - 0.1 * index) for index in range(4)))
    assert [item.states is None for item in report.evaluations] == [True, True, True, False]
    checkpoints = Checkpoints(tmp_path)
    write_progress(checkpoints.folder(7), report)
    (checkpoints.folder(7) / STATE_FILE).touch()
    assert read_progress(checkpoints, 7) == report

"""A whole search in which trials raise, die, diverge and are stopped: what became of each, in journal and store.

Ray's own `OptunaSearch` fails at four of these points; the last test shows one of them, so that it is known to matter.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pyarrow.parquet as pq
import pytest
import ray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from depthweave.reports.analysis.front import may_be_on_front
from depthweave.reports.store.records import Record
from depthweave.search.driver import SearchResult
from depthweave.search.preparation import PreparedSearch
from depthweave.search.study.studies import ARCHITECTURE, CURVES_STUDY, OBJECTIVES_STUDY, REASON, TRIAL
from tests.search.faulty_trials import HOPELESS_LOSS, Fault, faulty_trial
from tests.search.search_runs import prepared_search, search

# Ray's processes start slowly where the machine is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_FAULTS: tuple[Fault, ...] = ("raises", "raises once", "dies", "diverges", "hopeless", "hopeless", "hopeless")


class _Search(NamedTuple):
    prepared: PreparedSearch
    faults: dict[str, Fault]
    result: SearchResult
    records: dict[str, Record]
    """By architecture."""
    objectives: list[FrozenTrial]
    curves: dict[int, FrozenTrial]
    """By number in the objectives study."""

    def of(self, fault: Fault) -> list[Record]:
        return [self.records[key] for key, value in self.faults.items() if value == fault]


@pytest.fixture(scope="module")
def faulty(small_spec: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> _Search:
    prepared = prepared_search(
        small_spec,
        "search.pruner=threshold",
        f"search.pruner_options={{upper: {HOPELESS_LOSS}}}",
        "search.retries=1",
    )
    others = [item.architecture.id for item in prepared.space if item is not prepared.reference]
    faults = dict(zip(others[1:], _FAULTS, strict=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("depthweave.search.tune.loop.ArchitectureTrial", faulty_trial(faults))
        result = search(prepared, out=tmp_path_factory.mktemp("runs") / "faulty", address=ray_address)
    curves = _trials(result, CURVES_STUDY)
    return _Search(
        prepared=prepared,
        faults=faults,
        result=result,
        records={item.architecture_id: item for item in result.store.records()},
        objectives=_trials(result, OBJECTIVES_STUDY),
        curves={item.user_attrs[TRIAL]: item for item in curves},
    )


def test_search_of_exhausted_space_ends_with_every_architecture_recorded_once(faulty: _Search) -> None:
    everything = sorted(item.architecture.id for item in faulty.prepared.space)
    assert faulty.result.ending == "done"
    assert sorted(item.architecture_id for item in faulty.result.store.records()) == everything
    assert sorted(item.user_attrs[ARCHITECTURE] for item in faulty.objectives) == everything
    assert len(faulty.curves) == len(everything) < faulty.prepared.spec.search.trials


def test_trial_without_fault_is_complete_and_optuna_has_its_values(faulty: _Search) -> None:
    good = [item for key, item in faulty.records.items() if key not in faulty.faults]
    assert {item.state for item in good} == {"complete"}
    assert {item.attempts for item in good} == {1}
    for item in good:
        trial = faulty.objectives[item.trial]
        assert trial.state == TrialState.COMPLETE
        # What may be on the front was measured again, after Optuna had its values.
        in_trial = item.latency if item.trial_latency is None else item.trial_latency
        assert trial.values == [item.perplexity, in_trial, item.memory_bytes]
        assert faulty.curves[item.trial].value == item.loss
        assert list(faulty.curves[item.trial].intermediate_values) == [1, 2, 3]


def test_stopped_trial_is_pruned_and_its_loss_is_no_result(faulty: _Search) -> None:
    stopped = faulty.of("hopeless")
    assert len(stopped) == 3
    for item in stopped:
        assert (item.state, item.perplexity, item.loss) == ("pruned", None, None)
        # Stopped at the first of three evaluations: the pruner was asked and heard.
        assert item.steps == 2
        assert item.last_loss is not None
        assert item.last_loss > HOPELESS_LOSS
        for trial in (faulty.objectives[item.trial], faulty.curves[item.trial]):
            assert trial.state == TrialState.PRUNED
            assert trial.user_attrs[REASON] == item.reason == "stopped by the pruner after evaluation 1"
        assert not faulty.objectives[item.trial].values
        assert faulty.curves[item.trial].intermediate_values == {1: item.last_loss}


@pytest.mark.parametrize(
    ("fault", "reason", "steps"),
    [
        ("raises", "OSError: planted: no first evaluation", 0),
        ("dies", "the worker died: Worker unexpectedly exits", 2),
    ],
)
def test_crashed_trial_is_tried_again_and_then_failed_with_the_reason(
    faulty: _Search, fault: Fault, reason: str, steps: int
) -> None:
    (item,) = faulty.of(fault)
    assert (item.state, item.perplexity, item.loss) == ("failed", None, None)
    assert item.attempts == 2
    assert item.steps == steps
    assert (item.reason or "").startswith(reason)
    trial = faulty.objectives[item.trial]
    assert trial.state == faulty.curves[item.trial].state == TrialState.FAIL
    assert not trial.values
    assert trial.user_attrs[REASON] == item.reason


def test_loss_that_is_not_finite_is_failed(faulty: _Search) -> None:
    (item,) = faulty.of("diverges")
    assert (item.state, item.perplexity, item.steps) == ("diverged", None, 3)
    assert item.reason == "the loss was not finite at step 3"
    trial = faulty.objectives[item.trial]
    assert trial.state == faulty.curves[item.trial].state == TrialState.FAIL
    assert trial.user_attrs[REASON] == item.reason


def test_trial_that_raised_once_continues_from_its_checkpoint(faulty: _Search) -> None:
    (item,) = faulty.of("raises once")
    assert (item.state, item.attempts, item.steps) == ("complete", 2, 6)
    rows = faulty.result.store.evaluations([item.trial]).to_pylist()
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert list(faulty.curves[item.trial].intermediate_values) == [1, 2, 3]


def test_nothing_runs_or_waits_after_the_search(faulty: _Search) -> None:
    states = Counter(item.state for item in faulty.objectives)
    assert states == Counter(item.state for item in faulty.curves.values())
    finished = len(faulty.prepared.space) - 6
    assert states == {TrialState.COMPLETE: finished, TrialState.PRUNED: 3, TrialState.FAIL: 3}


def test_front_has_only_complete_trials(faulty: _Search) -> None:
    table = pq.read_table(Path(faulty.result.store.journal_path).parent / "front.parquet")
    assert table.num_rows > 0
    assert set(table["state"].to_pylist()) == {"complete"}
    assert set(table["architecture_id"].to_pylist()) <= faulty.records.keys()


def test_only_weights_of_the_front_and_of_plain_baselines_stay_in_the_run(faulty: _Search) -> None:
    store = faulty.result.store
    folder = Path(store.journal_path).parent / "checkpoints"
    wanted = set(pq.read_table(Path(store.where) / "front.parquet")["architecture_id"].to_pylist())
    may = wanted | {item.architecture_id for item in may_be_on_front(store.records(), objectives=store.info.objectives)}
    complete = [item for item in faulty.records.values() if item.state == "complete"]
    plain = {item.architecture_id for item in complete if item.fusion == "none"}
    kept = {item.architecture_id for item in complete if (folder / f"trial-{item.trial:05d}").exists()}
    assert wanted | plain <= kept <= may | plain
    assert {path.name for path in folder.glob("*/*")} == {"model.safetensors", "model.safetensors.sha256"}
    assert {path.name for path in folder.iterdir()} <= {f"trial-{item.trial:05d}" for item in complete}


def test_report_is_written(faulty: _Search) -> None:
    page = Path(faulty.result.store.report_path).read_text(encoding="utf-8")
    assert all(item.architecture_id in page for item in faulty.records.values() if item.state == "complete")


def test_stock_optuna_search_tells_a_stopped_trial_as_complete(ray_address: str, tmp_path: Path) -> None:
    # Why our own searcher exists. If this fails, Ray has fixed it, and ours can go.
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    searcher = OptunaSearch(
        {"x": optuna.distributions.FloatDistribution(0.0, 1.0)},
        metric="loss",
        mode="min",
        storage=storage,
        study_name="stock",
    )
    ray.init(address=ray_address, log_to_driver=False)
    try:
        tune.run(
            _endless(),
            search_alg=searcher,
            scheduler=_StopAtOnce(),
            num_samples=1,
            verbose=0,
            storage_path=str(tmp_path / "tune"),
        )
    finally:
        ray.shutdown()
    (trial,) = optuna.load_study(study_name="stock", storage=storage).trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 1.0)


def _endless() -> type[tune.Trainable]:
    """Defined in a function, so that it is sent to the workers by value."""

    class Endless(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"loss": 1.0}

    return Endless


class _StopAtOnce(FIFOScheduler):
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(TrialScheduler.STOP)


def _trials(result: SearchResult, name: str) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(result.store.journal_path))
    return optuna.load_study(study_name=name, storage=storage).trials

"""A front confirmed with further seeds: whole runs on Ray, with a crash, an interruption and a second call."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import signal
import statistics
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from ray._private import worker

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION, confirming, searched
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.confirmation import PLAN_FILE
from depthweave.search.driver import ConfirmationResult, SearchResult, run_confirmation
from depthweave.search.preparation import PreparedSearch
from depthweave.search.trials.checkpoints import trial_folder
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.spaces.files import MODEL_FILE
from tests.search.faulty_trials import faulty_trial
from tests.search.search_runs import RecordingProgress, prepared_search, resume, search, with_unreadable_test_part

# Ray's processes start slowly where the machine is busy.
pytestmark = pytest.mark.timeout(600)

OBJECTIVES = ("perplexity", "memory_bytes")
"""No latency: a front that is the same however busy the machine is."""


class _Search(NamedTuple):
    prepared: PreparedSearch
    result: SearchResult
    out: Path


@pytest.fixture(scope="module")
def searched_run(small_spec: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> _Search:
    """A whole search of twelve architectures."""
    prepared = prepared_search({**small_spec, "objectives": list(OBJECTIVES)})
    out = tmp_path_factory.mktemp("runs") / "small"
    return _Search(prepared, search(prepared, out=out, address=ray_address), out)


@pytest.fixture
def run_folder(searched_run: _Search, tmp_path: Path) -> Path:
    """A copy of the run, to be confirmed."""
    return Path(shutil.copytree(searched_run.out, tmp_path / "run"))


def _confirm(
    searched_run: _Search,
    folder: Path,
    address: str,
    *,
    num_seeds: int,
    progress: RecordingProgress | None = None,
    all_members: bool = False,
) -> ConfirmationResult:
    store = RunStore.open(folder)
    heard = progress or RecordingProgress()
    return run_confirmation(
        searched_run.prepared, store, num_seeds=num_seeds, address=address, progress=heard, all_members=all_members
    )


def _distinct(records: list[Record]) -> list[Record]:
    return [item.member for item in RunView.of(records, objectives=OBJECTIVES).groups]


@pytest.mark.release
def test_confirmation_trains_members_and_baselines_with_the_same_seeds(
    searched_run: _Search, run_folder: Path, ray_address: str
) -> None:
    before = searched_run.result.records
    members = _distinct(before)
    heard = RecordingProgress()
    result = _confirm(searched_run, run_folder, ray_address, num_seeds=3, progress=heard)

    assert result.ending == "done"
    assert searched(result.records) == before
    assert {item.test_loss for item in before} == {None}
    further = confirming(result.records)
    assert {item.state for item in further} == {"complete"}
    seeds = {key: sorted(it.seed for it in further if it.architecture_id == key) for key in _ids(further)}
    assert set(map(tuple, seeds.values())) == {(1, 2, 3)}
    plain = {it.architecture_id for it in before if it.fusion == "none" and it.depth in {row.depth for row in members}}
    now = {item.architecture_id for item in front(result.records, objectives=OBJECTIVES)}
    assert _ids(further) >= _ids(members) | plain | _ids(_distinct(result.records))
    _check_seeds_are_used(further)
    for item in further:
        assert item.test_loss is not None
        assert item.loss is not None
        assert item.test_loss == pytest.approx(item.loss, rel=0.1)
        assert item.test_loss != item.loss
        losses = json.loads(item.text_losses or "[]")
        assert min(losses) <= (item.loss or 0.0) <= max(losses)
    assert _weights_kept(run_folder, further)

    # Everything that shows a front says the same.
    verdicts = verdicts_of(result.records, objectives=OBJECTIVES)
    table = pq.read_table(run_folder / "front.parquet").to_pylist()
    rows = {row["architecture_id"]: row for row in table if row["objectives"] == ",".join(OBJECTIVES)}
    assert rows.keys() == now
    for key, row in rows.items():
        if key not in _ids(further):
            assert row["twin_of"] in _ids(further)
            continue
        assert row["num_seeds"] == 3
        assert row["front_probability"] == verdicts[key].front_probability
        test = [item.test_loss for item in further if item.architecture_id == key and item.test_loss is not None]
        assert row["mean_test_perplexity"] == pytest.approx(math.exp(statistics.fmean(test)))
        assert row["test_perplexity_low"] < row["mean_test_perplexity"] < row["test_perplexity_high"]
        assert row["perplexity"] == pytest.approx(row["mean_perplexity"]) == math.exp(verdicts[key].loss.mean)
    assert "further trainings" in (run_folder / "report.html").read_text(encoding="utf-8")

    # Called again there is nothing left to train, and with more seeds only those.
    again = RecordingProgress()
    assert _confirm(searched_run, run_folder, ray_address, num_seeds=3, progress=again).ending == "done"
    assert again.started == []


@pytest.mark.release
def test_search_never_reads_the_test_part_and_a_confirmation_does(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**small_spec, "objectives": list(OBJECTIVES)}
    for pruner in ("pareto", "median"):
        prepared = with_unreadable_test_part(prepared_search(values, f"search.pruner={pruner}", "search.trials=5"))
        out = tmp_path / pruner
        assert len(search(prepared, out=out, address=ray_address).records) == 5
        assert len(resume(prepared, out=out, address=ray_address).records) == 5
    # Tune keeps what it could not send, and would send it at the next start of Ray.
    monkeypatch.setattr(worker, "_post_init_hooks", [*worker._post_init_hooks])
    with pytest.raises(AssertionError, match="the test part is"):
        run_confirmation(prepared, RunStore.open(out), num_seeds=2, address=ray_address, progress=RecordingProgress())


@pytest.mark.release
def test_crash_is_tried_again_from_the_checkpoint(
    searched_run: _Search, run_folder: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky = _distinct(searched_run.result.records)[0].architecture_id
    monkeypatch.setattr("depthweave.search.tune.loop.ArchitectureTrial", faulty_trial({unlucky: "raises once"}))
    result = _confirm(searched_run, run_folder, ray_address, num_seeds=2)
    records = [item for item in confirming(result.records) if item.architecture_id == unlucky]
    assert [item.state for item in records] == ["complete", "complete"]
    assert max(item.attempts for item in records) == 2


@pytest.mark.release
def test_diverged_seed_is_recorded_and_leaves_its_architecture_open(
    searched_run: _Search, run_folder: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky = _distinct(searched_run.result.records)[0].architecture_id
    monkeypatch.setattr("depthweave.search.tune.loop.ArchitectureTrial", faulty_trial({unlucky: "diverges"}))
    # With all members others are trained too, also where the front has one distinct member.
    result = _confirm(searched_run, run_folder, ray_address, num_seeds=4, all_members=True)
    states = Counter(item.state for item in confirming(result.records) if item.architecture_id == unlucky)
    assert states == {"diverged": 4}
    verdict = verdicts_of(result.records, objectives=OBJECTIVES)[unlucky]
    assert (verdict.num_diverged, verdict.settled) == (4, False)


class _Interrupting(RecordingProgress):
    """Ctrl-C at the first evaluation after one training has ended."""

    def on_evaluation(self, live: LiveTrial) -> None:
        if len(self.finished) == 1:
            self.finished.append(self.finished[0])
            signal.raise_signal(signal.SIGINT)


@pytest.mark.release
def test_interrupted_confirmation_continues_and_trains_nothing_twice(
    searched_run: _Search, run_folder: Path, ray_address: str
) -> None:
    first = _confirm(searched_run, run_folder, ray_address, num_seeds=3, progress=_Interrupting())
    assert first.ending == "interrupted"
    kept = confirming(first.records)
    assert len(kept) >= 1
    assert (run_folder / "report.html").exists()

    heard = RecordingProgress()
    second = _confirm(searched_run, run_folder, ray_address, num_seeds=3, progress=heard)

    assert second.ending == "done"
    assert [item for item in confirming(second.records) if item.trial in {row.trial for row in kept}] == kept
    assert {item.trial for item in kept}.isdisjoint(heard.started)
    pairs = [(item.architecture_id, item.seed) for item in second.records]
    assert len(set(pairs)) == len(pairs)
    # What was in flight went on from its checkpoint, under its own number.
    assert max(item.attempts for item in confirming(second.records)) == 2
    plan = json.loads((run_folder / PLAN_FILE).read_text(encoding="utf-8"))["trainings"]
    assert {(item["trial"], item["architecture_id"], item["seed"]) for item in plan} == {
        (item.trial, item.architecture_id, item.seed) for item in confirming(second.records)
    }


@pytest.mark.release
def test_search_continues_after_a_confirmation_and_optuna_has_each_architecture_once(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    values = {**small_spec, "objectives": list(OBJECTIVES)}
    prepared = prepared_search(values, "search.trials=4", "search.confirm=2")
    first = search(prepared, out=tmp_path / "run", address=ray_address)
    assert first.ending == "done"
    assert len(searched(first.records)) == 4
    assert {item.seed for item in confirming(first.records)} == {1, 2}

    second = resume(prepared_search(values, "search.trials=6"), out=tmp_path / "run", address=ray_address)
    assert [item.trial for item in searched(second.records)] == [0, 1, 2, 3, 4, 5]
    assert len(_ids(searched(second.records))) == 6
    assert confirming(second.records) == confirming(first.records)


@pytest.mark.release
def test_pruned_baseline_is_trained_with_fresh_seeds_alone(
    searched_run: _Search, run_folder: Path, ray_address: str
) -> None:
    store = RunStore.open(run_folder)
    member = next(item for item in front(store.records(), objectives=OBJECTIVES) if item.fusion != "none")
    plain = next(item for item in store.records() if item.fusion == "none" and item.depth == member.depth)
    gone: dict[str, Any] = {"state": "pruned", "perplexity": None, "loss": None, "bits_per_byte": None}
    store.revise(dataclasses.replace(plain, **gone))
    # Every member: of these runs' fronts the distinct ones may all be plain.
    result = _confirm(searched_run, run_folder, ray_address, num_seeds=2, all_members=True)
    trained = [item for item in result.records if item.architecture_id == plain.architecture_id]
    assert [(item.trial >= FIRST_CONFIRMATION, item.seed, item.state) for item in trained] == [
        (False, 0, "pruned"),
        (True, 1, "complete"),
        (True, 2, "complete"),
    ]


def _check_seeds_are_used(records: list[Record]) -> None:
    """Two seeds give two models, and both are kept."""
    one = [item for item in records if item.architecture_id == records[0].architecture_id]
    assert len({item.loss for item in one}) == len(one) > 1
    assert all(json.loads(item.recipe)["seed"] == item.seed for item in one)


def _weights_kept(folder: Path, records: list[Record]) -> bool:
    return all((trial_folder(folder / "checkpoints", item.trial) / MODEL_FILE).exists() for item in records)


def _ids(records: list[Record]) -> set[str]:
    return {item.architecture_id for item in records}

"""A search that starts from other runs: what is taken over, what is learned from, and what is kept for a resumption."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthweave.reports.analysis.source_runs import start_line
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore, checkpoint_name
from depthweave.reports.store.warm_start import NO_WARM_START, WARM_START_FILE, WarmStart, read_warm_start
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.warm_start.start import begin_warm_start, source_losses
from depthweave.spaces.checksums import checksum_path, sha256_of
from depthweave.spaces.model_files import MODEL_FILE
from tests.search.search_runs import RecordingProgress
from tests.search.warm_runs import SOURCE_WEIGHTS, add_records, opened, prepared_of, source_run

_LOSSES = (2.0, 1.9, 1.8, 1.7)


def _begin(
    prepared: PreparedSearch,
    store: RunStore,
    *,
    hardware: str = "a processor",
    progress: RecordingProgress | None = None,
) -> WarmStart:
    with opened(prepared, store, hardware=hardware, progress=progress) as run:
        return begin_warm_start(run, local=True)


def test_identical_records_are_taken_over_with_curves_and_weights(small_spec: dict[str, Any], tmp_path: Path) -> None:
    source = source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES, weights=True)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store, progress = create_run(prepared, out=tmp_path / "second"), RecordingProgress()
    found = _begin(prepared, store, progress=progress)

    (kept,) = found.sources
    assert (found.taken_over, kept.losses) == (frozenset(range(4)), ())
    assert progress.notes == ["run small: 4 records taken over"]
    expected = [
        dataclasses.replace(
            item,
            run_id=store.info.run_id,
            taken_from=f"{source.info.run_id}/trial-{item.trial:05d}",
            trial_latency=None,
        )
        for item in source.records()
    ]
    assert store.records() == expected
    assert store.evaluations().drop_columns(["run_id"]).equals(source.evaluations().drop_columns(["run_id"]))
    assert store.weights().drop_columns(["run_id"]).equals(source.weights().drop_columns(["run_id"]))
    assert source.weights().num_rows
    for trial in range(4):
        path = tmp_path / "second" / checkpoint_name(trial) / MODEL_FILE
        assert path.read_bytes() == SOURCE_WEIGHTS + str(trial).encode()
        assert checksum_path(path).read_text().startswith(sha256_of(path))
    assert source_losses(store, found) == []


def test_records_of_another_recipe_are_learned_from_and_never_records(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    earlier = prepared_of(small_spec, recipe__steps=9, recipe__learning_rate=0.002)
    source = source_run(earlier, tmp_path / "first", losses=_LOSSES)
    add_records(source, earlier, losses=(2.2, 2.1), first=1_000_000, seed=7)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "second")
    found = _begin(prepared, store)

    assert (store.records(), found.taken_over) == ([], frozenset())
    (kept,) = found.sources
    # The plain architectures of the first two trials have a second seed.
    assert kept.losses == pytest.approx((2.1, 2.0, 1.8, 1.7))
    assert (
        start_line(kept) == "run small: 4 architectures to learn from (different: recipe (steps, learning rate, seed))"
    )
    (losses,) = source_losses(store, found)
    assert [item.id for item in losses.architectures] == [item.architecture.id for item in prepared.space][:4]
    assert losses.losses_S.tolist() == list(kept.losses)


def test_only_some_are_identical_and_none_counts_twice(small_spec: dict[str, Any], tmp_path: Path) -> None:
    earlier = prepared_of(small_spec, reference__depth=2)
    source = source_run(earlier, tmp_path / "first", losses=_LOSSES)
    add_records(source, earlier, losses=(2.4,), first=1_000_000, seed=7)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"], space__depths=[2], reference__depth=2)
    store = create_run(prepared, out=tmp_path / "second")
    found = _begin(prepared, store)

    inside = {item.architecture.id for item in prepared.space}
    records = {item.trial: item for item in source.records()}
    taken = [item for item in records.values() if item.architecture_id in inside and item.seed == 0]
    assert 0 < len(taken) < 4
    assert [item.architecture_id for item in store.records()] == [item.architecture_id for item in taken]
    (kept,) = found.sources
    learned = sorted(item.loss for item in records.values() if item not in taken if item.loss)
    assert sorted(kept.losses) == pytest.approx(learned)


@pytest.mark.parametrize("measured", [True, False])
def test_other_machine_keeps_measured_records_apart(measured: bool, small_spec: dict[str, Any], tmp_path: Path) -> None:
    objectives = "[perplexity, latency]" if measured else "[perplexity, parameters]"
    source = source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"], objectives=objectives)
    store = create_run(prepared, out=tmp_path / "second")
    found = _begin(prepared, store, hardware="another processor")

    (kept,) = found.sources
    if measured:
        assert (store.records(), kept.differs) == ([], ("hardware",))
        return
    assert len(store.records()) == 4
    for item in store.records():
        assert (item.latency, item.step_latency, item.latency_s, item.memory_bytes) == (None, None, None, None)
        assert item.loss == source.records()[item.trial].loss


def test_damaged_weights_stay_behind_and_a_line_says_so(small_spec: dict[str, Any], tmp_path: Path) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES[:2], weights=True)
    (tmp_path / "first" / checkpoint_name(0) / MODEL_FILE).write_bytes(b"other")
    checksum_path(tmp_path / "first" / checkpoint_name(1) / MODEL_FILE).unlink()
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store, progress = create_run(prepared, out=tmp_path / "second"), RecordingProgress()
    _begin(prepared, store, progress=progress)

    assert len(store.records()) == 2
    assert not list((tmp_path / "second").rglob(MODEL_FILE))
    (line, _) = progress.notes
    assert f"{tmp_path / 'first'}/{checkpoint_name(0)}/{MODEL_FILE}: is damaged" in line
    assert line.endswith("its record is taken over without weights")


def test_record_without_curve_is_learned_from(small_spec: dict[str, Any], tmp_path: Path) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES)
    (tmp_path / "first" / "evaluations" / "trial-00002-r000.parquet").unlink()
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "second")
    (kept,) = _begin(prepared, store).sources
    assert (len(store.records()), kept.losses, kept.differs) == (3, (1.8,), ("without a learning curve",))


def test_resumed_search_needs_no_source(small_spec: dict[str, Any], tmp_path: Path) -> None:
    earlier = prepared_of(small_spec, space__depths="[2, 4, 8]", reference__depth=4)
    source_run(earlier, tmp_path / "first", losses=[2.0] * 12)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"], reference__depth=4)
    store = create_run(prepared, out=tmp_path / "second")
    found = _begin(prepared, store)
    records = store.records()
    assert found.taken_over
    assert found.sources[0].losses
    shutil.rmtree(tmp_path / "first")

    progress = RecordingProgress()
    again = _begin(prepared, RunStore.open(tmp_path / "second"), progress=progress)
    assert again == found
    assert store.records() == records
    assert progress.notes == [start_line(found.sources[0])]


def test_search_without_sources_reads_and_writes_nothing(small_spec: dict[str, Any], tmp_path: Path) -> None:
    prepared = prepared_of(small_spec)
    store = create_run(prepared, out=tmp_path / "run")
    assert _begin(prepared, store) == NO_WARM_START
    assert not store.has_file(WARM_START_FILE)
    assert "warm_start" not in store.read_text("spec.yaml")


def test_record_that_another_source_took_over_counts_once(small_spec: dict[str, Any], tmp_path: Path) -> None:
    first = source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES)
    second_prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    second = create_run(second_prepared, out=tmp_path / "second")
    _begin(second_prepared, second)
    other = prepared_of(small_spec, sources=[tmp_path / "second", tmp_path / "first"], recipe__steps=9)
    store = create_run(other, out=tmp_path / "third")
    found = _begin(other, store)
    assert [len(item.losses) for item in found.sources] == [0, 4]

    # From the second alone, the origin is still the run that trained it.
    same = prepared_of(small_spec, sources=[tmp_path / "second"])
    fourth = create_run(same, out=tmp_path / "fourth")
    _begin(same, fourth)
    assert [item.taken_from for item in fourth.records()] == [
        f"{first.info.run_id}/trial-{number:05d}" for number in range(4)
    ]


def test_two_sources_with_the_same_training_give_one_record(small_spec: dict[str, Any], tmp_path: Path) -> None:
    for name in ("first", "second"):
        source_run(prepared_of(small_spec), tmp_path / name, losses=_LOSSES)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first", tmp_path / "second"])
    store = create_run(prepared, out=tmp_path / "third")
    found = _begin(prepared, store)
    assert [dict(item.taken_over) for item in found.sources] == [{0: 0, 1: 1, 2: 2, 3: 3}, {}]
    assert [item.losses for item in found.sources] == [(), ()]
    assert len({item.name for item in found.sources}) == 2


class _Kill(BaseException):
    """The driver dies here."""


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=[] if moment in (4, 10) else [pytest.mark.slow]) for moment in range(12)]
)
def test_start_killed_at_any_write_and_repeated_equals_an_undisturbed_one(
    moment: int, small_spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES[:2], weights=True)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "second")
    writes = 0

    def dying(self: Any, name: str, fill: Any) -> None:
        nonlocal writes
        if writes == moment:
            raise _Kill
        writes += 1
        original(self, name, fill)

    original = type(store.storage)._replace
    with monkeypatch.context() as patch:
        patch.setattr(type(store.storage), "_replace", dying)
        if moment < 11:
            with pytest.raises(_Kill):
                _begin(prepared, store)
        else:
            _begin(prepared, store)
    assert store.has_file(WARM_START_FILE) == (moment == 11)

    _begin(prepared, RunStore.open(tmp_path / "second"))
    assert [(item.trial, item.loss) for item in store.records()] == [(0, 2.0), (1, 1.9)]
    assert store.evaluations().num_rows == 6
    assert len(list((tmp_path / "second").rglob(MODEL_FILE))) == 2


def test_source_that_changed_before_an_interrupted_start_was_repeated_is_one_line(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "second")
    _begin(prepared, store)
    (tmp_path / "second" / WARM_START_FILE).unlink()
    (tmp_path / "first" / "records" / "trial-00001-r000.parquet").unlink()
    with pytest.raises(ValueError, match=r"took over .*trial-00001 as trial 1, and the sources have"):
        _begin(prepared, store)


def test_damaged_missing_and_foreign_files_are_one_line(small_spec: dict[str, Any], tmp_path: Path) -> None:
    source_run(prepared_of(small_spec, recipe__steps=9), tmp_path / "first", losses=_LOSSES)
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "second")
    _begin(prepared, store)
    path = tmp_path / "second" / WARM_START_FILE
    whole = path.read_text(encoding="utf-8")

    path.write_text(whole.replace("1.9", "1.1"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"warm_start.json: cannot be read \(it is damaged") as caught:
        _begin(prepared, store)
    assert "\n" not in str(caught.value)

    values = json.loads(whole)
    del values["sha256"]
    path.write_text(json.dumps({**values, "run_id": "another"}), encoding="utf-8")
    with pytest.raises(ValueError, match="belongs to run another"):
        read_warm_start(store)
    values["sources"][0]["architectures"][0]["depth"] = -1
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=r"warm_start.json: cannot be read"):
        source_losses(store, read_warm_start(store))

    path.unlink()
    (tmp_path / "second" / "study.journal").touch()
    with pytest.raises(ValueError, match="is missing, and the search decided with it"):
        _begin(prepared, store)


def test_record_is_taken_over_under_the_names_of_this_space(small_spec: dict[str, Any], tmp_path: Path) -> None:
    # In a space of wirings the same graphs are made by texts of rules, and the smallest depth is the reference.
    source_run(prepared_of(small_spec), tmp_path / "first", losses=[2.0] * 12)
    prepared = prepared_of(
        small_spec,
        sources=[tmp_path / "first"],
        objectives="[perplexity, parameters]",
        reference__depth=2,
        space__wirings="[first:2, pow2]",
    )
    store = create_run(prepared, out=tmp_path / "second")
    _begin(prepared, store)
    records: list[Record] = store.records()
    assert records
    for item in records:
        candidate = prepared.space[item.architecture_id]
        assert item.rule == (None if candidate.rule is None else candidate.rule.text)
        assert item.reference == (item.architecture_id == store.info.reference_id)
    assert sum(item.reference for item in records) == 1
    # Latencies relative to another reference are not kept.
    assert all(item.latency is None for item in records)
    assert np.isfinite([item.loss for item in records if item.loss]).all()


def test_same_training_on_another_machine_is_not_learned_from_beside_the_record(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    first = source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES[:2])
    elsewhere = source_run(prepared_of(small_spec), tmp_path / "elsewhere", losses=_LOSSES[:3])
    for record in elsewhere.records():
        elsewhere.revise(dataclasses.replace(record, hardware="another processor"))
    prepared = prepared_of(small_spec, sources=[tmp_path / "elsewhere", tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "third")
    other, same = _begin(prepared, store).sources
    assert (len(other.taken_over), other.losses, other.differs) == (0, (1.8,), ("hardware",))
    assert (len(same.taken_over), same.losses) == (2, ())
    assert [item.loss for item in store.records()] == [item.loss for item in first.records()]


def test_record_that_two_sources_took_over_from_a_third_is_learned_from_once(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=_LOSSES)
    for name in ("second", "third"):
        prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
        _begin(prepared, create_run(prepared, out=tmp_path / name))
    other = prepared_of(small_spec, sources=[tmp_path / "second", tmp_path / "third"], recipe__steps=9)
    found = _begin(other, create_run(other, out=tmp_path / "fourth"))
    assert [len(item.losses) for item in found.sources] == [4, 0]

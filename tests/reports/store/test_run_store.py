"""The run folder: what is written is read, whatever a crash, a stranger or an older version left in it."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from depthweave.reports.store import run_store as store_module
from depthweave.reports.store.arrow_rows import schema_of, to_table
from depthweave.reports.store.parquet_folder import ParquetFolder
from depthweave.reports.store.records import SCHEMA_VERSION, EvaluationRow, Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import Storage
from depthweave.spaces.checksums import add_checksum
from tests.reports.synthetic import make_info, make_record, make_trial, synthetic_trials

Append = Callable[[Record], None]


def test_create_then_open_gives_info_and_spec(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "run", info=make_info(name="<b>"), spec_yaml="name: ü\n")
    opened = RunStore.open(tmp_path / "run")
    assert opened.info == make_info(name="<b>")
    assert opened.spec_yaml == "name: ü\n"
    assert opened.records() == []
    assert opened.evaluations().num_rows == opened.weights().num_rows == 0


def test_create_where_a_run_is_says_resume(store: RunStore) -> None:
    with pytest.raises(ValueError, match=r"already holds a run.*--resume"):
        RunStore.create(store.where, info=make_info(), spec_yaml="")


def test_create_over_records_without_run_json_refused(store: RunStore, append: Append) -> None:
    append(make_record(0))
    (Path(store.where) / "run.json").unlink()
    with pytest.raises(ValueError, match=r"without run\.json"):
        RunStore.create(store.where, info=make_info(), spec_yaml="")


def test_open_without_a_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run") as caught:
        RunStore.open(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "created_at": 3}'])
def test_open_damaged_run_json_is_one_line(store: RunStore, text: str) -> None:
    (Path(store.where) / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json: not readable as a run") as caught:
        RunStore.open(store.where)
    assert "\n" not in str(caught.value)


def test_open_later_run_format_names_both(store: RunStore) -> None:
    path = Path(store.where) / "run.json"
    values = {**json.loads(path.read_text()), "format": 9}
    path.write_text(json.dumps(add_checksum(values)))
    with pytest.raises(ValueError, match="run format 9, this Depthweave reads up to 1"):
        RunStore.open(store.where)


def test_file_uri_is_the_same_run(store: RunStore, append: Append) -> None:
    append(make_record(0))
    assert RunStore.open(f"file://{store.where}").records() == [make_record(0)]


def test_unknown_address_is_one_line() -> None:
    with pytest.raises(ValueError, match="not an address that pyarrow opens"):
        RunStore.open("nowhere://bucket/run")


def test_other_filesystem_whole_life(memory: fs.FileSystem) -> None:
    made = RunStore.create("/bucket/run", info=make_info(), spec_yaml="a: 1\n", filesystem=memory)
    trials = synthetic_trials()[:4]
    for trial in trials:
        made.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    made.revise(dataclasses.replace(trials[1].record, trial_latency=1.05))
    made.compact()
    opened = RunStore.open("/bucket/run", filesystem=memory)
    assert [row.trial for row in opened.records()] == [0, 1, 2, 3]
    assert opened.records()[1].trial_latency == 1.05
    assert opened.evaluations().num_rows == sum(len(trial.evaluations) for trial in trials)
    assert opened.problems == []


def test_append_all_parts_come_back(full_store: RunStore) -> None:
    trials = synthetic_trials()
    assert full_store.records() == [trial.record for trial in trials]
    assert full_store.weights().to_pylist() == [dataclasses.asdict(row) for trial in trials for row in trial.weights]
    expected = [dataclasses.asdict(row) for trial in trials for row in trial.evaluations]
    for row, wanted in zip(full_store.evaluations().to_pylist(), expected, strict=True):
        assert row == wanted or math.isnan(wanted["loss"])


def test_append_twice_stands_once(store: RunStore, append: Append) -> None:
    append(make_record(5))
    append(make_record(5))
    assert len(store.records()) == 1
    assert store.evaluations().num_rows == len(make_trial(make_record(5)).evaluations)


def test_append_writes_the_record_last(store: RunStore, append: Append, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    write = ParquetFolder.write

    def seen(self: ParquetFolder[Record], rows: list[Record], *, trial: int, revision: int = 0) -> None:
        write(self, rows, trial=trial, revision=revision)
        order.append(self._row_class.__name__)

    monkeypatch.setattr(ParquetFolder, "write", seen)
    append(make_record(0))
    assert order[-1] == "Record"
    assert sorted(order) == ["EvaluationRow", "Record", "WeightRow"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_id": "another"}, "record of run 'another'"),
        ({"state": "stopped"}, "one of complete, pruned"),
        ({"state": "pruned"}, "is pruned and has a perplexity"),
    ],
)
def test_append_wrong_record_refused(store: RunStore, change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.append(dataclasses.replace(make_record(0), **change), evaluations=[], weights=[])  # type: ignore[arg-type]
    assert store.records() == []


def test_append_rows_of_another_trial_refused(store: RunStore) -> None:
    other = make_trial(make_record(1))
    with pytest.raises(ValueError, match="trial 0 was given rows of"):
        store.append(make_record(0), evaluations=other.evaluations, weights=[])


def test_damaged_part_is_absent_and_rewritable(store: RunStore, append: Append) -> None:
    append(make_record(0))
    (part,) = (Path(store.where) / "records").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    assert store.records() == []
    append(make_record(0))
    assert [item.trial for item in store.records()] == [0]
    assert store.problems == []


def test_revise_highest_revision_wins_also_after_compact(store: RunStore, append: Append) -> None:
    append(make_record(0))
    for value in (1.1, 1.2):
        store.revise(make_record(0, trial_latency=value))
    assert [row.trial_latency for row in store.records()] == [1.2]
    store.compact()
    assert [row.trial_latency for row in store.records()] == [1.2]
    store.revise(make_record(0, trial_latency=1.3))
    assert [row.trial_latency for row in store.records()] == [1.3]
    store.compact()
    assert [row.trial_latency for row in store.records()] == [1.3]
    assert len(list((Path(store.where) / "records").iterdir())) == 2


def test_revise_damaged_revision_falls_back(store: RunStore, append: Append) -> None:
    append(make_record(0))
    store.revise(make_record(0, trial_latency=1.2))
    (Path(store.where) / "records" / "trial-00000-r001.parquet").write_bytes(b"PAR1")
    assert store.records() == [make_record(0)]
    assert len(store.problems) == 1
    assert "records/trial-00000-r001.parquet" in store.problems[0]


def test_reader_skips_and_names_every_kind_of_bad_part(store: RunStore, append: Append) -> None:
    append(make_record(0))
    folder = Path(store.where) / "records"
    (folder / "trial-00001-r000.parquet").write_bytes(b"not parquet at all")
    (folder / "trial-00002-r000.parquet").write_bytes(b"")
    pq.write_table(pa.table({"a": [1]}), folder / "trial-00003-r000.parquet")
    pq.write_table(schema_of(EvaluationRow).empty_table(), folder / "trial-00004-r000.parquet")
    stranger = to_table([make_record(5, run_id="another")], row_class=Record)
    pq.write_table(stranger, folder / "trial-00005-r000.parquet")
    pq.write_table(to_table([make_record(9)], row_class=Record), folder / "trial-00006-r000.parquet")
    pq.write_table(to_table([make_record(7)], row_class=Record), folder / "copy of trial 7.parquet")
    wrong = to_table([make_record(8)], row_class=Record).drop_columns(["depth"])
    pq.write_table(wrong, folder / "trial-00008-r000.parquet")
    (folder / ".trial-00010-r000.parquet.0123.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    assert [row.trial for row in store.records()] == [0]
    named = {problem.split(":")[0] for problem in store.problems}
    assert named == {f"records/trial-0000{i}-r000.parquet" for i in (1, 2, 3, 4, 5, 6, 8)} | {
        "records/copy of trial 7.parquet"
    }
    assert all("\n" not in problem and problem.endswith("left out") for problem in store.problems)
    assert len(store.records()) == 1
    assert len(store.problems) == 8


def test_reader_later_schema_names_both_versions(store: RunStore) -> None:
    table = to_table([make_record(0)], row_class=Record)
    later = {**table.schema.metadata, b"depthweave.schema_version": b"99"}
    folder = Path(store.where) / "records"
    folder.mkdir()
    pq.write_table(table.replace_schema_metadata(later), folder / "trial-00000-r000.parquet")
    with pytest.raises(ValueError, match=f"schema version 99, this Depthweave reads up to {SCHEMA_VERSION}"):
        store.records()


def test_reader_older_schema_missing_columns_have_their_default(store: RunStore, append: Append) -> None:
    append(make_record(1))
    table = to_table([make_record(0, audit=True)], row_class=Record).drop_columns(["audit", "trial_latency"])
    older = {**table.schema.metadata, b"depthweave.schema_version": b"0"}
    path = Path(store.where) / "records" / "trial-00000-r000.parquet"
    pq.write_table(table.replace_schema_metadata(older), path)
    before = path.read_bytes()
    assert [(row.audit, row.trial_latency) for row in store.records()] == [(False, None)] * 2
    assert path.read_bytes() == before
    store.compact()
    assert [(row.audit, row.trial_latency) for row in store.records()] == [(False, None)] * 2
    assert store.problems == []


def test_reader_first_schema_knows_no_audits(store: RunStore, append: Append) -> None:
    append(make_record(1, audit=True))
    table = to_table([make_record(0)], row_class=Record).drop_columns(["audit"])
    older = {**table.schema.metadata, b"depthweave.schema_version": b"1"}
    pq.write_table(table.replace_schema_metadata(older), Path(store.where) / "records" / "trial-00000-r000.parquet")
    assert [row.audit for row in store.records()] == [False, True]
    store.merge()
    assert [row.audit for row in store.records()] == [False, True]
    assert store.problems == []


def test_evaluations_of_chosen_trials_only(store: RunStore, append: Append) -> None:
    append(make_record(0))
    append(make_record(1))
    store.compact()
    append(make_record(2))
    assert set(store.evaluations({1, 2})["trial"].to_pylist()) == {1, 2}
    assert set(store.weights([0])["trial"].to_pylist()) == {0}
    assert store.evaluations([]).num_rows == 0


def test_compact_killed_midway_loses_nothing(store: RunStore, append: Append) -> None:
    append(make_record(0))
    append(make_record(1))
    store.revise(make_record(0, trial_latency=1.2))
    expected = store.records()

    class KilledError(Exception):
        pass

    class Fragile(LocalFileSystem):  # type: ignore[misc]
        """Deletes one file and dies at the second."""

        deleted = 0

        def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
            if Fragile.deleted:
                raise KilledError
            Fragile.deleted += 1
            super().rm(path, recursive=recursive, maxdepth=maxdepth)

    fragile = fs.PyFileSystem(fs.FSSpecHandler(Fragile(skip_instance_cache=True)))
    folder = ParquetFolder(
        Storage(store.where, filesystem=fragile), "records", row_class=Record, run_id=store.info.run_id
    )
    with pytest.raises(KilledError):
        folder.compact()
    assert len(list((Path(store.where) / "records").iterdir())) == 3
    assert RunStore.open(store.where).records() == expected
    store.compact()
    assert RunStore.open(store.where).records() == expected


def test_append_gathers_parts_by_itself(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_LOOSE_PARTS", 3)
    for number in range(9):
        store.append(make_record(number), evaluations=[], weights=[])
    names = sorted(path.name for path in (Path(store.where) / "records").iterdir())
    assert names == ["batch-00001.parquet", "batch-00002.parquet", "trial-00008-r000.parquet"]
    assert [row.trial for row in store.records()] == list(range(9))


def test_paths_of_a_run(store: RunStore) -> None:
    assert Path(store.checkpoint_dir(12)) == Path(store.where) / "checkpoints" / "trial-00012"
    assert store.checkpointed() == []
    for name in ("trial-00012/state.pt", "trial-00003/state.pt", "trial-x/state.pt", "other/state.pt"):
        store.write_bytes(f"checkpoints/{name}", b"")
    assert store.checkpointed() == [3, 12]
    assert Path(store.journal_path) == Path(store.where) / "study.journal"
    assert Path(store.report_path) == Path(store.where) / "report.html"


def test_front_parquet_and_records_read_without_depthweave(full_store: RunStore) -> None:
    table = pq.read_table(Path(full_store.where) / "records")
    assert table.num_rows == 32
    assert table.schema.field("memory_bytes").metadata[b"unit"] == b"byte"


@pytest.mark.slow
def test_hundred_thousand_records_read_in_seconds(store: RunStore) -> None:
    row, size, batches = make_record(0), 3124, 32
    folder = ParquetFolder(store.storage, "records", row_class=Record, run_id=store.info.run_id)
    for batch in range(batches):
        # As `append` leaves them, without the minutes that as many synced files take.
        rows = [dataclasses.replace(row, trial=batch * size + number) for number in range(size)]
        folder._write_table(f"batch-{batch + 1:05d}.parquet", to_table(rows, row_class=Record))
    for number in range(batches * size, 100_000):
        folder.write([dataclasses.replace(row, trial=number)], trial=number)
    begin_s = time.process_time()
    records = store.records()
    read_s = time.process_time() - begin_s
    assert [it.trial for it in records] == list(range(100_000))
    # Machines differ in speed by a factor of three, so the limit is relative: one conversion there and back of the same
    # rows in memory takes 1.2 times as long as reading them does.
    begin_s = time.process_time()
    to_table(records, row_class=Record).to_pylist()
    assert read_s < 2 * (time.process_time() - begin_s)

"""What must hold of a run folder after every fault, however it was harmed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from optuna.trial import TrialState

from depthweave.reports.analysis.front import front, may_be_on_front
from depthweave.reports.page.page import write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import CHECKSUM_SUFFIX
from tests.search.processes import kept_records, study_states

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


class Keepsake:
    """A run folder as it was when a fault struck: every finished record, and the bytes of every part."""

    def __init__(self, out: Path) -> None:
        self.records = kept_records(out)
        self._hashes = {path: _hash(path) for path in out.glob("*/*.parquet")}

    def check_untouched(self, out: Path) -> None:
        """Every part has its bytes still, or was gathered into one that holds its records as they were."""
        for path, digest in self._hashes.items():
            assert not path.exists() or _hash(path) == digest, f"{path} was written again"
        now = kept_records(out)
        assert {number: now[number] for number in self.records} == self.records


def check_readable(out: Path) -> None:
    """At any moment: every part can be read, and the report builds."""
    store = RunStore.open(out)
    store.records()
    assert store.problems == []
    write_report(store)


def check_whole(out: Path, *, num_trials: int) -> list[Record]:
    """A search that has ended: its budget met exactly, nothing twice, no ghost, every failure with its cause."""
    check_readable(out)
    store = RunStore.open(out)
    records = store.records()
    assert [item.trial for item in records] == list(range(num_trials)), "no number is lost"
    assert len({item.architecture_id for item in records}) == num_trials
    curves = store.evaluations().to_pylist()
    assert len({(row["trial"], row["index"]) for row in curves}) == len(curves)
    for item in records:
        indices = [row["index"] for row in curves if row["trial"] == item.trial]
        assert indices == list(range(len(indices))), f"trial {item.trial} lacks an evaluation"
        assert (item.reason is None) == (item.state == "complete")
    expected = [_STATES[item.state] for item in records]
    assert study_states(store) == {state: expected.count(state) for state in set(expected)}
    # The front's weights stay for certain, others' only while they may be wanted, and beside weights nothing.
    left = {path.relative_to(out / "checkpoints").as_posix() for path in (out / "checkpoints").glob("*/*")}
    objectives = store.info.objectives
    wanted = _may_be_wanted(records, objectives=objectives, written=out / "front.parquet")
    assert _weights(front(records, objectives=objectives)) <= left <= _weights(wanted)
    return records


def _may_be_wanted(records: Sequence[Record], *, objectives: Sequence[str], written: Path) -> list[Record]:
    """The complete records that are plain, may be on the front, or are on one of those that were written."""
    ids = {item.architecture_id for item in may_be_on_front(records, objectives=objectives)}
    ids |= set(pq.read_table(written, columns=["architecture_id"])["architecture_id"].to_pylist())
    ids |= {item.architecture_id for item in records if item.fusion == "none"}
    return [item for item in records if item.state == "complete" and item.architecture_id in ids]


def _weights(records: Sequence[Record]) -> set[str]:
    """The files of their weights, each with its checksum."""
    return {f"trial-{item.trial:05d}/model.safetensors{end}" for item in records for end in ("", CHECKSUM_SUFFIX)}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""A run's stamp: what watches a run asks it before it reads."""

from __future__ import annotations

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_record, make_trial


def test_stamp_changes_with_a_record_a_revision_and_the_front_alone(store: RunStore) -> None:
    stamps = [store.stamp()]
    assert store.stamp() == stamps[0]
    trial = make_trial(make_record(0))
    store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    stamps.append(store.stamp())
    store.revise(make_record(0, latency=1.2))
    stamps.append(store.stamp())
    write_front(store, store.records())
    stamps.append(store.stamp())
    store.write_bytes("report.html", b"")
    assert store.stamp() == stamps[-1]
    assert len(set(stamps)) == len(stamps)

"""A three-node cluster loses a node with a trial on it: the search spread over all, survives and ends complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.state import actors
from ray.cluster_utils import Cluster

from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.trials.live_trial import LiveTrial
from tests.faults.wholeness import check_whole
from tests.search.search_runs import RecordingProgress, prepared_search

pytestmark = [
    pytest.mark.release,
    pytest.mark.timeout(1200),
    # Of Ray's own: it leaves files and sockets of nodes that were killed.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

_STORE_BYTES = 80 * 2**20


@pytest.fixture
def three_nodes() -> Iterator[Cluster]:
    cluster = Cluster()
    for _ in range(3):
        # The first is the head.
        cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES, include_dashboard=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class _Killing(RecordingProgress):
    """Kills a node, not the head, once a trial trains on every one and a first has ended."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self.spread: set[str] = set()
        self.struck = False
        self.kept: list[object] = []

    def on_evaluation(self, live: LiveTrial) -> None:
        super().on_evaluation(live)
        busy = {item["Address"]["NodeID"] for item in actors().values() if item["State"] == "ALIVE"}
        self.spread |= busy
        if not self.struck and len(busy) == 3 and self.finished and len(live.evaluations) >= 2:
            self.struck = True
            self.kept = list(self.finished)
            victim = next(item for item in self._cluster.worker_nodes if item.node_id in busy)
            self._cluster.remove_node(victim, allow_graceful=False)


def test_search_spreads_over_three_nodes_and_survives_the_loss_of_one(
    small_spec: dict[str, Any], three_nodes: Cluster, tmp_path: Path
) -> None:
    recipe = {**small_spec["recipe"], "steps": 100, "num_evaluations": 20}
    # Without a retry: that its node was lost is not the trial's fault.
    prepared = prepared_search({**small_spec, "recipe": recipe}, "search.trials=8", "search.retries=0")
    killing = _Killing(three_nodes)
    out = tmp_path / "run"
    result = run_search(prepared, create_run(prepared, out=out), address=three_nodes.address, progress=killing)
    assert killing.struck
    assert len(killing.spread) == 3
    assert result.ending == "done"
    records = check_whole(out, num_trials=8)
    assert {item.state for item in records} == {"complete"}
    assert sum(item.attempts for item in records) == 8 + 1, "one trial went on elsewhere, the others never stopped"
    curves = result.store.evaluations().to_pylist()
    assert all(row["index"] < 20 for row in curves)
    assert len(curves) == 8 * 20

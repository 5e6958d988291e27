"""A full object store and a clock that jumps by hours do not affect the search."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.trials.live_trial import LiveTrial
from tests.faults.wholeness import check_whole
from tests.search.ray_head import ray_head
from tests.search.search_runs import RecordingProgress, prepared_search

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

_STORE_BYTES = 80 * 2**20
_FILL = """
import numpy as np
held = [ray.put(np.ones(10 * 2**20, dtype=np.uint8)) for _ in range(7)]
views = ray.get(held)  # what is looked at cannot be moved to the disk
"""
_TOKEN_BYTES = 24 * 2**20


@pytest.fixture
def full_store() -> Iterator[str]:
    """A Ray whose object store has no room for the tokens."""
    with ray_head(num_cpus=1, object_store_bytes=_STORE_BYTES, then=_FILL) as address:
        yield address


class _Jumping(RecordingProgress):
    """The driver's clock is ten hours ahead and ten hours behind in turn, from one evaluation to the next."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_s = 0.0

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_REALTIME) + self._ahead_s

    def on_evaluation(self, live: LiveTrial) -> None:
        super().on_evaluation(live)
        self._ahead_s = (-1) ** self.num_evaluations * 36_000.0


def test_full_object_store_and_jumping_clock_harm_no_trial(
    small_spec: dict[str, Any], full_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(random.Random(number).randbytes(_TOKEN_BYTES // 28).hex())
    corpus = {"kind": "files", "paths": [str(tmp_path / "*.txt")], "validation_frac": 0.3}
    prepared = prepared_search({**small_spec, "corpus": corpus}, "search.trials=4", "search.time_budget_s=36000")
    assert prepared.data.train.nbytes + prepared.data.valid.nbytes >= _TOKEN_BYTES
    jumping = _Jumping()
    monkeypatch.setattr(time, "time", jumping.now)
    store = create_run(prepared, out=tmp_path / "run")
    result = run_search(prepared, store, address=full_store, progress=jumping)
    monkeypatch.undo()
    assert jumping.num_evaluations > 0
    assert result.ending == "done", "the time budget is not the clock's"
    assert 0.0 < result.wall_s < 3600.0
    assert {item.state for item in check_whole(tmp_path / "run", num_trials=4)} == {"complete"}

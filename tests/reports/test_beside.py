"""A store that several processes use at once: one writes, one gathers its parts, one reads."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import NUM_EVALUATIONS, make_record, make_trial

_HEAD = (
    "import sys, time; from depthweave.reports.store.run_store import RunStore; from tests.reports.synthetic import *\n"
)
_WRITE = _HEAD + (
    "store = RunStore.open(sys.argv[1])\n"
    "for n in range(int(sys.argv[2])):\n"
    "    t = make_trial(make_record(n)); store.append(t.record, evaluations=t.evaluations, weights=[])\n"
    "    if n % 5 == 0: store.revise(make_record(n, trial_latency=1.0 + n))\n"
    "    if n % 10 == 9: store.compact()\n"
    "    if n % 40 == 39: store.merge()\n"
)
_GATHER = _HEAD + (
    "turn = 0\n"
    "while True:\n"
    "    store = RunStore.open(sys.argv[1]); turn += 1\n"
    "    store.merge() if turn % 3 == 0 else store.compact()\n"
    "    print(turn, flush=True)\n"
)


@contextmanager
def _running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("count", [30, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_reader_and_gatherer_beside_a_writer_see_whole_trials_and_lose_none(store: RunStore, count: int) -> None:
    with _running(_GATHER, store.where) as gatherer, _running(_WRITE, store.where, count) as writer:
        seen: list[int] = []
        while writer.poll() is None:
            assert gatherer.poll() is None
            records = store.records()
            trials = [row.trial for row in records]
            # In the order of writing, whole, each once, and none that was there is gone.
            assert trials == list(range(len(trials)))
            assert trials[: len(seen)] == seen
            assert all(row == make_record(row.trial, trial_latency=row.trial_latency) for row in records)
            seen = trials
            assert store.problems == []
            curves = Counter(store.evaluations()["trial"].to_pylist())
            assert set(curves.values()) <= {NUM_EVALUATIONS}
            assert set(trials) <= set(curves)
        assert writer.returncode == 0
        assert gatherer.poll() is None
        assert gatherer.stdout is not None
        assert int(gatherer.stdout.readline()) >= 1
    expected = [make_record(n, trial_latency=1.0 + n if n % 5 == 0 else None) for n in range(count)]
    assert store.records() == expected
    assert store.evaluations().num_rows == count * NUM_EVALUATIONS
    last = make_trial(expected[-1]).evaluations
    assert store.evaluations([count - 1])["loss"].to_pylist() == [row.loss for row in last]

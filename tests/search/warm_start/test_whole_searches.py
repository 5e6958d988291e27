"""Whole searches that start from other runs, as the command line runs them."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.export import export
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.warm_start import read_warm_start
from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.trials.live_trial import LiveTrial
from tests.search.search_runs import RecordingProgress, prepared_search, resume, search

# Ray's processes start slowly where the machine is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_OBJECTIVES = "objectives=[perplexity, memory_bytes, forward_flops]"


class _Interrupting(RecordingProgress):
    """Ctrl-C at the third evaluation."""

    pressed = False

    def on_evaluation(self, live: LiveTrial) -> None:
        super().on_evaluation(live)
        if self.num_evaluations >= 3 and not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


def _described(records: list[Record]) -> list[tuple[Any, ...]]:
    return [(it.trial, it.architecture_id, it.state, it.last_loss, it.taken_from) for it in records]


def test_records_of_the_same_search_are_never_trained_again(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    sets = ("search.trials=5", "resources.max_concurrent=2")
    first = search(prepared_search(small_spec, *sets), out=tmp_path / "first", address=ray_address)
    more = prepared_search(small_spec, *sets, f"search.warm_start=[{tmp_path / 'first'}]")
    second = search(more, out=tmp_path / "second", address=ray_address)

    own = trained_here(second.records)
    assert (len(first.records), len(own), len(second.records)) == (5, 5, 10)
    assert len({item.architecture_id for item in second.records}) == 10
    assert [item.loss for item in second.records[:5]] == [item.loss for item in first.records]
    assert any(item.reference and item.taken_from for item in second.records)
    # What was taken over and may be on the front is measured with the others.
    assert any(item.taken_from and item.trial_latency is not None for item in second.records)
    (source,) = read_warm_start(second.store).sources
    assert (dict(source.taken_over), source.losses) == ({number: number for number in range(5)}, ())
    assert "taken over" in Path(second.store.report_path).read_text(encoding="utf-8")
    reference = next(item for item in second.records if item.reference)
    export(second.store, reference, out=tmp_path / "export")
    assert (tmp_path / "export" / "model.safetensors").exists()


def test_interrupted_search_without_its_sources_equals_an_undisturbed_one(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    sets = (_OBJECTIVES, "reference.depth=4", "search.pruner=pareto", "resources.max_concurrent=1")
    search(prepared_search(small_spec, *sets, "search.trials=6"), out=tmp_path / "first", address=ray_address)
    # Two depths of three are the same search; the first run's other records are learned from.
    changes = ("space.depths=[2, 4]", "search.trials=4", f"search.warm_start=[{tmp_path / 'first'}]")
    prepared = prepared_search(small_spec, *sets, *changes)
    undisturbed = search(prepared, out=tmp_path / "undisturbed", address=ray_address)
    store = create_run(prepared, out=tmp_path / "interrupted")
    part = run_search(prepared, store, address=ray_address, progress=_Interrupting())
    assert part.ending == "interrupted"
    shutil.rmtree(tmp_path / "first")
    whole = resume(prepared, out=tmp_path / "interrupted", address=ray_address)

    assert _described(whole.records) == _described(undisturbed.records)
    (source,) = read_warm_start(whole.store).sources
    assert source.losses
    assert source.taken_over
    assert source.outcome is not None
    assert len(trained_here(whole.records)) == 4
    assert RunStore.open(tmp_path / "interrupted").problems == []

"""How well each source predicted the trials of the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthweave.reports.analysis.source_runs import outcome_sentence
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.warm_start import WARM_START_FILE, SourceOutcome, read_warm_start
from depthweave.search.preparation import create_run
from depthweave.search.warm_start import outcome
from depthweave.search.warm_start.outcome import keep_outcome
from depthweave.search.warm_start.start import begin_warm_start
from tests.search.warm_runs import add_records, opened, prepared_of, source_run

_LOSSES = [2.0, 1.9, 1.8, 1.7, 1.6]


def _begun(small_spec: dict[str, Any], tmp_path: Path, *, own: list[float]) -> RunStore:
    """A search that took one record over, learns from two sources, and has trained trials with the losses `own`."""
    source_run(prepared_of(small_spec, recipe__steps=9), tmp_path / "first", losses=_LOSSES)
    source_run(prepared_of(small_spec), tmp_path / "same", losses=[5.0])
    prepared = prepared_of(small_spec, sources=[tmp_path / "first", tmp_path / "same"])
    store = create_run(prepared, out=tmp_path / "run")
    with opened(prepared, store) as run:
        begin_warm_start(run, local=True)
    add_records(store, prepared, losses=own, first=10)
    return store


def _exact(sources: Any, architectures: Any) -> list[Any]:
    known = {item.id: loss for item, loss in zip(sources[0].architectures, sources[0].losses_S, strict=True)}
    assert len(sources) == 1
    return [np.array([known[item.id] for item in architectures])]


@pytest.mark.parametrize(
    ("own", "tau", "ending"),
    [
        ([3.0, 2.9, 2.8, 2.7, 2.6], 1.0, "Kendall's tau +1.00."),
        ([2.6, 2.7, 2.8, 2.9, 3.0], -1.0, "Kendall's tau -1.00, no better than chance."),
        ([3.0, 2.9, 2.8], None, "not known yet (3 complete trials of this run, 4 are needed)."),
    ],
)
def test_each_source_gets_its_rank_agreement_with_the_own_trials(
    own: list[float],
    tau: float | None,
    ending: str,
    small_spec: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome, "source_predictions", _exact)
    store = _begun(small_spec, tmp_path, own=own)
    keep_outcome(store)
    first, same = read_warm_start(store).sources
    assert first.outcome == SourceOutcome(num_records=len(own), tau=tau)
    # All of its records were taken over: it predicts nothing, and what was taken over is no test of the other.
    assert same.outcome is None
    assert outcome_sentence(same).endswith("1 record taken over.")
    assert outcome_sentence(first).endswith(ending)
    # Again, after further trials.
    keep_outcome(store)
    assert read_warm_start(store).sources == (first, same)


def test_what_the_search_decides_with_does_not_change(small_spec: dict[str, Any], tmp_path: Path) -> None:
    store = _begun(small_spec, tmp_path, own=_LOSSES)
    before = read_warm_start(store)
    keep_outcome(store)
    after = read_warm_start(store)
    assert after != before
    assert [(it.architectures, it.losses, it.taken_over) for it in after.sources] == [
        (it.architectures, it.losses, it.taken_over) for it in before.sources
    ]


def test_run_without_sources_gets_no_file_and_a_damaged_one_a_line(small_spec: dict[str, Any], tmp_path: Path) -> None:
    store = create_run(prepared_of(small_spec), out=tmp_path / "run")
    keep_outcome(store)
    assert not store.has_file(WARM_START_FILE)
    store.write_bytes(WARM_START_FILE, b"{")
    with pytest.raises(ValueError, match=r"warm_start.json: cannot be read"):
        keep_outcome(store)

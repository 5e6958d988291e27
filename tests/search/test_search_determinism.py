"""One worker and objectives that repeat exactly: the same seed gives the same search, record for record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.records import Record
from tests.search.searching import search, setting_of

_OBJECTIVES = ("perplexity", "memory_bytes", "forward_flops")
_TIMES = {
    "run_id",
    "started_at",
    "finished_at",
    "latency",
    "latency_low",
    "latency_high",
    "latency_s",
    "reference_latency_s",
    "step_latency",
    "step_latency_s",
    "reference_step_latency_s",
    "trial_latency",
    "tokens_per_s",
    "measure_s",
    "train_s",
    "evaluation_s",
    "wall_s",
}
"""What a clock or the run's name goes into; all other columns must repeat."""


@pytest.fixture(scope="module")
def searched(
    small_spec: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Record]]:
    """Eight trials of a search: twice with one seed, once with another, with a pruner that stops some."""
    out = tmp_path_factory.mktemp("runs")
    overrides = (
        f"objectives=[{', '.join(_OBJECTIVES)}]",
        "search.trials=8",
        "search.pruner=threshold",
        # Six blocks start worse than that, two and four better; the reference, of six, is never stopped.
        "search.pruner_options={upper: 4.9}",
        "resources.max_concurrent=1",
    )
    return {
        name: search(setting_of(small_spec, *overrides, f"seed={seed}"), out=out / name, address=ray_address).records
        for name, seed in (("first", 5), ("second", 5), ("other", 6))
    }


def test_same_seed_gives_the_same_records_but_for_times(searched: dict[str, list[Record]]) -> None:
    first, second = searched["first"], searched["second"]
    assert [_repeating(item) for item in first] == [_repeating(item) for item in second]
    assert len(first) == 8
    assert {item.state for item in first} == {"complete", "pruned"}


def test_other_seed_gives_another_search(searched: dict[str, list[Record]]) -> None:
    first, other = searched["first"], searched["other"]
    # The plain architectures come first whatever the seed; weights and data are others, and so is the order later.
    assert first[0].architecture_id == other[0].architecture_id
    assert first[0].last_loss != other[0].last_loss
    assert [item.architecture_id for item in first] != [item.architecture_id for item in other]


def test_trials_of_one_search_share_seed_text_and_recipe(searched: dict[str, list[Record]]) -> None:
    for records in searched.values():
        assert len({(item.seed, item.corpus_sha256, item.recipe) for item in records}) == 1


def _repeating(record: Record) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(record).items() if name not in _TIMES}

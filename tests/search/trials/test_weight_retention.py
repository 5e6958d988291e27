"""Weights that a run keeps: never fewer than the front needs, and not many more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.reports.analysis.front import front
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.trials.checkpoints import Checkpoints, trial_folder
from depthweave.search.trials.weight_retention import WeightRetention, keep_front_only
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers.checkpoint import STATE_FILE
from tests.reports.synthetic import make_info, make_record

OBJECTIVES = ("perplexity", "latency", "memory_bytes")


def _record(trial: int, perplexity: float, latency: float | None, memory_bytes: int, fusion: str = "dwa") -> Record:
    return make_record(trial, perplexity=perplexity, latency=latency, memory_bytes=memory_bytes, fusion=fusion)


def _kept(records: list[Record]) -> set[int]:
    keeper, kept = WeightRetention(OBJECTIVES), set()
    for record in records:
        kept.add(record.trial)
        kept -= {item.trial for item in keeper.add(record)}
    return kept


def test_weights_that_are_beaten_beyond_doubt_are_deleted_whichever_came_first() -> None:
    good, bad = _record(0, 4.0, 1.0, 100), _record(1, 4.3, 1.2, 101)
    assert _kept([good, bad]) == {0}
    assert _kept([bad, good]) == {0}


def test_weights_that_another_seed_or_measurement_could_bring_to_the_front_stay() -> None:
    good = _record(0, 4.0, 1.0, 100)
    assert _kept([good, _record(1, 4.1, 1.2, 101)]) == {0, 1}
    assert _kept([good, _record(1, 4.3, 1.05, 101)]) == {0, 1}
    assert _kept([good, _record(1, 4.3, 1.2, 99)]) == {0, 1}
    assert _kept([good, _record(1, 4.3, None, 101)]) == {0, 1}


def test_plain_baselines_stay_and_delete_no_other_weights() -> None:
    plain, better = _record(0, 5.0, 2.0, 200, fusion="none"), _record(1, 4.0, 1.0, 100)
    assert _kept([plain, better]) == {0, 1}
    assert _kept([better, plain]) == {0, 1}


_numbers = st.tuples(st.floats(3, 6), st.floats(0.8, 2), st.integers(50, 150))


@settings(max_examples=50, deadline=None)
@given(points=st.lists(_numbers, min_size=1, max_size=12), errors=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1))))
def test_the_front_after_other_measurements_was_kept(
    points: list[tuple[float, float, int]], errors: list[tuple[float, float]]
) -> None:
    records = [_record(number, *point) for number, point in enumerate(points)]
    kept = _kept(records)
    # Within half the allowance for each of two that are compared.
    shifts = [*errors, *[(0.5, 0.5)] * len(records)]
    later = [
        dataclasses.replace(
            item,
            perplexity=item.perplexity * 1.05 ** ((loss - 0.5) * 0.99),
            latency=item.latency * 1.1 ** ((time - 0.5) * 0.99),
        )
        for item, (loss, time) in zip(records, shifts, strict=False)
        if item.perplexity is not None and item.latency is not None
    ]
    assert {item.trial for item in front(later, objectives=OBJECTIVES)} <= kept


def test_a_long_search_keeps_few_of_its_weights() -> None:
    draw = np.random.default_rng(0)
    records = [_record(n, 4 * (1 + a), 1 + b, int(100 * (1 + c))) for n, (a, b, c) in enumerate(draw.random((2000, 3)))]
    kept = _kept(records)
    assert {item.trial for item in front(records, objectives=OBJECTIVES)} <= kept
    assert len(kept) < 400


def test_after_the_end_only_the_front_and_plain_baselines_have_weights(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="")
    records = [
        _record(0, 5.0, 2.0, 200, fusion="none"),
        _record(1, 4.0, 1.0, 100),
        _record(2, 4.01, 1.2, 101),
        _record(3, 4.4, 1.4, 101),
        dataclasses.replace(_record(4, 4.0, 1.3, 101), latency_low=0.9),
    ]
    checkpoints = tmp_path / "run" / "checkpoints"
    for record in records:
        store.append(record, evaluations=[], weights=[])
        folder = trial_folder(checkpoints, record.trial)
        folder.mkdir(parents=True)
        (folder / MODEL_FILE).write_bytes(bytes(1000))
    # One that is in flight has no record yet.
    (trial_folder(checkpoints, 9)).mkdir()
    (trial_folder(checkpoints, 9) / STATE_FILE).touch()
    assert keep_front_only(store, checkpoints=Checkpoints(checkpoints)) == 2000
    assert {path.name for path in checkpoints.iterdir()} == {f"trial-0000{number}" for number in (0, 1, 4, 9)}

"""Differences to plain in the course of trainings: paired by seed, at common numbers of tokens, fresh seeds first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from depthweave.reports.analysis.gain_courses import GainCourse, gain_courses, shrinking_sentence
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from tests.reports.synthetic import make_record

_PLAIN = {"fusion": "none", "dilation": None, "period": None, "wiring": "[]", "architecture_id": "plain"}


def _view(trainings: Mapping[int, tuple[dict[str, Any], Mapping[int, float]]]) -> RunView:
    """A view of trainings by trial: columns of the record, and losses by tokens, of which the last is the result."""
    records, rows = [], []
    for trial, (columns, curve) in trainings.items():
        loss = curve[max(curve)]
        records.append(make_record(trial, **{"loss": loss, "perplexity": math.exp(loss), **columns}))
        rows += [{"trial": trial, "tokens": tokens, "loss": loss} for tokens, loss in curve.items()]
    return RunView(records=records, objectives=("perplexity", "latency"), evaluations=pa.Table.from_pylist(rows))


def _dwa(**changes: Any) -> dict[str, Any]:
    return {"architecture_id": "dwa", "latency": 1.2, **changes}


def test_difference_is_of_the_same_seed_and_size_at_common_tokens() -> None:
    (course,) = gain_courses(
        _view(
            {
                0: (_PLAIN, {100: 3.0, 200: 2.5, 400: 2.0}),
                1: (_dwa(), {100: 2.9, 200: 2.45, 300: 2.1, 400: 1.98}),
                # Plain ones of another seed and another size, far off.
                2: ({**_PLAIN, "architecture_id": "other", "seed": 5}, {100: 9.0, 200: 9.0, 400: 9.0}),
                3: ({**_PLAIN, "architecture_id": "deep", "depth": 24}, {100: 9.0, 200: 9.0, 400: 9.0}),
            }
        )
    )
    assert (course.tokens, course.num_seeds) == ((100, 200, 400), 1)
    assert course.differences == pytest.approx((-0.1, -0.05, -0.02))
    assert course.halfway == pytest.approx(-0.05)
    assert course.has_shrunk


def test_fresh_seeds_count_alone_and_are_averaged() -> None:
    trainings = {
        0: (_PLAIN, {100: 3.0, 200: 2.0}),
        1: (_dwa(), {100: 2.0, 200: 1.0}),
    }
    for seed, gain in ((1, 0.1), (2, 0.3)):
        fresh = FIRST_CONFIRMATION + 10 * seed
        trainings[fresh] = ({**_PLAIN, "seed": seed}, {100: 3.0, 200: 2.0})
        trainings[fresh + 1] = (_dwa(seed=seed), {100: 3.0 - gain, 200: 2.0 - gain})
    (course,) = gain_courses(_view(trainings))
    assert course.num_seeds == 2
    assert course.differences == pytest.approx((-0.2, -0.2))
    assert not course.has_shrunk


@pytest.mark.parametrize(
    "plain",
    [
        ({**_PLAIN, "seed": 9}, {100: 3.0, 200: 2.0}),
        ({**_PLAIN, "state": "pruned"}, {100: 3.0, 200: 2.0}),
        (_PLAIN, {150: 3.0, 200: 2.0}),
    ],
    ids=["another seed", "stopped", "one common evaluation"],
)
def test_member_that_cannot_be_paired_has_no_course(plain: tuple[dict[str, Any], dict[int, float]]) -> None:
    assert gain_courses(_view({0: plain, 1: (_dwa(), {100: 2.9, 200: 1.9})})) == []


def test_sentence_names_the_member_that_lost_most_or_says_that_none_did() -> None:
    def of(name: str, *differences: float) -> GainCourse:
        return GainCourse(name, "dwa", (100, 200, 400)[-len(differences) :], differences, 1)

    kept, worse = of("kept", -0.04, -0.03, -0.029), of("worse", 0.01, 0.02, 0.03)
    assert shrinking_sentence([kept, worse]).startswith("No member of the front has lost a quarter")
    shrunk = [of("a little", -0.06, -0.04, -0.02), of("gone", -0.06, -0.05, 0.001)]
    assert shrinking_sentence([kept, *shrunk]).startswith(
        "2 of 3 distinct members have lost a quarter or more of their gain over plain since halfway, most of all gone: "
        "-0.050 halfway, +0.001 nat/token at the end."
    )

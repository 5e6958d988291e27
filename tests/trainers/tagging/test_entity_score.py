"""F1 of entities: by hand, against a slow count, and against seqeval's own report."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers.tagging.entity_score import EntityScore, score
from depthweave.trainers.tagging.sentences import entities_of
from tests.trainers.tagging.property_tests import unhurried

pytest.importorskip("seqeval")

_TAG = st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y", "B-x-", "I-x-"])
_PAIRS = st.lists(st.lists(st.tuples(_TAG, _TAG), min_size=1, max_size=6), max_size=5)


def test_score_counts_an_entity_only_where_span_and_type_are_right() -> None:
    gold = [["B-x", "I-x", "O", "B-y"], ["O", "B-x"]]
    predicted = [["B-x", "I-x", "O", "B-x"], ["B-x", "I-x"]]
    found = score(gold, predicted)
    # One of three predicted, one of three gold.
    assert (found.precision, found.recall, found.support) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 3)
    assert found.f1 == pytest.approx(1 / 3)
    x, y = found.by_type["x"], found.by_type["y"]
    assert (x.precision, x.recall, x.support) == (pytest.approx(1 / 3), 0.5, 2)
    assert (y.f1, y.precision, y.recall, y.support) == (0.0, 0.0, 0.0, 1)


def test_score_of_a_predicted_word_that_continues_nothing_is_that_of_no_entity() -> None:
    assert score([["B-x", "I-x"]], [["I-x", "I-x"]]) == score([["B-x", "I-x"]], [["O", "O"]])
    assert score([["B-x", "O"]], [["B-x", "I-y"]]).f1 == 1.0


def test_score_without_entities_is_zero_and_warns_of_nothing() -> None:
    nothing = EntityScore(f1=0.0, precision=0.0, recall=0.0, support=0, by_type={})
    assert score([["O"]], [["O"]]) == score([], []) == nothing
    assert score([["O"]], [["B-x"]]).by_type["x"].support == 0


def _slow(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, of: str | None) -> tuple[float, ...]:
    """Counts entity by entity, with entities by our own rule."""
    sides = [
        [
            (number, *entity)
            for number, tags in enumerate(side)
            for entity in entities_of(tags)
            if of in (None, entity.type)
        ]
        for side in (gold, predicted)
    ]
    right = sum(entity in sides[1] for entity in sides[0])
    precision, recall = (right / max(1, len(side)) for side in reversed(sides))
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return f1, precision, recall, len(sides[0])


@unhurried
@given(_PAIRS)
def test_score_equals_a_slow_count(pairs: list[list[tuple[str, str]]]) -> None:
    gold, predicted = ([[pair[side] for pair in some] for some in pairs] for side in (0, 1))
    found = score(gold, predicted)
    assert (found.f1, found.precision, found.recall, found.support) == pytest.approx(_slow(gold, predicted, of=None))
    types = {entity.type for side in (gold, predicted) for tags in side for entity in entities_of(tags)}
    assert list(found.by_type) == sorted(types)
    for name, item in found.by_type.items():
        assert (item.f1, item.precision, item.recall, item.support) == pytest.approx(_slow(gold, predicted, of=name))


@unhurried
@given(_PAIRS.filter(lambda pairs: any(tag[0] == "B" for some in pairs for tag in some for tag in tag)))
def test_score_equals_the_report_of_seqeval(pairs: list[list[tuple[str, str]]]) -> None:
    theirs, scheme = pytest.importorskip("seqeval.metrics.v1"), pytest.importorskip("seqeval.scheme").IOB2
    # seqeval takes hyphens away from the ends of types.
    gold, predicted = ([[pair[side].replace("x-", "z") for pair in some] for some in pairs] for side in (0, 1))
    found = score(gold, predicted)
    precision, recall, f1, support = theirs.precision_recall_fscore_support(
        gold, predicted, average="micro", scheme=scheme, zero_division=0
    )
    assert (found.precision, found.recall, found.f1, found.support) == pytest.approx((precision, recall, f1, support))
    rows = theirs.precision_recall_fscore_support(gold, predicted, average=None, scheme=scheme, zero_division=0)
    ours = [(item.precision, item.recall, item.f1, item.support) for item in found.by_type.values()]
    assert ours == [pytest.approx(row) for row in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("gold", "predicted", "fault"),
    [
        ([["O"]], [], "there are 1 sentences and 0 predictions"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], "sentence 2 has 2 tags and 1 predicted ones"),
        ([["B-x"]], [["S-x"]], "tag 'S-x' is not IOB2; it can be O, or B- or I- and a type"),
        ([["B-x"]], [["B"]], "tag 'B' is not IOB2"),
    ],
)
def test_score_refuses_what_does_not_fit(gold: list[list[str]], predicted: list[list[str]], fault: str) -> None:
    with pytest.raises(ValueError, match=rf"^{fault}[^\n]*$"):
        score(gold, predicted)


def test_score_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "seqeval.scheme", None)
    with pytest.raises(ValueError, match=r"install depthweave\[ner\]$"):
        score([["B-x"]], [["B-x"]])

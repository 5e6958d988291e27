"""Which losses count, and what the validation text adds to their variance."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from depthweave.reports.analysis.contrast import Variance, paired_contrast
from depthweave.reports.analysis.fresh_losses import contrast_of, fresh_losses_of, text_variance, variance_by_parts
from depthweave.reports.store.records import Record
from tests.reports.confirmed import seeded

TOKENS = 16_384


def _with_text(records: list[Record], *, shift: np.ndarray | None = None, tokens: int = TOKENS) -> list[Record]:
    """The records with losses by part, each moved by `shift` in nat/token, and the recipe's validation tokens."""
    recipe = json.dumps({"evaluation_tokens": tokens})
    made = []
    for record in records:
        assert record.loss is not None
        losses = None if shift is None else json.dumps((record.loss + shift).tolist())
        made.append(dataclasses.replace(record, recipe=recipe, text_losses=losses))
    return made


def test_evidence_is_of_fresh_seeds_alone() -> None:
    found = fresh_losses_of(seeded("a", {0: 1.0, 1: 1.2, 2: 1.3}, trial=0))
    assert found["a"].losses == {1: 1.2, 2: 1.3}
    assert fresh_losses_of(seeded("a", {0: 1.0}, trial=0)) == {}


def test_contrast_is_paired_within_a_size_and_not_across() -> None:
    a = seeded("a", {1: 1.0, 2: 1.5, 3: 1.2}, trial=0)
    b = seeded("b", {1: 1.1, 2: 1.6, 3: 1.3}, trial=1)
    deep = seeded("deep", {1: 1.1, 2: 1.6, 3: 1.3}, trial=2, depth=24)
    found = fresh_losses_of([*a, *b, *deep])
    paired, across = contrast_of(found["a"], found["b"]), contrast_of(found["a"], found["deep"])
    assert paired is not None
    assert across is not None
    assert [float(paired.mean), float(across.mean)] == pytest.approx([-0.1, -0.1])
    assert float(paired.whole.value) == pytest.approx(0.0, abs=1e-9)
    assert float(across.whole.value) == pytest.approx(2 * np.var([1.0, 1.5, 1.2], ddof=1) / 3)
    assert contrast_of(found["a"], fresh_losses_of(seeded("c", {1: 1.0}, trial=3))["c"]) is None


def test_text_that_favours_one_architecture_widens_its_interval() -> None:
    shift = 0.02 * np.array([1.0, -1.0] * 8)
    plain = _with_text(seeded("plain", {1: 1.50, 2: 1.60}, trial=0), shift=np.zeros(16))
    woven = _with_text(seeded("woven", {1: 1.45, 2: 1.551}, trial=1), shift=shift)
    found = fresh_losses_of([*plain, *woven])
    variance = text_variance(found["woven"], found["plain"])
    assert float(variance.value) == pytest.approx(np.var(shift, ddof=1) / 16)
    assert float(variance.degrees) == 15
    contrast = contrast_of(found["woven"], found["plain"])
    assert contrast is not None
    seeds = np.var([-0.05, -0.049], ddof=1) / 2
    assert float(contrast.whole.value) == pytest.approx(float(seeds + variance.value))


def test_what_the_text_adds_never_makes_an_interval_narrower() -> None:
    """The more degrees of freedom of the sum once did."""
    differences = np.array([0.0056, -0.0150, 0.0055, -0.0309, -0.0160])
    alone = paired_contrast(differences)
    with_text = paired_contrast(differences, text=Variance(np.array(0.0025**2), np.array(np.inf)))
    assert float(with_text.half_width) >= float(alone.half_width)
    assert float(with_text.below) <= float(alone.below)


def test_records_without_parts_take_the_largest_that_was_measured() -> None:
    a = _with_text(seeded("a", {1: 1.0, 2: 1.1}, trial=0))
    b = _with_text(seeded("b", {1: 1.0, 2: 1.1}, trial=1))
    deep = _with_text(seeded("deep", {1: 1.0, 2: 1.1}, trial=2, depth=24))
    found = fresh_losses_of([*a, *b, *deep])
    assert float(text_variance(found["a"], found["b"]).value) == pytest.approx(0.64**2 / TOKENS)
    assert float(text_variance(found["a"], found["deep"]).value) == pytest.approx(1.20**2 / TOKENS)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[null, 1, 2, 3]", "7", "[1e999, 1, 1, 1]"])
def test_damaged_parts_are_as_none(text: str) -> None:
    records = [dataclasses.replace(item, text_losses=text) for item in seeded("a", {1: 1.0, 2: 1.1}, trial=0)]
    other = fresh_losses_of(seeded("b", {1: 1.0, 2: 1.1}, trial=1))["b"]
    assert math.isfinite(float(text_variance(fresh_losses_of(records)["a"], other).value))


def test_variance_by_parts_leaves_the_seeds_share_to_the_seeds() -> None:
    """Noise that differs by part and seed alone is the seeds': the text adds next to nothing then."""
    noise = np.random.default_rng(0).standard_normal((500, 5, 16))
    assert float(variance_by_parts(noise).value.mean()) < 0.6 / (5 * 16)
    same = np.broadcast_to(np.random.default_rng(0).standard_normal((1, 16)), (5, 16))
    assert float(variance_by_parts(same).value) == pytest.approx(np.var(same[0], ddof=1) / 16)

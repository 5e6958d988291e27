"""Patterns at several sizes: which are matched, what their differences are, and what is said of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.size_text import first_patterns, sizes_sentences
from depthweave.reports.analysis.sizes import SizedPattern, Sizes, sizes_of
from depthweave.reports.store.records import Record
from tests.reports.sized import dwa, sized_records

SMALL, LARGE = 100_000, 400_000


def _sizes(records: Sequence[Record]) -> Sizes:
    found = sizes_of(RunView.of(records, objectives=("perplexity",)))
    assert found is not None
    return found


def _by_name(sizes: Sizes) -> dict[str, SizedPattern]:
    return {f"{it.name} {it.depth}": it for it in sizes.patterns}


def test_pattern_is_followed_over_the_budgets_of_its_depth() -> None:
    sizes = _sizes(
        sized_records(
            {
                (6, SMALL): [(dwa(1, 1), -0.03), (dwa(4, 1), -0.02)],
                (6, LARGE): [(dwa(1, 1), -0.03), (dwa(4, 1), -0.01)],
                (12, SMALL): [(dwa(1, 1), -0.05)],
                (12, LARGE): [(dwa(1, 1), 0.02), (dwa(2, 2), 0.0)],
            }
        )
    )
    found = _by_name(sizes)
    assert sizes.parameters == (SMALL, LARGE)
    assert sizes.reach == 4 * LARGE
    assert {name: it.verdict for name, it in found.items()} == {
        "dwa 1×1 6": "carries over",
        "dwa 4×1 6": "fades",
        "dwa 1×1 12": "worse",
    }
    assert sizes.num_single == 1
    slope = found["dwa 4×1 6"].slope
    assert slope is not None
    # From 100,000 to 400,000 parameters are two doublings, and two more lead to four times the largest size.
    assert slope.mean == pytest.approx(0.005)
    at_reach = found["dwa 4×1 6"].at_reach
    assert at_reach is not None
    assert at_reach.mean == pytest.approx(0.0, abs=1e-9)


def test_one_seed_has_differences_without_intervals_or_verdicts() -> None:
    records = sized_records({(6, SMALL): [(dwa(1, 1), -0.03)], (6, LARGE): [(dwa(1, 1), -0.02)]}, num_seeds=1)
    (pattern,) = _sizes(records).patterns
    assert [it.difference.mean for it in pattern.points] == pytest.approx([-0.03, -0.02])
    assert [it.difference.half_width for it in pattern.points] == [None, None]
    assert pattern.slope is None
    assert pattern.verdict == "not settled"
    assert pattern.why == "fewer than 5 fresh seeds at a size"


def test_sizes_with_a_depth_each_are_matched_by_rule_then_by_proportion() -> None:
    def edges(rule: str, wiring: str) -> dict[str, object]:
        return dwa(1, 1, rule=rule, wiring=wiring) | {"dilation": None, "period": None}

    sizes = _sizes(
        sized_records(
            {
                (4, SMALL): [
                    (dwa(1, 4), -0.03),
                    (dwa(2, 1), -0.02),
                    (edges("edges:0-2+1-4", "[[2,[0,2]],[4,[1,4]]]"), -0.01),
                    (edges("edges:0-2+1-3", "[[2,[0,2]],[3,[1,3]]]"), -0.04),
                ],
                (8, LARGE): [
                    (dwa(1, 8), -0.031),
                    (dwa(2, 1), -0.021),
                    (edges("edges:0-4+2-8", "[[4,[0,4]],[8,[2,8]]]"), -0.011),
                ],
            }
        )
    )
    means = {it.name: [round(point.difference.mean, 4) for point in it.points] for it in sizes.patterns}
    assert means == {
        "dwa 1×depth": [-0.03, -0.031],
        "dwa 2×1": [-0.02, -0.021],
        "dwa edges:0-2+1-4": [-0.01, -0.011],
    }
    assert all(it.depth is None for it in sizes.patterns)
    assert sizes.num_single == 1


def test_depths_of_one_budget_are_averaged_where_each_budget_has_its_own() -> None:
    sizes = _sizes(
        sized_records(
            {(4, SMALL): [(dwa(1, 1), -0.02)], (6, SMALL): [(dwa(1, 1), -0.04)], (12, LARGE): [(dwa(1, 1), -0.01)]}
        )
    )
    (pattern,) = sizes.patterns
    assert [it.difference.mean for it in pattern.points] == pytest.approx([-0.03, -0.01])


def test_run_of_one_budget_has_no_sizes() -> None:
    records = sized_records({(6, SMALL): [(dwa(1, 1), -0.03)], (12, SMALL): [(dwa(1, 1), -0.02)]})
    assert sizes_of(RunView.of(records, objectives=("perplexity",))) is None
    assert sizes_of(RunView.of([], objectives=("perplexity",))) is None


def test_diverged_seed_of_plain_leaves_its_patterns_open() -> None:
    records = sized_records({(6, SMALL): [(dwa(1, 1), -0.03)], (6, LARGE): [(dwa(1, 1), -0.03)]})
    assert _sizes(records).patterns[0].verdict == "carries over"
    lost = dataclasses.replace(records[0], trial=1_999_999, seed=9, state="diverged", loss=None, perplexity=None)
    assert _sizes([*records, lost]).patterns[0].why == "a seed diverged"


def test_ranks_are_compared_within_a_fusion_and_over_all() -> None:
    rules = [(dilation, period) for dilation in (1, 2, 4) for period in (1, 2, 3)]
    gains = [-0.01 * (place + 1) for place in range(len(rules))]
    small = [(dwa(*rule), gain) for rule, gain in zip(rules, gains, strict=True)]
    mudd = [(dwa(*rule, fusion="mudd"), gain) for rule, gain in zip(rules, gains, strict=True)]
    turned = [(columns, gain) for (columns, _), gain in zip(mudd, reversed(gains), strict=True)]
    sizes = _sizes(sized_records({(6, SMALL): [*small, *mudd], (6, LARGE): [*small, *turned]}, num_seeds=1))
    ranks = {it.fusion: it for it in sizes.ranks}
    assert ranks["dwa"].tau == pytest.approx(1.0)
    assert ranks["dwa"].verdict == "agree"
    assert ranks["mudd"].tau == pytest.approx(-1.0)
    assert ranks["mudd"].verdict == "oppose"
    # Plain joins the order of all.
    assert ranks[""].num == 19
    assert (ranks[""].smaller, ranks[""].larger, ranks[""].depth) == (SMALL, LARGE, 6)


def test_long_list_of_one_verdict_hides_no_other() -> None:
    rules = [(dilation, period) for dilation in (1, 2, 4) for period in (1, 2, 3)]
    last = (dwa(5, 5), 0.02)
    patterns = [*((dwa(*rule), -0.03) for rule in rules), last]
    sizes = _sizes(sized_records({(6, SMALL): patterns, (6, LARGE): patterns}))
    assert [it.verdict for it in first_patterns(sizes, 3)] == ["carries over", "carries over", "worse"]
    assert first_patterns(sizes, 100) == sizes.patterns


def test_sentences_count_the_verdicts_and_say_what_is_not_claimed() -> None:
    records = sized_records(
        {
            (6, SMALL): [(dwa(1, 1), -0.03), (dwa(4, 1), -0.02), (dwa(2, 1), 0.0)],
            (6, LARGE): [(dwa(1, 1), -0.03), (dwa(4, 1), -0.01), (dwa(2, 1), 0.0)],
        }
    )
    found, claim, training = sizes_sentences(_sizes(records))
    assert found == (
        "Of 3 patterns at several of the sizes 100 k and 400 k, 1 carries over, 1 fades and 1 is not settled. Not "
        "settled because of: no difference to plain is settled at the largest size (1)."
    )
    assert claim == "Nothing is claimed beyond 1.60 M parameters, 4 times the largest size."
    assert training.startswith("The models saw 1.0 to 4.0 tokens a parameter (undertrained: rankings may change).")
    enough = [dataclasses.replace(it, tokens=8_000_000) for it in records]
    assert sizes_sentences(_sizes(enough))[2].startswith("The models saw 20 to 80 tokens a parameter. At equal tokens")

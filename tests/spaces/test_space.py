"""Search spaces: what is enumerated, what is dropped as the same graph, what cannot be built and why."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from types import FrameType
from typing import Any, get_args

import pytest

import depthweave.spaces.budget as budget_module
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.budget import resolve
from depthweave.spaces.costs import num_parameters
from depthweave.spaces.space import Axes, Combination, SearchSpace, enumerate_space
from depthweave.spaces.widths import TOLERANCE_FRAC, Sizing, plain_width
from depthweave.spaces.wiring import strided_site, strided_wiring
from depthweave.spaces.wiring_rules import WiringRule, strided_rule


def _axes(**given: Any) -> Axes:
    values: dict[str, Any] = {
        "fusions": ("dwa",),
        "depths": (12,),
        "budgets": (1_000_000,),
        "vocabulary": 256,
        "context": 128,
        **given,
    }
    return Axes(**values)


def _patterns(space: SearchSpace) -> list[tuple[str, WiringRule | None]]:
    return [(item.architecture.fusion, item.rule) for item in space]


def test_counts_of_a_space_counted_by_hand() -> None:
    # 12 blocks, dilations 1 and 4, periods 1, 5 and `depth`: six wirings, none of them twice, and the plain one.
    space = enumerate_space(_axes(dilations=(1, 4), periods=(1, 5, "depth")))
    assert (space.num_combinations, len(space), space.num_duplicates, len(space.infeasible)) == (7, 7, 0, 0)
    assert _patterns(space) == [
        ("none", None),
        ("dwa", strided_rule(1, 1)),
        ("dwa", strided_rule(4, 1)),
        ("dwa", strided_rule(1, 5)),
        ("dwa", strided_rule(4, 5)),
        ("dwa", strided_rule(1, 12)),
        ("dwa", strided_rule(4, 12)),
    ]


def test_same_graph_is_kept_once_with_all_its_spellings() -> None:
    # 4 blocks, dilation 4: only the site after block 4 reads more than its own block, with periods 1, 2 and 4.
    # Dilation 5 leaves no such site at all: that is the plain transformer.
    space = enumerate_space(_axes(depths=(4,), dilations=(4, 5), periods=(1, 2, "depth")))
    assert (space.num_combinations, len(space), space.num_duplicates) == (7, 2, 5)
    plain, only = space
    assert (plain.architecture.fusion, plain.rule, plain.spellings) == ("none", None, ())
    assert only.rule == strided_rule(4, 1)
    assert only.spellings == (strided_rule(4, 1), strided_rule(4, 2), strided_rule(4, 4))


def test_candidates_are_distinct_meet_their_budget_and_equal_a_slow_enumeration() -> None:
    axes = _axes(
        fusions=("none", "dwa", "dwatt", "concat"),
        dilations=(1, 2, 3, 4, 6),
        periods=(1, 2, 4, 5, "depth"),
        depths=(4, 6, 12),
        budgets=(500_000, 1_500_000),
    )
    space = enumerate_space(axes)
    expected: set[Architecture] = set()
    num_refused = 0
    for depth in axes.depths:
        for budget in axes.budgets:
            for fusion in axes.fusions:
                for dilation in axes.dilations:
                    for period in {depth if period == "depth" else period for period in axes.periods}:
                        wiring = strided_wiring(depth, dilation=dilation, period=int(period))
                        try:
                            architecture = resolve(
                                fusion=fusion, wiring=wiring, budget=budget, vocabulary=256, context=128
                            )
                        except ValueError:
                            num_refused += 1
                            continue
                        expected.add(architecture)
    assert {item.architecture for item in space} == expected
    assert len(space) == len(expected)
    assert len(space.infeasible) == num_refused > 0
    assert all(abs(num_parameters(item.architecture) - item.budget) <= TOLERANCE_FRAC * item.budget for item in space)
    assert space.num_combinations == len(space) + space.num_duplicates + len(space.infeasible)


def test_every_combination_leads_to_its_architecture_or_to_a_reason() -> None:
    space = enumerate_space(_axes(fusions=("dwa", "concat"), dilations=(1, 4), periods=(1, 5), budgets=(90_000, 10**6)))
    refused = {item.combination for item in space.infeasible}
    assert len(space.by_combination) + len(refused) == space.num_combinations
    assert not refused & set(space.by_combination)
    for combination, architecture_id in space.by_combination.items():
        found = space[architecture_id]
        if combination.rule is None:
            assert found.architecture.fusion == "none"
        else:
            assert combination.rule in found.spellings
        assert found.architecture.depth == combination.depth


def test_order_is_fixed_and_plain_comes_first() -> None:
    axes = _axes(fusions=("concat", "dwa"), depths=(6, 4), budgets=(10**7, 3 * 10**6))
    ids = [item.architecture.id for item in enumerate_space(axes)]
    assert ids == [item.architecture.id for item in enumerate_space(axes)]
    assert [(item.architecture.fusion, item.architecture.depth, item.budget) for item in enumerate_space(axes)] == [
        (fusion, depth, budget)
        for fusion in ("none", "concat", "dwa")
        for depth in (6, 4)
        for budget in (10**7, 3 * 10**6)
    ]


def test_infeasible_combination_is_named_with_its_reason() -> None:
    space = enumerate_space(_axes(fusions=("concat",), budgets=(150_000,)))
    assert [item.architecture.fusion for item in space] == ["none"]
    (item,) = space.infeasible
    assert item.combination == Combination("concat", strided_rule(1, 1), 12, 150_000)
    assert item.reason.startswith("concat with 90 connections on 12 blocks of width 32 cannot have 150,000 parameters:")
    assert "\n" not in item.reason


# The same space tomorrow, and soon.

# Ids of a space written down before enumeration was made fast: `nearest` must give them for ever.
_GOLDEN_IDS = {"nearest": (397, "d4f39b2ce035462a"), "ratio": (399, "3a9be2226d4d926c")}


@pytest.mark.parametrize("sizing", _GOLDEN_IDS)
def test_ids_of_a_whole_space_are_the_golden_ones(sizing: Sizing) -> None:
    space = enumerate_space(
        _axes(
            fusions=("none", "dwa", "dwatt", "concat"),
            dilations=(1, 2, 3, 4),
            periods=(1, 2, 4, "depth"),
            depths=(6, 12, 48),
            budgets=(150_000, 300_000, 20_000_000),
            context=64,
            head_width=16,
            sizing=sizing,
        )
    )
    ids = " ".join(item.architecture.id for item in space)
    assert (len(space), hashlib.sha256(ids.encode()).hexdigest()[:16]) == _GOLDEN_IDS[sizing]


def test_dense_space_of_48_blocks_takes_at_most_0_2_ms_a_combination() -> None:
    # Three in five are infeasible, which once took the longest. Processor time, the best of three: machines are busy.
    axes = _axes(
        fusions=("dwa", "dwatt", "concat"),
        dilations=(1, 2),
        periods=(1, 2),
        depths=(48,),
        budgets=tuple(30_000_000 * number for number in range(1, 41)),
        head_width=64,
    )
    taken_s = []
    for _ in range(3):
        began_s = time.process_time()
        space = enumerate_space(axes)
        taken_s.append(time.process_time() - began_s)
    assert space.num_combinations == 520
    assert min(taken_s) / space.num_combinations < 0.2e-3


# A hundred thousand combinations are a matter of seconds. Counted are operations, which no other process slows down.


@pytest.mark.parametrize(
    ("given", "most_calls"),
    [
        # Hundreds of sites a wiring, and half of the combinations infeasible at any budget.
        ({"dilations": (1, 2, 3, 5), "periods": (1, 2, 3, 5), "depths": (200, 201), "budgets": (10**9,)}, 700),
        ({"dilations": (1, 2, 4), "periods": (1, 2, 4), "budgets": tuple(range(10**6, 8 * 10**6, 10**5))}, 70),
    ],
    ids=["deep", "many budgets"],
)
def test_enumeration_takes_few_operations_a_combination(given: dict[str, Any], most_calls: int) -> None:
    plain_width.cache_clear()
    strided_site.cache_clear()
    axes = _axes(fusions=("dwa", "dwatt", "concat"), **given)
    num_calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal num_calls
        num_calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        space = enumerate_space(axes)
    finally:
        sys.setprofile(None)
    assert num_calls / space.num_combinations < most_calls


def test_infeasible_combinations_and_their_budgets_are_those_of_a_search_that_skips_no_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for sizing in get_args(Sizing):
        axes = _axes(
            fusions=("none", "dwa", "dwatt", "concat"),
            dilations=(1, 2, 3, 7),
            periods=(1, 2, 5, "depth"),
            depths=(2, 5, 12, 40),
            budgets=(1000, 60_000, 1_500_000),
            head_width=16,
            sizing=sizing,
        )
        quick = enumerate_space(axes)
        with monkeypatch.context() as patched:
            patched.setattr(budget_module, "_hopeless_width", lambda *given: math.inf)
            slow = enumerate_space(axes)
        assert quick.infeasible == slow.infeasible
        assert sum(item.enough is None for item in quick.infeasible) > 5
        assert sum(item.enough is not None for item in quick.infeasible) > 10


def test_progress_is_reported_every_thousand_combinations() -> None:
    calls: list[tuple[int, int]] = []
    budgets = tuple(range(10**6, 2 * 10**6, 1000))
    space = enumerate_space(_axes(depths=(4,), budgets=budgets), on_progress=lambda *given: calls.append(given))
    assert space.num_combinations == 2000
    assert calls == [(1000, 2000)]


# The reference.


def test_plain_is_present_even_where_not_listed_and_is_the_deepest_and_largest_by_default() -> None:
    space = enumerate_space(_axes(depths=(4, 12, 6), budgets=(10**6, 5 * 10**5)))
    found = space.plain()
    assert (found.architecture.fusion, found.architecture.depth, found.budget) == ("none", 12, 10**6)
    for depth in (4, 6, 12):
        for budget in (10**6, 5 * 10**5):
            found = space.plain(depth=depth, budget=budget)
            assert (found.architecture.fusion, found.architecture.depth, found.budget) == ("none", depth, budget)


def test_plain_is_found_by_either_of_two_budgets_that_give_one_architecture() -> None:
    space = enumerate_space(_axes(depths=(4,), budgets=(1_000_000, 1_000_100)))
    assert space.plain(budget=1_000_000) == space.plain(budget=1_000_100) == space.plain()
    assert len(space) == 2
    assert space.candidates[1].spellings == (strided_rule(1, 1),)


def test_plain_that_is_not_in_the_space_says_what_is() -> None:
    space = enumerate_space(_axes(depths=(4,)))
    with pytest.raises(ValueError, match=r"\(none, depth 7, budget 1,000,000\) is not in the space: depths \[4\]"):
        space.plain(depth=7)


def test_plain_that_cannot_be_built_says_why() -> None:
    space = enumerate_space(_axes(depths=(48,), budgets=(1000,)))
    assert len(space) == 0
    with pytest.raises(ValueError, match=r"is not in the space: none .* the smallest larger budget that can be met is"):
        space.plain()


def test_space_looks_up_by_id() -> None:
    space = enumerate_space(_axes(dilations=(1, 2)))
    assert all(space[item.architecture.id] is item for item in space)
    with pytest.raises(KeyError):
        space["000000000000"]


# Errors.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fusions": ("dwat",)}, "fusion 'dwat' is not known: did you mean 'dwatt'? Known: none, dwa,"),
        ({"fusions": ()}, "space.fusions is empty: list at least one"),
        ({"depths": ()}, "space.depths is empty"),
        ({"budgets": (5, 5)}, "space.budgets lists [5, 5]: list each once"),
        ({"periods": (1, "depth", 1)}, "space.periods lists [1, 'depth', 1]: list each once"),
        ({"dilations": (0,)}, "space.dilations has 0: it must be a whole number of at least 1"),
        ({"periods": (-1,)}, "space.periods has -1"),
        ({"depths": (0,)}, "space.depths has 0"),
        ({"budgets": (0,)}, "space.budgets has 0"),
    ],
)
def test_axes_refuse_with_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        _axes(**given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"head_width": 0}, "head_width is 0"),
        ({"head_width": 31}, "head_width is 31"),
        ({"width": 100}, "width is 100 with a head_width of 32"),
        ({"vocabulary": 0}, "architecture.vocabulary is 0"),
        ({"context": -1}, "architecture.context is -1"),
    ],
)
def test_sizes_that_no_architecture_can_have_are_refused_with_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        enumerate_space(_axes(**given))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def _names(space: SearchSpace) -> list[str]:
    return [f"{item.architecture.fusion} {item.rule or ''}".strip() for item in space]


def test_wirings_follow_the_product_of_dilations_and_periods() -> None:
    space = enumerate_space(_axes(dilations=(1, 4), periods=(1,), wirings=("first:2", "skip:3-9", "4x1")))
    assert _names(space) == ["none", "dwa 1x1", "dwa 4x1", "dwa first:2", "dwa skip:3-9"]
    assert (space.num_combinations, space.num_duplicates) == (5, 0)
    assert [site.block for site in list(space)[-1].architecture.wiring] == [9]


def test_same_graph_by_another_rule_is_one_candidate_with_the_simplest_name() -> None:
    wirings = ("anchors:3@6", "window:12+embed", "first:12", "one:3+embed@6", "embed")
    space = enumerate_space(_axes(dilations=(), periods=(), wirings=wirings))
    # With 12 blocks, first:12 and window:12+embed read all states.
    assert _names(space) == ["none", "dwa anchors:3@6", "dwa first:12", "dwa one:3+embed@6", "dwa embed"]
    assert [rule.text for rule in list(space)[2].spellings] == ["window:12+embed", "first:12"]
    dense = enumerate_space(_axes(wirings=wirings))
    assert _names(dense)[:2] == ["none", "dwa 1x1"]


def test_rule_without_room_at_one_depth_is_infeasible_there() -> None:
    space = enumerate_space(_axes(depths=(6, 12), dilations=(), periods=(), wirings=("one:8",)))
    assert _names(space) == ["none", "none", "dwa one:8"]
    (infeasible,) = space.infeasible
    assert infeasible.combination.depth == 6
    assert infeasible.reason == "wiring one:8 has no site at depth 6: take a larger depth"
    assert infeasible.enough is None


@pytest.mark.parametrize(("depth", "number"), [(6, 281), (12, 1310)])
def test_all_is_the_whole_grammar(depth: int, number: int) -> None:
    space = enumerate_space(_axes(depths=(depth,), dilations=(), periods=(), wirings=("all",)))
    assert len(space) == 1 + number
    assert space.num_duplicates == 0
    assert not space.infeasible
    assert all(item.rule is not None for item in list(space)[1:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wirings": ("one:13",), "depths": (6, 12, 8)}, "wiring one:13 has no site at depth 12: take a larger depth"),
        ({"wirings": ("one:12",)}, "space.wirings: wiring one:12 has no site at depth 12: take a larger depth"),
        ({"wirings": ("first:2", "first:2")}, "space.wirings lists .*: list each once"),
        ({"wirings": ("frist:2",)}, "wiring 'frist:2' is not known"),
        ({"dilations": ()}, "space.dilations is empty: list at least one"),
        ({"dilations": (), "wirings": ("embed",)}, "only one of them is empty"),
        (
            {"wirings": ("all",), "budgets": tuple(range(10**6, 2 * 10**6, 10**4))},
            "with all wirings [0-9,]+ in all: at most 100,000 combinations; shorten an axis",
        ),
    ],
)
def test_wirings_that_cannot_be_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        enumerate_space(_axes(**given))
    assert "\n" not in str(error.value)

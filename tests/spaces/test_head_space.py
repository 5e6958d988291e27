"""Spaces of heads on one host: which states a rule selects, budgets, ids, and plain forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.budget import BudgetError
from depthweave.spaces.costs import costs_of
from depthweave.spaces.head_space import HeadAxes, head_wiring
from depthweave.spaces.heads import HEADS, make_head
from depthweave.spaces.hosted import HostedArchitecture, HostShape, architecture_from_dict, is_plain
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space
from depthweave.spaces.widths import TOLERANCE_FRAC
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_text import parse_rule

HOST = HostShape(
    sha256="5" * 64,
    weights="frozen",
    depth=6,
    width=32,
    heads=4,
    causal=False,
    vocabulary=120,
    parameters=90_000,
    layer_parameters=70_000,
)


def space_of(**changes: Any) -> SearchSpace:
    values: dict[str, Any] = {
        "fusions": tuple(HEADS),
        "dilations": (1, 2, 4),
        "periods": (1, "depth"),
        "depths": (6,),
        "budgets": (20_000,),
        "vocabulary": HOST.vocabulary,
        "context": 32,
        "head": HeadAxes(host=HOST, classes=7),
    }
    return enumerate_space(Axes(**{**values, **changes}))


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        ("1x1", (0, 1, 2, 3, 4, 5, 6)),
        ("2x1", (0, 2, 4, 6)),
        ("4x1", (2, 6)),
        ("1x2", (0, 2, 4, 6)),
        ("1x4", (0, 4, 6)),
        ("3x2", (0, 6)),
        ("1x6", (0, 6)),
        ("window:3", (4, 5, 6)),
        ("first:2", (0, 1, 6)),
        ("embed@depth", (0, 6)),
    ],
)
def test_rule_selects_these_states(rule: str, sources: tuple[int, ...]) -> None:
    assert dict(head_wiring(parse_rule(rule), depth=6).sites) == {6: sources}


@pytest.mark.parametrize("rule", ["7x1", "5x4", "skip:0-3"])
def test_rule_that_selects_the_last_state_alone_is_one_line(rule: str) -> None:
    with pytest.raises(BudgetError, match="selects no state of 6 layers but the last: take a smaller") as error:
        head_wiring(parse_rule(rule), depth=6)
    assert "\n" not in str(error.value)


def test_space_has_every_head_once_and_meets_its_budget() -> None:
    space = space_of()
    found = [(it.architecture.fusion, dict(it.architecture.wiring.sites).get(6)) for it in space]
    assert len(set(found)) == len(found)
    sources = {(0, 1, 2, 3, 4, 5, 6), (0, 2, 4, 6), (2, 6), (0, 6)}
    # 4 x depth selects the last state alone, for each of the heads that read earlier states.
    assert {it.combination.rule.text for it in space.infeasible if it.combination.rule is not None} == {"4x6"}
    assert set(found) == {("last", None), ("deeper", None)} | {
        (head, own) for head in ("mix", "concat", "dwatt", "dwa") for own in sources
    }
    for item in space:
        costs = costs_of(item.architecture)
        sized = HEADS[item.architecture.fusion].sized
        assert costs.parameters <= item.budget * (1 + TOLERANCE_FRAC)
        assert not sized or abs(costs.parameters / item.budget - 1) <= TOLERANCE_FRAC


@pytest.mark.parametrize("kind", HEADS)
def test_heads_whose_wiring_says_nothing_are_named(kind: str) -> None:
    assert has_one_wiring(kind) == (not HEADS[kind].reads_earlier)


def test_reference_is_the_classifier_alone_at_every_budget() -> None:
    space = space_of(budgets=(20_000, 40_000))
    plain = {space.plain(budget=budget).architecture.id for budget in (20_000, 40_000)}
    assert len(plain) == 1
    assert [it.architecture.fusion for it in space if is_plain(it.architecture)] == ["last"]


def test_costs_are_those_of_the_built_head() -> None:
    for item in space_of():
        architecture = item.architecture
        assert isinstance(architecture, HostedArchitecture)
        head = make_head(architecture.head, seed=0)
        costs = costs_of(architecture)
        assert costs.parameters == sum(parameter.numel() for parameter in head.parameters())
        assert costs.embedding_parameters == HOST.parameters
        assert costs.forward_flops > 2 * HOST.layer_parameters


def test_plain_form_reads_back_equal_through_json() -> None:
    for item in space_of():
        values = json.loads(json.dumps(item.architecture.to_dict()))
        assert architecture_from_dict(values) == item.architecture


def test_id_is_the_same_in_every_version() -> None:
    ids = {it.architecture.fusion: it.architecture.id for it in space_of(dilations=(1,), periods=(1,))}
    assert ids == {
        "last": "8ea117e927c9",
        "deeper": "b4b6a6d2860b",
        "mix": "8956034102bb",
        "concat": "3c9fc780bebe",
        "dwatt": "f7c1a09f256e",
        "dwa": "8bd111d14d1e",
    }


def test_id_depends_on_the_host_and_on_which_weights_are_trained() -> None:
    values = space_of().plain().architecture.to_dict()
    ids = {
        architecture_from_dict({**values, "host": {**values["host"], **change}}).id
        for change in ({}, {"sha256": "6" * 64}, {"weights": "full"})
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": None}, "architecture.head is None"),
        ({"context": 0}, "architecture.context is 0"),
        ({"context": True}, "architecture.context is True"),
        ({"depth": 3}, "field 'architecture.depth' is not known"),
        ({"host": {}}, "host.sha256 is missing"),
        ({"host": 3}, "architecture.host is 3"),
    ],
)
def test_damaged_plain_form_is_one_line(changes: dict[str, Any], message: str) -> None:
    values = {**space_of().plain().architecture.to_dict(), **changes}
    with pytest.raises(ValueError, match=message) as error:
        architecture_from_dict(values)
    assert "\n" not in str(error.value)


def test_unknown_head_of_a_plain_form_names_the_nearest() -> None:
    values = space_of().plain().architecture.to_dict()
    values["head"]["kind"] = "lst"
    with pytest.raises(ValueError, match="did you mean 'last'"):
        architecture_from_dict(values)


def test_plain_form_of_a_decoder_is_read_as_before() -> None:
    decoder = Architecture(fusion="none", wiring=Wiring(2), width=16, heads=2, feed_forward=32, vocabulary=9, context=8)
    assert architecture_from_dict(decoder.to_dict()) == decoder
    assert "host" not in decoder.to_dict()


def test_budget_below_the_classifier_is_infeasible_and_the_reference_says_so() -> None:
    space = space_of(budgets=(100,))
    assert len(space) == 0
    with pytest.raises(ValueError, match=r"the reference \(last, depth 6, budget 100\) is not in the space"):
        space.plain()


def test_unknown_head_is_one_line() -> None:
    with pytest.raises(ValueError, match="head 'dwat' is not known: did you mean 'dwatt'"):
        space_of(fusions=("dwat",))

"""What a confirmation trains and measures: members, baselines, strided controls and rivals; without Ray."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from depthweave.reports.store.records import Record
from depthweave.search import confirmation
from depthweave.search.confirmation import targets_of
from tests.reports.synthetic import make_record
from tests.search.search_runs import prepared_search

OBJECTIVES = ("perplexity", "memory_bytes")


def test_one_of_twins_is_trained_for_both_and_all_members_where_asked_for(small_spec: dict[str, Any]) -> None:
    prepared = prepared_search({**small_spec, "objectives": list(OBJECTIVES)})
    first, second, third = [item.architecture.id for item in prepared.space if item.rule is not None][:3]
    plain = prepared.reference.architecture.id
    values = {plain: (9.0, 1000), first: (8.0, 2000), second: (7.999, 2001), third: (6.0, 4000)}
    records = [
        make_record(number, run_id="run", architecture_id=key, perplexity=perplexity, memory_bytes=memory)
        for number, (key, (perplexity, memory)) in enumerate(values.items())
    ]
    found = [set(targets_of(prepared, records, tolerances={}, all_members=every)) for every in (False, True)]
    assert found[0] - found[1] == set()
    assert found[1] - found[0] in ({first}, {second})
    assert {plain, third} <= found[0]


def test_same_pattern_is_trained_at_every_budget_where_asked_for(small_spec: dict[str, Any]) -> None:
    budgets = [20_000, 40_000]
    space = {**small_spec["space"], "budgets": budgets}
    prepared = prepared_search({**small_spec, "space": space, "reference": {}, "objectives": list(OBJECTIVES)})
    member = next(item for item in prepared.space if item.rule is not None and item.budget == budgets[0])
    depth = member.architecture.depth
    record = make_record(1, run_id="run", architecture_id=member.architecture.id, perplexity=8.0, memory_bytes=2000)
    alone, at_all = (
        targets_of(prepared, [record], tolerances={}, all_members=False, all_sizes=every) for every in (False, True)
    )
    plain = [prepared.space.plain(depth=depth, budget=budget).architecture.id for budget in budgets]
    assert alone == [member.architecture.id, plain[0]]
    (other,) = set(at_all) - {*alone, plain[1]}
    found = prepared.space[other]
    assert (found.rule, found.budget, found.architecture.depth) == (member.rule, budgets[1], depth)
    assert found.architecture.fusion == member.architecture.fusion


def test_latencies_that_move_the_front_are_measured_once(
    small_spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_search({**small_spec, "objectives": ["perplexity", "latency"]})
    plain = prepared.reference.architecture.id
    member, hidden = [item.architecture.id for item in prepared.space if item.architecture.id != plain][:2]

    def records() -> list[Record]:
        # Another figure of the member's latency brings the hidden architecture onto the front.
        costs = {plain: (9.0, 1.0), member: (8.0, 1.1 if not measured else 1.3), hidden: (8.5, 1.2)}
        return [
            make_record(number, architecture_id=key, perplexity=perplexity, loss=math.log(perplexity), latency=latency)
            for number, (key, (perplexity, latency)) in enumerate(costs.items())
        ]

    def remeasure(run: object, chosen: list[Record]) -> list[Record]:
        measured.append({item.architecture_id for item in chosen})
        return chosen

    measured: list[set[str]] = []
    monkeypatch.setattr(confirmation, "remeasure", remeasure)
    monkeypatch.setattr(confirmation, "_plan_trainings", lambda run, wanted: [])
    store = SimpleNamespace(records=records, info=SimpleNamespace(tolerance_of={}))
    run: Any = SimpleNamespace(prepared=prepared, store=store)
    assert confirmation.confirm_front(run, num_seeds=2, workers=1) == "done"
    assert measured == [{plain, member}, {hidden}]


def test_another_wiring_has_its_strided_control_and_then_its_rival(small_spec: dict[str, Any]) -> None:
    wirings = ["1x1", "1x2", "2x1", "first:2"]
    space = {"fusions": ["none", "dwa"], "wirings": wirings, "depths": [4], "budgets": [20_000], "head_width": 8}
    prepared = prepared_search({**small_spec, "space": space, "reference": {}, "objectives": list(OBJECTIVES)})
    by_rule = {str(item.rule): item.architecture for item in prepared.space}

    def records(**perplexities: float) -> list[Record]:
        return [
            make_record(
                number,
                architecture_id=by_rule[rule].id,
                rule=rule,
                dilation=None if ":" in rule else int(rule[0]),
                period=None if ":" in rule else int(rule[2]),
                perplexity=value,
                loss=math.log(value),
                memory_bytes=2000 + (rule != "first:2"),
            )
            for number, (rule, value) in enumerate(perplexities.items())
        ]

    member, control, rival = (by_rule[rule].id for rule in ("first:2", "1x2", "2x1"))
    plain = prepared.space.plain().architecture.id
    of_plain = make_record(
        9,
        architecture_id=plain,
        fusion="none",
        dilation=None,
        period=None,
        wiring="[]",
        perplexity=10.0,
        memory_bytes=2100,
    )
    before, after = (
        targets_of(prepared, [*records(**found), of_plain], tolerances={}, all_members=False)
        for found in (
            {"first:2": 8.0, "2x1": 9.0},
            {"first:2": 8.0, "2x1": 9.0, "1x2": 9.5},
        )
    )
    assert before == [member, plain, control]
    assert after == [member, plain, control, rival]

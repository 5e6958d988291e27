"""Objectives are columns, and a wrong name meets the nearest right one."""

from __future__ import annotations

import dataclasses

import pytest

from depthweave.reports.store.arrow_rows import schema_of
from depthweave.reports.store.objectives import OBJECTIVES, Objective, objective, searched_quality, table_columns
from depthweave.reports.store.records import Record
from tests.reports.synthetic import make_record


def test_objectives_are_record_columns() -> None:
    assert set(OBJECTIVES) <= set(schema_of(Record).names)


@pytest.mark.parametrize("item", OBJECTIVES.values(), ids=list(OBJECTIVES))
def test_every_column_that_an_objective_names_is_a_record_column(item: Objective) -> None:
    assert {*item.interval_columns, *item.measured_columns, *item.extra_columns} <= set(schema_of(Record).names)
    assert bool(item.interval_columns) == (item.timing is not None)


@pytest.mark.parametrize("item", OBJECTIVES.values(), ids=list(OBJECTIVES))
def test_only_costs_are_measured_and_only_qualities_follow_from_the_loss(item: Objective) -> None:
    assert item.of_loss is None or not item.cost
    assert item.cost or not item.measured
    assert item.measured or item.timing is None


def test_value_of_a_function_is_made_of_the_columns() -> None:
    made_up = dataclasses.replace(OBJECTIVES["parameters"], name="all", source=lambda it: it.parameters + it.width)
    record = make_record(parameters=100, width=7)
    assert made_up.of(record) == 107
    assert OBJECTIVES["parameters"].of(record) == 100
    assert (made_up.timed, made_up.interval_columns, made_up.measured_columns) == (False, (), ())


def test_searched_quality_is_perplexity_or_the_first_quality() -> None:
    assert searched_quality(["latency", "perplexity", "bits_per_byte"]) == "perplexity"
    assert searched_quality(["latency", "bits_per_byte"]) == "bits_per_byte"
    assert searched_quality(["latency"]) == "perplexity"
    assert table_columns(["parameters", "latency"]) == ["perplexity", "latency"]


def test_objectives_costs_are_all_but_losses() -> None:
    assert {name for name, item in OBJECTIVES.items() if not item.cost} == {"perplexity", "bits_per_byte", "error"}


def test_objective_unknown_names_nearest() -> None:
    with pytest.raises(ValueError, match=r"'latncy' is not known: did you mean 'latency'"):
        objective("latncy")

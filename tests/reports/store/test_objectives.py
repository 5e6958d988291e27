"""Objectives are columns, and a wrong name meets the nearest right one."""

from __future__ import annotations

import pytest

from depthweave.reports.store.objectives import OBJECTIVES, objective
from depthweave.reports.store.records import Record, schema_of


def test_objectives_are_record_columns() -> None:
    assert set(OBJECTIVES) <= set(schema_of(Record).names)


def test_objectives_costs_are_all_but_losses() -> None:
    assert {name for name, item in OBJECTIVES.items() if not item.cost} == {"perplexity", "bits_per_byte", "error"}


def test_objective_unknown_names_nearest() -> None:
    with pytest.raises(ValueError, match=r"'latncy' is not known: did you mean 'latency'"):
        objective("latncy")

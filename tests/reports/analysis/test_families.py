"""The family of a wiring, with and without a recorded rule."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from depthweave.reports.analysis.families import OTHER, STRIDED, family_of
from depthweave.reports.store.records import Record
from tests.reports.synthetic import make_record


def test_family_of_records_without_a_rule() -> None:
    assert family_of(make_record(0)) == STRIDED
    assert family_of(make_record(0, dilation=None, period=None)) == OTHER
    assert family_of(make_record(0, fusion="none", dilation=None, period=None, wiring="[]")) == ""


@pytest.mark.parametrize(
    ("rule", "family"),
    [
        ("4x5", STRIDED),
        ("1xdepth", STRIDED),
        ("4x5+embed", STRIDED),
        ("first:2", "first"),
        ("mirror+embed@2", "mirror"),
        ("pow2", "pow2"),
        (":", OTHER),
        ("", OTHER),
        (None, OTHER),
    ],
)
def test_family_of_a_rule(rule: str | None, family: str) -> None:
    record = SimpleNamespace(fusion="dwa", rule=rule, dilation=None, period=None)
    assert family_of(cast(Record, record)) == family

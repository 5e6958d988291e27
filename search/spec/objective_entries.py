"""The list of objectives in a spec: names, some with a tolerance of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depthweave.reports.store.tolerance import check_tolerance
from depthweave.search.spec.part import SHOWN_CHARACTERS


def names_and_tolerances(objectives: Sequence[Any]) -> tuple[list[Any], dict[str, float]]:
    """Returns the names, and the given tolerances by name; raises `ValueError` for any other form."""
    names: list[Any] = []
    given: dict[str, float] = {}
    for item in objectives:
        if not isinstance(item, dict):
            names.append(item)
            continue
        if not isinstance(item.get("name"), str) or set(item) - {"name", "tolerance"}:
            raise ValueError(
                f"objectives: {item!r:.{SHOWN_CHARACTERS}}: write a name, or {{name: latency, tolerance: 0.02}}"
            )
        name, tolerance = item["name"], item.get("tolerance")
        names.append(name)
        if tolerance is not None:
            if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)):
                raise ValueError(
                    f"objectives: tolerance of {name} is {tolerance!r:.{SHOWN_CHARACTERS}}, which is not a number"
                )
            given[name] = check_tolerance(name, tolerance)
    return names, given

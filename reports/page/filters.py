"""The filters of the interactive front: rows of tick boxes that hide points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import STATE_WORDS, show
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import NO_FAMILY, family_of_record
from depthweave.spaces.wiring_rules import STRIDED_FAMILY


class Choice(NamedTuple):
    """One value of a filter, with its tick box."""

    value: str
    text: str
    colour: str


class Filter(NamedTuple):
    """A row of tick boxes. Points with an unticked value are not shown and are on no front."""

    name: str
    title: str
    choices: list[Choice]


def filters_of(points: Sequence[Record]) -> list[Filter]:
    """Returns the filters that have at least two values."""
    fusions = sorted({it.fusion for it in points}, key=lambda name: (name != "none", name))
    budgets = sorted({it.budget for it in points if it.budget is not None})
    states = [state for state in ("complete", "pruned") if any(it.state == state for it in points)]
    # Plain architectures have no wiring, so no choice of this filter hides them.
    families = sorted(
        {family_of_record(it) for it in points} - {NO_FAMILY}, key=lambda name: (name != STRIDED_FAMILY, name)
    )
    found = [
        Filter("fusion", "fusion", [Choice(name, name, colour_of(name)) for name in fusions]),
        Filter("family", "wiring", [Choice(name, name, "") for name in families]),
        Filter("depth", "blocks", [Choice(str(it), str(it), "") for it in sorted({point.depth for point in points})]),
        Filter("budget", "budget", [Choice(str(it), show("parameters", it), "") for it in budgets]),
        Filter("state", "state", [Choice(it, STATE_WORDS[it], "") for it in states]),
    ]
    return [item for item in found if len(item.choices) > 1]

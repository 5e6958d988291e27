"""The filters of the interactive front: rows of tick boxes that hide points, and the key to what they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.figures.key import outline_of
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import STATE_WORDS, fusion_word, show
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import NO_FAMILY, family_of_record
from depthweave.spaces.plain_names import plain_first
from depthweave.spaces.wiring_rules import STRIDED_FAMILY


class Choice(NamedTuple):
    """One value of a filter, with its tick box."""

    value: str
    text: str
    colour: str = ""
    """Of its dot; empty for no dot."""
    outline: str = ""
    """Its mark as an SVG path; empty for no mark."""


class Filter(NamedTuple):
    """A row of tick boxes. Points with an unticked value are not shown and are on no front."""

    name: str
    title: str
    choices: list[Choice]

    @property
    def is_key(self) -> bool:
        """Whether its choices have dots or marks."""
        return any(choice.colour or choice.outline for choice in self.choices)


def filters_of(points: Sequence[Record]) -> list[Filter]:
    """Returns the filters that have at least two values."""
    fusions = sorted({it.fusion for it in points}, key=plain_first)
    budgets = sorted({it.budget for it in points if it.budget is not None})
    states = [state for state in ("complete", "pruned") if any(it.state == state for it in points)]
    # Plain architectures have no wiring, so no choice of this filter hides them.
    families = sorted(
        {family_of_record(it) for it in points} - {NO_FAMILY}, key=lambda name: (name != STRIDED_FAMILY, name)
    )
    found = [
        Filter("fusion", fusion_word(points), [Choice(name, name, colour_of(name)) for name in fusions]),
        Filter("family", "wiring", [Choice(name, name) for name in families]),
        Filter("depth", "blocks", [Choice(str(it), str(it)) for it in sorted({point.depth for point in points})]),
        Filter("budget", "budget", [Choice(str(it), show("parameters", it)) for it in budgets]),
        Filter("state", "state", [Choice(it, STATE_WORDS[it], outline=_outline(it)) for it in states]),
    ]
    return [item for item in found if len(item.choices) > 1]


def named_by(filters: Sequence[Filter]) -> set[str]:
    """Returns the choices with a dot or a mark: the key need not repeat them."""
    return {choice.text for item in filters for choice in item.choices if choice.colour or choice.outline}


def _outline(state: str) -> str:
    return outline_of("x") if state == "pruned" else ""

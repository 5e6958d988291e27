"""The key to colours and markers for all figures, as small SVG outlines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.figures.palette import FRONT_LINE, colour_of, symbol_of
from depthweave.reports.formatting import STATE_WORDS
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import Marker, marker_of
from depthweave.spaces.plain_names import PLAIN_FUSION, plain_first

_OUTLINES = {
    "circle": "M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
    "circle-open": "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13z",
    "square": "M3.5 3.5h9v9h-9z",
    "diamond": "M8 2l6 6l-6 6l-6-6z",
    "triangle-up": "M8 2.5l6 10.5h-12z",
    "triangle-down": "M8 13.5l6-10.5h-12z",
    "cross": "M6 2.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5z",
    "pentagon": "M8 2l6 4.4l-2.3 7h-7.4l-2.3-7z",
    "hexagon": "M8 2l5.2 3v6l-5.2 3l-5.2-3v-6z",
    "star": "M8 1.5l1.9 4.3l4.6.5l-3.5 3.1l1 4.6l-4-2.4l-4 2.4l1-4.6l-3.5-3.1l4.6-.5z",
    "triangle-left": "M2.5 8l10.5-6v12z",
    "triangle-right": "M13.5 8l-10.5-6v12z",
    "bowtie": "M3 3v10l10-10v10z",
    "hourglass": "M3 3h10l-10 10h10z",
    "octagon": "M5.5 2h5l3.5 3.5v5l-3.5 3.5h-5l-3.5-3.5v-5z",
    "diamond-open": "M8 2l6 6l-6 6l-6-6z",
    "x": "M4 4l8 8M12 4l-8 8",
    "line": "M1 8h14",
}
"""SVG paths in a box of 16 × 16, by Plotly's symbol name."""
_OPEN = ("circle-open", "diamond-open", "x", "line")


class KeyEntry(NamedTuple):
    """One symbol and its meaning."""

    text: str
    outline: str
    colour: str
    filled: bool
    faint: bool


def key_of(
    records: Sequence[Record], *, verdicts: Mapping[str, Verdict] | None = None, named: Collection[str] = ()
) -> list[list[KeyEntry]]:
    """Returns groups of entries: the fusions, the periods and the other symbols that occur in these records.

    Fusions and states in `named` are left out: the page explains them elsewhere.
    """
    fusions = sorted({record.fusion for record in records} - set(named), key=plain_first)
    groups = [
        [_entry(f"fusion {name}" if name == PLAIN_FUSION else name, "circle", colour_of(name)) for name in fusions],
        [_entry(text, symbol_of(marker), FRONT_LINE) for marker, text in marker_texts(records).items()],
        [_entry("front", "line", FRONT_LINE), _entry("reference", "circle-open", FRONT_LINE)],
    ]
    stopped = STATE_WORDS["pruned"]
    if stopped not in named and any(record.state == "pruned" for record in records):
        groups[2].append(_entry(stopped, "x", FRONT_LINE, faint=True))
    if verdicts:
        groups[2].append(_entry("hollow: not settled", "diamond-open", FRONT_LINE))
    groups[2].append(_entry("dominated", "circle", FRONT_LINE, faint=True))
    return [group for group in groups if group]


def marker_texts(records: Sequence[Record]) -> dict[Marker, str]:
    """Returns what the markers of these records mean: the periods in order, then other wirings."""
    markers = {marker_of(it) for it in records}
    texts: dict[Marker, str] = {
        period: f"period {period}" for period in sorted(it for it in markers if isinstance(it, int))
    }
    return {**texts, "other": "other wiring"} if "other" in markers else texts


def outline_of(symbol: str) -> str:
    """Returns the SVG path of a symbol of `palette.symbol_of`, in a box of 16 × 16."""
    return _OUTLINES[symbol]


def _entry(text: str, symbol: str, colour: str, *, faint: bool = False) -> KeyEntry:
    return KeyEntry(text, _OUTLINES[symbol], colour, symbol not in _OPEN, faint)

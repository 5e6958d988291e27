"""Patterns at several sizes: tables of differences and of rank agreement, lines over size, one size against another."""

from __future__ import annotations

import html
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.size_text import (
    first_patterns,
    interval_texts,
    pattern_title,
    ranks_text,
    ranks_title,
    size_heading,
)
from depthweave.reports.analysis.sizes import SizedPattern, Sizes
from depthweave.reports.figures.grid import Cell, Grid, GridRow
from depthweave.reports.figures.palette import FRONT_LINE, colour_of
from depthweave.reports.formatting import count_text, plural

MAX_ROWS = 20
_FAINT = 0.45
_LABEL_FRAC = 0.055
"""Height of a label, as a share of the range of all differences."""


class SizeLine(NamedTuple):
    """A pattern's differences over its sizes."""

    name: str
    """Escaped for Plotly's markup."""
    fusion: str
    x: list[float]
    """Parameters."""
    y: list[float]
    """nat/token against plain."""
    low: list[float | None]
    high: list[float | None]
    """Ends of the 95 % intervals; `None` for one seed."""
    settled: bool
    verdict: str


class SizeLines(NamedTuple):
    """The patterns of one depth, or of all where each size has its own."""

    depth: int | None
    parameters: tuple[int, ...]
    reach: int
    lines: list[SizeLine]

    @property
    def choice(self) -> str:
        """The label that chooses the depth."""
        return "all depths" if self.depth is None else plural(self.depth, "block")


def sizes_grid(sizes: Sizes) -> Grid | None:
    """Returns the table of differences by size, slopes and verdicts of at most 20 patterns; `None` without any."""
    if not sizes.patterns:
        return None
    rows = first_patterns(sizes, MAX_ROWS)
    largest = max((abs(it.difference.mean) for own in rows for it in own.points), default=0.0)

    def row(pattern: SizedPattern) -> GridRow:
        cells = [Cell(_unbroken(pattern.verdict), tip=pattern.why)]
        for parameters in sizes.parameters:
            difference = pattern.at(parameters)
            text, interval = interval_texts(difference)
            cells.append(Cell(text, difference.mean / largest if difference and largest else None, interval))
        for shown in (pattern.slope, pattern.at_reach):
            text, interval = interval_texts(shown)
            cells.append(Cell(text, more=interval))
        return GridRow(pattern_title(pattern), colour_of(pattern.fusion), cells)

    headings = [size_heading(sizes, index) for index in range(len(sizes.parameters))]
    columns = ["verdict", *headings, "per doubling", f"line at {count_text(sizes.reach)}"]
    return Grid("Difference to plain by size", "parameters", columns, [row(it) for it in rows])


def ranks_grid(sizes: Sizes) -> Grid | None:
    """Returns the table of rank agreement within each fusion; `None` without any."""
    if not sizes.ranks:
        return None
    rows = []
    for ranks in sizes.ranks:
        tau, interval = ranks_text(ranks)
        between = f"{count_text(ranks.smaller)} and {count_text(ranks.larger)}"
        cells = [Cell(_unbroken(ranks.verdict)), Cell(tau, more=interval), Cell(str(ranks.num)), Cell(between)]
        rows.append(GridRow(ranks_title(ranks), colour_of(ranks.fusion) if ranks.fusion else "", cells))
    return Grid("Rank agreement between sizes", "", ["orders", "Kendall's tau", "patterns", "sizes"], rows)


def size_lines(sizes: Sizes) -> list[SizeLines]:
    """Returns the data of `draw_size_lines` and `draw_size_ranks`, for each depth."""
    found = []
    for depth in sorted({it.depth for it in sizes.patterns}, key=lambda own: own or 0):
        lines = [_line(it) for it in sizes.patterns if it.depth == depth]
        # The settled ones are drawn last, over the others.
        lines.sort(key=lambda it: it.settled)
        found.append(SizeLines(depth, sizes.parameters, sizes.reach, lines))
    return found


def _line(pattern: SizedPattern) -> SizeLine:
    return SizeLine(
        name=html.escape(pattern_title(pattern)),
        fusion=pattern.fusion,
        x=[float(it.parameters) for it in pattern.points],
        y=[it.difference.mean for it in pattern.points],
        low=[it.difference.low for it in pattern.points],
        high=[it.difference.high for it in pattern.points],
        settled=pattern.verdict != "not settled",
        verdict=pattern.verdict,
    )


def draw_size_lines(data: SizeLines) -> go.Figure:
    """Returns the differences over size, with intervals and strong lines where the verdict is settled."""
    figure, labels = go.Figure(), _labels(data)
    for line in data.lines:
        colour = colour_of(line.fusion)
        bars = None
        if line.settled:
            ends = zip(line.y, line.low, line.high, strict=True)
            widths = [(0.0, 0.0) if low is None or high is None else (y - low, high - y) for y, low, high in ends]
            bars = {
                "type": "data",
                "symmetric": False,
                "array": [above for _, above in widths],
                "arrayminus": [below for below, _ in widths],
                "thickness": 1.2,
                "width": 0,
                "color": colour,
            }
        figure.add_trace(
            go.Scatter(
                x=line.x,
                y=line.y,
                error_y=bars,
                mode="lines+markers+text",
                line={"color": colour, "width": 2 if line.settled else 1},
                marker={"size": 7 if line.settled else 5, "symbol": "circle" if line.settled else "circle-open"},
                opacity=1.0 if line.settled else _FAINT,
                text=[*[""] * (len(line.x) - 1), labels.get(line.name, "")],
                # Left of the last point and not over the line itself.
                textposition="bottom left" if line.y[-1] < line.y[0] else "top left",
                textfont={"size": 11},
                hovertext=[f"{line.name}<br>{line.verdict}"] * len(line.x),
                hovertemplate="%{hovertext}<br>%{y:+.4f} nat/token<extra></extra>",
                name=line.name,
            )
        )
    figure.add_hline(y=0, line={"color": FRONT_LINE, "width": 1, "dash": "dash"})
    _lay_out(figure, "loss minus plain's (nat/token)")
    figure.update_xaxes(
        type="log",
        tickvals=list(data.parameters),
        ticktext=[count_text(own) for own in data.parameters],
        title={"text": "parameters without the embedding"},
    )
    return figure


def _labels(data: SizeLines) -> dict[str, str]:
    """Returns labels by name for as many lines as have room, the settled ones first."""
    values = [0.0, *(value for line in data.lines for value in line.y)]
    room = _LABEL_FRAC * (max(values) - min(values))
    found: dict[str, str] = {}
    taken: list[float] = []
    for line in sorted(data.lines, key=lambda it: not it.settled):
        place = line.y[-1] + (-room / 2 if line.y[-1] < line.y[0] else room / 2)
        if line.x[-1] == data.parameters[-1] and all(abs(place - other) >= room for other in taken):
            taken.append(place)
            found[line.name] = line.name.removesuffix(f", {data.choice}")
    return found


def draw_size_ranks(data: SizeLines) -> go.Figure:
    """Returns the differences at the largest size against those at the smallest, and the line where both are equal."""
    smallest, largest = data.parameters[0], data.parameters[-1]
    at_both = [(line, values) for line in data.lines if (values := _ends(line, smallest, largest)) is not None]
    figure = go.Figure()
    for fusion in sorted({line.fusion for line, _ in at_both}):
        own = [(line, values) for line, values in at_both if line.fusion == fusion]
        figure.add_trace(
            go.Scatter(
                x=[first for _, (first, _) in own],
                y=[second for _, (_, second) in own],
                mode="markers",
                cliponaxis=False,
                marker={
                    "color": colour_of(fusion),
                    "size": 9,
                    "symbol": ["circle" if line.settled else "circle-open" for line, _ in own],
                },
                text=[f"{line.name}<br>{line.verdict}" for line, _ in own],
                hovertemplate="%{text}<br>%{x:+.4f} and %{y:+.4f} nat/token<extra></extra>",
                name=html.escape(fusion),
            )
        )
    both_ends = [0.0, *(value for _, ends in at_both for value in ends)]
    low, high = min(both_ends), max(both_ends)
    dashed = {"color": FRONT_LINE, "width": 1, "dash": "dash"}
    figure.add_shape(type="line", x0=low, x1=high, y0=low, y1=high, line=dashed, layer="below")
    _lay_out(figure, f"at {count_text(largest)} (nat/token)")
    figure.update_xaxes(title={"text": f"loss minus plain's at {count_text(smallest)} (nat/token)"})
    return figure


def _ends(line: SizeLine, smallest: int, largest: int) -> tuple[float, float] | None:
    by_size = dict(zip(line.x, line.y, strict=True))
    return (by_size[smallest], by_size[largest]) if {smallest, largest} <= by_size.keys() else None


def _unbroken(verdict: str) -> str:
    """Returns the words on one line: the table has wide columns beside them, and would break them first."""
    return verdict.replace(" ", "\N{NO-BREAK SPACE}")


def _lay_out(figure: go.Figure, title: str) -> None:
    figure.update_layout(
        height=400,
        margin={"l": 64, "r": 16, "t": 30, "b": 56},
        showlegend=False,
        yaxis={"title": {"text": title}},
        hovermode="closest",
    )

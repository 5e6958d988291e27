"""Which connections the distinct members of a front share, against all architectures that were tried.

For each depth: the share of members with a site after block i that reads state j, and the share among all. Every site
reads its own block, so j < i. Fisher's exact test compares members with the other architectures. Connections that the
same architectures have are one test. Tarone's correction leaves out tests that could not pass with these counts, for
example that of a connection which all architectures have. Holm's corrects for the number of the others.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.fisher import fisher_exact, holm, least_p_value, tarone
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.formatting import plural
from depthweave.reports.store.records import Record

RISK = 0.05
_TRIED = ("complete", "pruned", "diverged")
_TICKS = [-1.0, -0.5, 0.0, 0.5, 1.0]
_TICK_TEXTS = ["−100 %", "−50 %", "0 %", "50 %", "100 %"]
_MARK = {"color": "white", "line": {"color": "black", "width": 1}}


class SharedConnection(NamedTuple):
    """A connection that an architecture of the depth has."""

    site: int
    source: int
    num_members: int
    """Distinct members of the front that have it."""
    num_tried: int
    """Architectures that have it, members included."""
    p: float | None
    """After correction; `None` if it could not pass whatever members it had."""


class SharedMap(NamedTuple):
    """All connections of one depth, by site and source."""

    depth: int
    num_members: int
    """Distinct members of the front with this depth, plain ones included."""
    num_tried: int
    """Architectures of this depth that were trained, to the end or not."""
    num_tests: int
    """Tests of connections that could pass; 0 if there are too few members or architectures."""
    connections: list[SharedConnection]


def shared_maps(view: RunView) -> list[SharedMap]:
    """Returns a map for each depth at which connections were tried, by depth. Some may have no member of the front."""
    tried: dict[int, dict[str, Record]] = defaultdict(dict)
    for record in view.averaged:
        if record.state in _TRIED:
            tried[record.depth][record.architecture_id] = record
    members = {group.member.architecture_id for group in view.groups}
    maps = [_map(depth, list(own.values()), members=members) for depth, own in sorted(tried.items())]
    return [item for item in maps if item.connections]


def _map(depth: int, tried: Sequence[Record], *, members: set[str]) -> SharedMap:
    by_wiring: dict[str, set[int]] = defaultdict(set)
    for number, record in enumerate(tried):
        if record.fusion != "none":
            by_wiring[record.wiring].add(number)
    having: dict[tuple[int, int], set[int]] = defaultdict(set)
    for text, numbers in by_wiring.items():
        for block, sources in json.loads(text):
            for source in sources:
                if source != block:
                    having[block, source] |= numbers
    good = {number for number, record in enumerate(tried) if record.architecture_id in members}
    sets = {pair: frozenset(numbers) for pair, numbers in having.items()}
    p_values = _p_values(len(tried), groups=list(dict.fromkeys(sets.values())), good=frozenset(good))
    connections = [
        SharedConnection(*pair, len(numbers & good), len(numbers), p_values.get(numbers))
        for pair, numbers in sorted(sets.items())
    ]
    return SharedMap(depth, len(good), len(tried), len(p_values), connections)


def _p_values(total: int, *, groups: Sequence[frozenset[int]], good: frozenset[int]) -> dict[frozenset[int], float]:
    """Returns the corrected p-values of the groups of architectures whose test could pass."""
    least = [least_p_value(total, marked=len(group), drawn=len(good)) for group in groups]
    tested = [groups[index] for index in tarone(least, risk=RISK)]
    own = [fisher_exact(total, marked=len(group), drawn=len(good), found=len(group & good)) for group in tested]
    return dict(zip(tested, holm(own), strict=True))


def shared_sentence(data: SharedMap) -> str:
    """Returns how many members there are, and what the test says about them."""
    text = f"{plural(data.depth, 'block')}: {plural(data.num_members, 'distinct front member')} among "
    text += f"{plural(data.num_tried, 'architecture')} tried. "
    test = f"Fisher's exact test of members against the others at {100 * RISK:.0f} %, corrected by Tarone and Holm"
    if not data.num_tests:
        return f"{text}Too few to say: with these counts no connection could pass ({test})."
    test += f" for {plural(data.num_tests, 'test')}"
    passed = _passed(data)
    if not passed:
        return f"{text}No connection differs by more than chance ({test})."
    more = sum(_difference(item, data) > 0 for item in passed)
    counts = [f"{number:,} {word}" for number, word in ((more, "more"), (len(passed) - more, "less")) if number]
    whole = plural(len(data.connections), "connection")
    return f"{text}Of {whole}, members have {' and '.join(counts)} often than the others: a dot marks these ({test})."


def _passed(data: SharedMap) -> list[SharedConnection]:
    return [item for item in data.connections if item.p is not None and item.p <= RISK]


def draw_shares(data: SharedMap) -> go.Figure:
    """Returns the matrix of the share of members with each connection."""
    figure = _draw(data, [item.num_members / data.num_members for item in data.connections], title="members")
    # Zero has the page's background in both colour schemes.
    figure.update_traces(zmin=0.0, zmid=None, colorscale=[[0.0, "rgba(10,127,194,0.06)"], [1.0, "rgb(10,127,194)"]])
    return figure


def draw_differences_in_share(data: SharedMap) -> go.Figure:
    """Returns the matrix of the same share minus that of all tried; a dot marks a connection that passes the test."""
    figure = _draw(data, [_difference(item, data) for item in data.connections], title="members − all")
    passed = _passed(data)
    if passed:
        figure.add_trace(
            go.Scatter(
                x=[item.source for item in passed],
                y=[item.site for item in passed],
                mode="markers",
                marker={"size": max(4.0, min(7.0, 130 / data.depth)), **_MARK},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    return figure


def _difference(item: SharedConnection, data: SharedMap) -> float:
    return item.num_members / data.num_members - item.num_tried / data.num_tried


def _draw(data: SharedMap, values: Sequence[float], *, title: str) -> go.Figure:
    sites, sources = list(range(1, data.depth + 1)), list(range(data.depth))
    z: list[list[float | None]] = [[None for _ in sources] for _ in sites]
    text = [["" for _ in sources] for _ in sites]
    for item, value in zip(data.connections, values, strict=True):
        z[item.site - 1][item.source] = value
        text[item.site - 1][item.source] = _hover(item, data)
    figure = go.Figure(
        go.Heatmap(
            x=sources,
            y=sites,
            z=z,
            text=text,
            zmin=-1.0,
            zmax=1.0,
            zmid=0.0,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate="%{text}<extra></extra>",
            colorbar={"title": {"text": title}, "thickness": 12, "tickvals": _TICKS, "ticktext": _TICK_TEXTS},
        )
    )
    step = max(1, math.ceil((data.depth + 1) / 13))
    figure.update_layout(
        height=440,
        margin={"l": 64, "r": 8, "t": 16, "b": 60},
        xaxis={
            "title": {"text": "source (block; 0 is the embedding)"},
            "range": [-0.5, data.depth - 0.5],
            "constrain": "domain",
            "dtick": step,
            "showgrid": False,
        },
        yaxis={
            "title": {"text": "site (after block)"},
            "range": [data.depth + 0.5, 0.5],
            "dtick": step,
            "showgrid": False,
            "scaleanchor": "x",
            "constrain": "domain",
        },
    )
    return figure


def _hover(item: SharedConnection, data: SharedMap) -> str:
    source = f"block {item.source}" if item.source else "the embedding"
    lines = [
        f"The site after block {item.site} reads {source}",
        f"{item.num_members} of {plural(data.num_members, 'front member')} "
        f"({100 * item.num_members / data.num_members:.0f} %)",
        f"{item.num_tried} of {data.num_tried} tried ({100 * item.num_tried / data.num_tried:.0f} %)",
        "too few to test" if item.p is None else f"p {item.p:.2g} after correction",
    ]
    return "<br>".join(lines)

"""Colours, marker symbols and the light and dark templates, the same in every figure.

Source: the colours of the first four fusions are those of Okabe and Ito, "Color Universal Design", 2008, which readers
with any common colour vision can distinguish. The lead colours of the other families were searched for the largest
distance from these and from each other, also as readers without one kind of cones see them (Machado, Oliveira,
Fernandes, 2009). The fusions of a family have shades of one hue; a key or a label beside always names them. All are
readable on white and on near-black, so only ink and ground change with the scheme.
"""

from __future__ import annotations

import zlib
from typing import Any

from depthweave.reports.wirings import Marker

FAMILY_COLOURS: dict[str, dict[str, str]] = {
    "none": {"none": "#7d7d7d"},
    "dwa": {"dwa": "#0a7fc2"},
    "dwatt": {"dwatt": "#d55e00"},
    "concat": {"concat": "#009e73"},
    "mudd": {"mudd": "#7f3cf2", "mudd2": "#b26bea", "mudd4": "#7b56a9", "mudd4_norm": "#8c75b6"},
    "attnres": {"attnres": "#bf3ca4", "attnres_full": "#c8729c", "attnres3": "#9c4297"},
    "hc": {
        "hc2": "#017272",
        "hc4": "#04a3aa",
        "dhc2": "#04869c",
        "dhc4": "#579789",
        "mhc2": "#366e86",
        "mhc4": "#537e75",
    },
    "gated": {"gated2": "#945406", "gated4": "#af8020"},
    "value_residual": {"value_residual": "#788be1"},
}
"""Colours of fusions by family, the family's lead colour first. Okabe and Ito's blue is a little lighter here, for dark
ground."""

FUSION_COLOURS = {name: colour for shades in FAMILY_COLOURS.values() for name, colour in shades.items()}
"""Colour of each fusion."""

HEAD_COLOURS = {
    "last": FAMILY_COLOURS["none"]["none"],
    "deeper": FAMILY_COLOURS["attnres"]["attnres"],
    "mix": FAMILY_COLOURS["mudd"]["mudd"],
}
"""Colours of heads that are no fusions, which no run has beside fusions that are no heads."""

_STEMS = {"mudd": "mudd", "attnres": "attnres", "hc": "hc", "dhc": "hc", "mhc": "hc", "gated": "gated"}
"""Families that have several fusions, by how the names of their fusions begin."""

_SPARE_COLOURS = ("#cc79a7", "#e69f00", "#56b4e9")
"""For fusions outside the table: chosen by the name, so that the colour is the same in every figure and run."""

CONNECTION_COLOURS = {"own block": "#7d7d7d", "embedding": "#d55e00", "earlier block": "#0a7fc2"}
"""By the state that a site reads, in the figure of weights during training."""

RANK_COLOURS = ("#0a7fc2", "#9c4bb5", "#ee7a55", "#a8a8a8")
"""Pareto rank 0 (the front), 1, 2, and all beyond."""

_SYMBOLS = (
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "pentagon",
    "triangle-down",
    "hexagon",
    "star",
    "triangle-left",
    "triangle-right",
    "bowtie",
    "hourglass",
)
"""For periods 1 to 12; period 13 has the first again."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FRONT_LINE = "#8a8a8a"

_LIGHT = {"ink": "#1b1d1f", "quiet": "#5f656b", "rule": "#e3e5e8", "ground": "#ffffff"}
_DARK = {"ink": "#e8e9ea", "quiet": "#a0a6ac", "rule": "#2f3337", "ground": "#15171a"}

_DIVERGING_LIGHT = ["#8f3a00", "#d55e00", "#f3b98d", "#f4f4f4", "#8fc4e8", "#0a7fc2", "#03446b"]
_DIVERGING_DARK = ["#ffb17a", "#d55e00", "#6b3413", "#22262a", "#12466a", "#0a7fc2", "#8fd0fa"]


def fusion_family(fusion: str) -> str:
    """Returns the family of a fusion, also of one outside the table; its own name if it has none."""
    known = next((family for family, shades in FAMILY_COLOURS.items() if fusion in shades), None)
    return known or next((family for stem, family in _STEMS.items() if fusion.startswith(stem)), fusion)


def colour_of(fusion: str) -> str:
    """Returns the fusion's colour, the same in every figure of every run.

    A fusion outside the table has one of its family's shades.
    """
    known = FUSION_COLOURS | HEAD_COLOURS
    if fusion in known:
        return known[fusion]
    shades = tuple(FAMILY_COLOURS.get(fusion_family(fusion), {}).values()) or _SPARE_COLOURS
    return shades[zlib.crc32(fusion.encode()) % len(shades)]


def dash_of(head: str) -> str:
    """Returns the dash of a head's line: heads that read the last layer alone, the baselines, have one."""
    return {"last": "dot", "deeper": "dash"}.get(head, "solid")


def symbol_of(marker: Marker) -> str:
    """Returns the symbol of a marker: by the period, a circle without a fusion, an octagon for other wirings."""
    if marker == "other":
        return "octagon"
    return "circle" if marker is None else _SYMBOLS[(marker - 1) % len(_SYMBOLS)]


def template(*, dark: bool) -> dict[str, Any]:
    """Returns Plotly's template for one colour scheme. Its background is transparent, so that the page's shows."""
    colours = _DARK if dark else _LIGHT
    scale = _DIVERGING_DARK if dark else _DIVERGING_LIGHT
    steps = [[index / (len(scale) - 1), colour] for index, colour in enumerate(scale)]
    axis = {
        "gridcolor": colours["rule"],
        "linecolor": colours["quiet"],
        "tickcolor": colours["quiet"],
        "tickfont": {"color": colours["quiet"]},
        "title": {"font": {"color": colours["ink"], "size": 13}, "standoff": 10},
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
    }
    # An axis of a 3D scene has fewer properties.
    scene_axis = {name: value for name, value in axis.items() if name not in ("title", "automargin")}
    scene_axis |= {"title": {"font": {"color": colours["ink"]}}, "showbackground": False}
    bar = {"outlinewidth": 0, "ticklen": 4, "title": {"font": {"size": 13}}}
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": colours["ink"]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorscale": {"diverging": steps},
            "hoverlabel": {
                "bgcolor": colours["ground"],
                "bordercolor": colours["quiet"],
                "font": {"color": colours["ink"], "family": FONT, "size": 12},
                "align": "left",
            },
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": scene_axis, "yaxis": scene_axis, "zaxis": scene_axis},
            "annotationdefaults": {"font": {"color": colours["ink"], "size": 12}, "bgcolor": colours["ground"]},
            "modebar": {"color": colours["quiet"], "activecolor": colours["ink"], "bgcolor": "rgba(0,0,0,0)"},
        },
        "data": {"heatmap": [{"colorscale": steps, "colorbar": bar}]},
    }

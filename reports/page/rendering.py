"""Renders a page as one self-contained HTML file: it holds the style, the scripts and Plotly, and needs no network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from depthweave.reports.figures.grid import filled_grid
from depthweave.reports.figures.palette import template

_FOLDER = Path(__file__).parent / "assets"


class Figure(NamedTuple):
    """One Plotly figure on a page."""

    id: str
    json: Markup
    caption: str
    height: int
    """In pixels, so that the page can reserve the space before it draws the figure."""
    title: str = ""
    half: bool = False
    """Whether it takes half the width, so that two fit beside each other."""
    choice: str = ""
    """Its label in the list that switches between groups of figures; empty if it is always shown."""


def figure_of(name: str, figure: Any, *, caption: str, title: str = "", half: bool = False, choice: str = "") -> Figure:
    """Returns a Plotly figure for a page. A figure with a `choice` takes half the width."""
    return Figure(
        name,
        _safe(figure.to_json(engine="json")),
        caption,
        int(figure.layout.height),
        title=title,
        half=half or bool(choice),
        choice=choice,
    )


def script_json(value: Any) -> Markup:
    """Returns JSON for a script element: no character of it can end the element or open a tag."""
    return _safe(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def render_page(name: str, *, page: Any, scripts: Sequence[str], has_figures: bool, data: Any = None) -> str:
    """Returns a template's page as HTML. All text from records and specs is escaped.

    `scripts` are files, included in this order. `data` is the JSON that they read. A page that `has_figures` includes
    Plotly and its two colour schemes.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["filled"] = filled_grid
    return environment.get_template(name).render(
        page=page,
        style=Markup(_read("report.css")),
        script=Markup("\n".join(map(_read, scripts))),
        data=None if data is None else script_json(data),
        schemes=script_json({"light": template(dark=False), "dark": template(dark=True)}) if has_figures else None,
        plotly=Markup(_packed_plotly()) if has_figures else None,
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def _packed_plotly() -> str:
    """Returns Plotly's bundle, compressed to a third of its 4.8 MB and encoded in base64."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=6, mtime=0)).decode()


def _safe(text: str) -> Markup:
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

"""A page as one HTML file that needs nothing else, no network and no server: style, scripts and Plotly are in it."""

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

from depthweave.reports.figures.palette import template

_FOLDER = Path(__file__).parent / "assets"


class Figure(NamedTuple):
    """One drawing on a page."""

    id: str
    json: Markup
    caption: str
    height: int
    """Pixels that it takes, known before it is drawn."""
    title: str = ""
    half: bool = False
    """Whether it stands beside the next one where there is room."""
    choice: str = ""
    """Label in the list where several drawings share one place; empty where this one stands alone."""


def figure_of(
    name: str, drawing: Any, *, caption: str, title: str = "", half: bool = False, choice: str = ""
) -> Figure:
    """Plotly's figure as it stands on a page; of several that share a place each takes half the width."""
    return Figure(
        name,
        _safe(drawing.to_json(engine="json")),
        caption,
        int(drawing.layout.height),
        title=title,
        half=half or bool(choice),
        choice=choice,
    )


def script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no character of it can end the element or open a tag."""
    return _safe(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def render_page(name: str, *, page: Any, scripts: Sequence[str], has_figures: bool, data: Any = None) -> str:
    """The page of this template as HTML; everything that came from outside is escaped.

    `scripts` are files that stand in the page in this order, `data` what they find under that name; Plotly and its two
    colour schemes are there where the page `has_figures`.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
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
    """Plotly's bundle, compressed, as letters that may stand in a page: a third of its 4.8 MB."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=6, mtime=0)).decode()


def _safe(text: str) -> Markup:
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

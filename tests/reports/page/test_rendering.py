"""JSON in a page cannot end its script element, and every page has the same security policy."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go

import depthweave.reports.page.rendering as rendering
from depthweave.reports.page.rendering import figure_of, script_json

_TEMPLATES = Path(rendering.__file__).parent / "assets"


def test_script_json_cannot_leave_its_element() -> None:
    text = script_json({"a": "</script><!-- & \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!-- & \u2028"}


def test_figure_keeps_the_height_that_it_will_take() -> None:
    drawing = go.Figure(layout={"height": 123, "title": {"text": "</script>"}})
    alone, chosen = figure_of("a", drawing, caption="caption"), figure_of("b", drawing, caption="caption", choice="one")
    assert (alone.height, alone.half, chosen.half) == (123, False, True)
    assert "</script>" not in alone.json
    assert json.loads(alone.json)["layout"]["title"]["text"] == "</script>"


def test_policy_style_and_scripts_of_every_page_are_the_layout_s() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in _TEMPLATES.glob("*.html.j2")}
    policy = pages.pop("layout.html.j2")
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in policy
    assert "unsafe-eval" not in policy
    del pages["figure_macros.html.j2"]
    assert len(pages) == 2
    for text in pages.values():
        assert text.startswith('{% extends "layout.html.j2" %}')
        assert not {"<script", "<style", "http-equiv"} & {
            word for word in ("<script", "<style", "http-equiv") if word in text
        }

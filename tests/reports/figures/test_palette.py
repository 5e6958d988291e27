"""Colours are distinct, and the same everywhere."""

from __future__ import annotations

import itertools

import plotly.graph_objects as go
import pytest

from depthweave.reports.figures.key import key_of
from depthweave.reports.figures.palette import FUSION_COLOURS, colour_of, symbol_of, template
from depthweave.spaces import FUSIONS
from tests.reports.synthetic import make_record, synthetic_trials

GROUNDS = {False: "#ffffff", True: "#15171a"}


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_registered_fusion_has_a_colour_of_its_own() -> None:
    assert set(FUSIONS) <= set(FUSION_COLOURS)
    assert len(set(FUSION_COLOURS.values())) == len(FUSION_COLOURS)


@pytest.mark.parametrize("ground", GROUNDS.values())
def test_colours_stand_out_on_light_and_dark(ground: str) -> None:
    # WCAG 2.1 asks 3:1 of graphics.
    assert all(_contrast(colour, ground) >= 3 for colour in FUSION_COLOURS.values())


def test_unknown_fusion_has_a_colour_and_always_the_same() -> None:
    assert colour_of("muddformer") == colour_of("muddformer")
    assert colour_of("muddformer") not in FUSION_COLOURS.values()


def test_symbols_of_periods_differ_up_to_twelve() -> None:
    symbols = [symbol_of(period) for period in (None, *range(1, 13))]
    assert len(set(symbols)) == 13


@pytest.mark.parametrize("dark", [False, True])
def test_template_is_one_that_plotly_takes(dark: bool) -> None:
    made = go.Figure(go.Heatmap(z=[[0, 1]]), layout={"template": template(dark=dark)})
    text = made.layout.template.layout.font.color
    assert _contrast(text, GROUNDS[dark]) >= 7


def test_key_lists_what_occurs_and_only_that() -> None:
    texts = list(itertools.chain(*([entry.text for entry in group] for group in key_of([make_record(0)]))))
    assert texts == ["dwa", "period 5", "front", "reference", "dominated"]
    everything = key_of([trial.record for trial in synthetic_trials()])
    assert [entry.text for entry in everything[0]] == ["fusion none", "concat", "dwa", "dwatt"]
    assert "stopped early" in [entry.text for entry in everything[2]]
    for entry in itertools.chain(*everything):
        assert entry.outline

"""Colours are distinct, and the same everywhere."""

from __future__ import annotations

import itertools
import math
import operator

import plotly.graph_objects as go
import pytest

from depthweave.reports.figures.key import key_of
from depthweave.reports.figures.palette import (
    FAMILY_COLOURS,
    FUSION_COLOURS,
    colour_of,
    fusion_family,
    symbol_of,
    template,
)
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
    assert colour_of("mystery") == colour_of("mystery")
    assert colour_of("mystery") not in FUSION_COLOURS.values()


def test_unknown_fusion_of_a_family_has_one_of_its_shades() -> None:
    assert colour_of("mudd8") in FAMILY_COLOURS["mudd"].values()
    assert colour_of("dhc16") in FAMILY_COLOURS["hc"].values()
    assert [fusion_family(name) for name in ("mudd2", "mhc4", "value_residual", "mystery")] == [
        "mudd",
        "hc",
        "value_residual",
        "mystery",
    ]


def test_first_four_fusions_keep_their_colours() -> None:
    assert [colour_of(name) for name in ("none", "dwa", "dwatt", "concat")] == [
        "#7d7d7d",
        "#0a7fc2",
        "#d55e00",
        "#009e73",
    ]


def _seen(colour: str, vision: str) -> list[float]:
    """Returns the OKLab coordinates, times 100, of a colour as seen with a colour vision."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    seen = [max(0.0, sum(map(operator.mul, row, linear))) for row in VISIONS[vision]]
    cones = [sum(map(operator.mul, row, seen)) ** (1 / 3) for row in _CONES]
    return [100 * sum(map(operator.mul, row, cones)) for row in _OKLAB]


VISIONS = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red cones": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no green cones": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "no blue cones": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""Matrices on linear RGB: Machado, Oliveira, Fernandes, 2009."""
_CONES = ((0.4122, 0.5363, 0.0514), (0.2119, 0.6807, 0.1074), (0.0883, 0.2817, 0.6300))
_OKLAB = ((0.2105, 0.7936, -0.0041), (1.9780, -2.4286, 0.4506), (0.0259, 0.7828, -0.8087))


@pytest.mark.parametrize("vision", VISIONS)
def test_families_are_told_apart_with_every_colour_vision(vision: str) -> None:
    # A distance of 2 is just noticeable. The nearest pair, grey and green without green cones, is Okabe and Ito's own.
    leads = [next(iter(shades.values())) for shades in FAMILY_COLOURS.values()]
    pairs = itertools.combinations(leads, 2)
    assert min(math.dist(_seen(one, vision), _seen(other, vision)) for one, other in pairs) > 3.5


def test_shades_are_told_apart() -> None:
    pairs = itertools.combinations(FUSION_COLOURS.values(), 2)
    assert min(math.dist(_seen(one, "full"), _seen(other, "full")) for one, other in pairs) > 4.5


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


def test_key_leaves_out_what_the_page_names_elsewhere() -> None:
    records = [trial.record for trial in synthetic_trials()]
    whole, rest = key_of(records), key_of(records, named={"none", "concat", "dwa", "dwatt", "stopped early"})
    assert rest[0] == whole[1]
    assert [entry for entry in whole[2] if entry not in rest[1]] == [
        entry for entry in whole[2] if entry.text == "stopped early"
    ]
    assert [entry.text for entry in key_of(records, named={"dwa"})[0]] == ["fusion none", "concat", "dwatt"]

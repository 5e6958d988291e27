"""The wiring on the card, and the filter of families, in headless Chromium: irregular wirings, mouse and keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from tests.reports.browser import Browser, find_browser
from tests.reports.irregular import irregular_records
from tests.reports.synthetic import make_info, make_trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine: install it to test the page"),
]
FIRST_STATES, MIRROR, RANDOM = 3, 4, 5
"""Trials of `irregular_records`. The first has no recorded weights here."""


@pytest.fixture(scope="module", params=[12, 24], ids=["12 blocks", "24 blocks"])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    store = RunStore.create(tmp_path_factory.mktemp("runs") / "irregular", info=make_info(), spec_yaml="")
    for record in irregular_records(request.param):
        trial = make_trial(record)
        weights = [] if record.trial == FIRST_STATES else trial.weights
        store.append(trial.record, evaluations=trial.evaluations, weights=weights)
    with Browser(width=1280) as opened:
        opened.open(Path(write_report(store)))
        yield opened
        assert opened.complaints == []


def _show(browser: Browser, trial: int) -> None:
    browser.run(f"document.querySelector('[data-show=\"{trial}\"]').click()")


def _point_at(browser: Browser, selector: str) -> str:
    """What the page says while the pointer is on the first such element of the wiring."""
    element = f"document.querySelector({json.dumps(f'.wiring {selector}')})"
    browser.run(f"{element}.dispatchEvent(new PointerEvent('pointerover', {{bubbles: true}}))")
    return str(browser.run("document.querySelector('.wiring .names').textContent"))


def _named(browser: Browser, part: str) -> int:
    return int(browser.run(f"document.querySelectorAll('.wiring {part}.named').length"))


def _depth(browser: Browser) -> int:
    return len(browser.run("[...document.querySelectorAll('.arcs [data-block]')].map(() => 1)")) - 1


@pytest.mark.parametrize("trial", [1, 2, FIRST_STATES, MIRROR, RANDOM])
def test_arcs_and_cells_are_the_connections_of_the_wiring(browser: Browser, trial: int) -> None:
    _show(browser, trial)
    depth = _depth(browser)
    record = irregular_records(depth)[trial]
    assert browser.run("document.querySelector('#card').dataset.trial") == str(trial)
    pairs = [(block, source) for block, sources in json.loads(record.wiring) for source in sources]
    earlier = [(block, source) for block, source in pairs if block != source]
    assert browser.run("document.querySelectorAll('.arcs .arc').length") == len(earlier)
    assert browser.run("document.querySelectorAll('.matrix .cell').length") == len(pairs)
    assert browser.run("document.querySelectorAll('.arcs .site').length") == len(json.loads(record.wiring))
    caption = browser.run("document.querySelector('.wiring figcaption').textContent")
    assert f" with {len(earlier)} connections (arcs)" in caption
    assert ("no weights" in caption) == (trial == FIRST_STATES)
    # A cell is in the column of its source and the row of its site.
    places = browser.run(
        "[...document.querySelectorAll('.matrix .cell')].map((it) => [Number(it.getAttribute('y')),"
        " Number(it.getAttribute('x'))])"
    )
    cell = min(314 / (depth + 1), 34)
    assert [(round((y - 4) / cell) + 1, round((x - 40) / cell)) for y, x in places] == pairs
    assert len(browser.run("[...document.querySelectorAll('.words li')].map(() => 1)")) == len(
        json.loads(record.wiring)
    )


def test_pointing_names_connections_in_both_pictures(browser: Browser) -> None:
    _show(browser, FIRST_STATES)
    depth = _depth(browser)
    assert _point_at(browser, ".arcs [data-block='5']") == (
        "The site after block 5 reads the embedding and block 1. No later site reads block 5."
    )
    assert (_named(browser, ".arc"), _named(browser, ".cell")) == (2, 2)
    text = _point_at(browser, ".arcs [data-block='1']")
    assert text == f"The site after block 1 reads the embedding. Block 1 is read after blocks 2 to {depth}."
    assert _point_at(browser, ".arcs .target[data-connection]") == "The site after block 1 reads the embedding."
    assert (_named(browser, ".arc"), _named(browser, ".cell")) == (1, 1)
    browser.run("document.querySelector('.pictures').dispatchEvent(new PointerEvent('pointerleave'))")
    assert _named(browser, ".arc") == 0
    _show(browser, MIRROR)
    assert _point_at(browser, ".arcs [data-block='0']").startswith(f"The embedding is read after block {depth}.")
    assert ", weight " in _point_at(browser, ".matrix .cell")


def test_arrow_keys_go_through_sites_and_what_they_read(browser: Browser) -> None:
    _show(browser, FIRST_STATES)
    depth = _depth(browser)
    told = "document.querySelector('.wiring .names').textContent"
    browser.run("document.querySelector('.wiring .arcs').focus()")
    browser.press("ArrowUp")
    assert browser.run(told) == f"The site after block {depth} reads the embedding and block 1."
    browser.press("ArrowRight")
    assert browser.run(told) == f"The site after block {depth} reads the embedding."
    browser.press("ArrowLeft")
    assert browser.run(told) == f"The site after block {depth} reads its own block."
    browser.press("ArrowDown")
    assert browser.run(told) == "The site after block 1 reads the embedding."
    browser.press("Escape")
    assert _named(browser, ".cell") == 0
    label = browser.run("document.querySelector('.wiring .arcs').getAttribute('aria-label')")
    assert f"{depth} sites, {2 * depth - 1} connections." in label


def test_the_colour_of_a_connection_is_its_weight(browser: Browser) -> None:
    _show(browser, MIRROR)
    fills = browser.run("[...document.querySelectorAll('.matrix .cell')].map((it) => getComputedStyle(it).fill)")
    arcs = browser.run("[...document.querySelectorAll('.arcs .arc')].map((it) => getComputedStyle(it).stroke)")
    # Weights differ and their signs too. A colour without weights is one for all arcs.
    assert len(set(fills)) > 3
    assert len(set(arcs)) > 3
    _show(browser, FIRST_STATES)
    plain = browser.run("[...document.querySelectorAll('.arcs .arc')].map((it) => getComputedStyle(it).stroke)")
    assert len(set(plain)) == 1


def test_the_filter_of_families_hides_their_points(browser: Browser) -> None:
    drawn = "[...document.querySelectorAll('#front-plot .mark')].map((it) => Number(it.dataset.trial)).sort().join()"
    assert browser.run(drawn) == "0,1,2,3,4,5"
    tick = "document.querySelector('[data-filter=family][value={}]').click()"
    browser.run(tick.format('"edges"'))
    assert browser.run(drawn) == "0,1,2"
    browser.run(tick.format('"k×p"'))
    assert browser.run(drawn) == "0"
    for value in ('"edges"', '"k×p"'):
        browser.run(tick.format(value))


def test_a_narrow_page_draws_deep_wirings_below_each_other(browser: Browser) -> None:
    _show(browser, RANDOM)
    wide = browser.run("document.querySelectorAll('.wiring.deep').length")
    assert wide == int(_depth(browser) > 16)
    browser.resize(390, 900)
    browser.wait("!document.querySelector('.wiring.deep')")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.resize(1280, 900)
    browser.wait(f"document.querySelectorAll('.wiring.deep').length === {wide}")

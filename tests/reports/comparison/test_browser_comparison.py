"""The comparison's page in headless Chromium: drawn in both schemes, at both widths, without an error or a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthweave.reports.comparison.comparison import compare
from depthweave.reports.comparison.page import comparison_page_of, render_comparison
from tests.reports.browser import Browser, find_browser
from tests.reports.comparing import make_run, make_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine: install it to test the page"),
]
_EVIL = "<img src=x onerror=alert(1)>"
_INK = "document.querySelector('.plot .xtitle').style.fill"


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs; the name of one looks like an HTML element."""
    folder = tmp_path_factory.mktemp("runs")
    stores = [
        make_store(folder / "small", make_run(run_id="a")),
        make_store(folder / _EVIL, make_run(run_id="b", loss=1.4, hardware=_EVIL)),
        make_store(folder / "large", make_run(run_id="c", loss=1.3)),
    ]
    path = folder / "comparison.html"
    path.write_text(render_comparison(comparison_page_of(compare(stores))), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_comparison_is_drawn_for_the_system_s_scheme_and_the_button_s(page_path: Path, width: int) -> None:
    with Browser(width=width) as browser:
        browser.prefer("dark")
        browser.open(page_path)
        # Fronts over latency and over memory, and three orders for each of three pairs of runs.
        assert browser.see_figures() == 2 + 3 * 3
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        dark = browser.run(_INK)
        browser.run("scrollTo(0, 0)")
        browser.run("document.querySelector('#scheme').click()")
        assert browser.run("document.querySelector('#scheme').textContent") == "dark"
        # A figure gets the new colours when it is near the visible part.
        browser.wait(f"(document.querySelector('.plot').scrollIntoView(), {_INK} !== {dark!r})")
        assert browser.complaints == []
        assert browser.requests == [page_path.as_uri()]


def test_names_of_runs_stay_text_in_words_and_drawings(page_path: Path) -> None:
    with Browser(width=1280) as browser:
        browser.open(page_path)
        browser.see_figures()
        assert _EVIL in browser.run("document.querySelector('h1').textContent")
        legends = browser.run("[...document.querySelectorAll('.legendtext')].map((it) => it.textContent)")
        assert {"small", _EVIL} <= set(legends)
        assert browser.run("document.querySelectorAll('img').length") == 0
        assert browser.complaints == []

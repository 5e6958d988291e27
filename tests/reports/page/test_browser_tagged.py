"""The page of a search over heads in a browser, wide and narrow: figures are drawn, and scripts speak of errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthweave.reports.analysis.recommend import recommendation
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.figures.tagged_examples import write_examples
from depthweave.reports.page.page import write_report
from tests.reports.browser import Browser, find_browser
from tests.reports.tagged import EXAMPLES, TAGGED_OBJECTIVES, tagged_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine: install it to test the page"),
]


@pytest.mark.parametrize("width", [1280, 390])
def test_page_of_heads_is_drawn_and_fits(width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = tagged_run(tmp_path / "run", monkeypatch)
    write_examples(store, EXAMPLES)
    page = Path(write_report(store))
    view = RunView.of(store.records(), objectives=TAGGED_OBJECTIVES, tolerances={})
    with Browser(width=width) as browser:
        browser.open(page)
        assert browser.see_figures() > 10
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelector('#recommendation').textContent") == recommendation(view, limits={})
        # The card of the chosen head opens at once.
        card = browser.run("document.querySelector('#card').textContent")
        assert "concat 1×1" in card
        assert "perplexity" not in card
        assert browser.run("[...document.querySelectorAll('mark.wrong')].length") == 3
        browser.run(
            "(() => { const list = document.querySelector('.choose select'); list.value = '50 shots';"
            " list.dispatchEvent(new Event('change')); })()"
        )
        shown = "document.querySelector('#types-dwatt-50')"
        browser.wait(f"({shown}.scrollIntoView(), {shown}.querySelector('.main-svg'))")
        assert browser.run("document.querySelector('#layers-400').getClientRects().length") == 0
        assert browser.complaints == []

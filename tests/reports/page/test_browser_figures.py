"""The page's Plotly figures in headless Chromium: each is drawn, whatever fails or changes in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from tests.reports.browser import Browser, find_browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine: install it to test the page"),
]
_NO_OBSERVER = "window.IntersectionObserver = class { observe() {} };"
_FAILING_REACT = """let library;
Object.defineProperty(window, 'Plotly', { configurable: true, get: () => library, set: (value) => {
  const react = value.react, failed = new Set();
  value.react = (plot, ...rest) => {
    if (failed.has(plot.id)) return react(plot, ...rest);
    failed.add(plot.id);
    return Promise.reject(new Error('planted'));
  };
  library = value;
} });"""
_SLOW_REACT = """let library;
Object.defineProperty(window, 'Plotly', { configurable: true, get: () => library, set: (value) => {
  const react = value.react;
  window.running = new Map();
  window.most = 0;
  value.react = async (plot, ...rest) => {
    running.set(plot.id, (running.get(plot.id) ?? 0) + 1);
    most = Math.max(most, running.get(plot.id));
    await new Promise((done) => setTimeout(done, 300));
    await react(plot, ...rest);
    running.set(plot.id, running.get(plot.id) - 1);
  };
  library = value;
} });"""


@pytest.fixture(scope="module")
def page_path(full_store: RunStore) -> Path:
    return Path(write_report(full_store))


def test_figures_are_drawn_even_if_the_observer_never_reports(page_path: Path) -> None:
    with Browser(width=1280) as browser:
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=_NO_OBSERVER)
        browser.open(page_path)
        assert browser.see_figures() >= 4
        assert browser.complaints == []


def test_a_figure_that_plotly_failed_to_draw_is_drawn_again(page_path: Path) -> None:
    with Browser(width=1280) as browser:
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=_FAILING_REACT)
        browser.open(page_path)
        assert browser.see_figures() >= 4
        assert browser.complaints
        assert all("planted" in text for text in browser.complaints)


def test_a_scheme_that_changes_during_a_drawing_is_drawn_after_it(page_path: Path) -> None:
    plot = "document.querySelector('#curves')"
    with Browser(width=1280) as browser:
        browser.prefer("light")
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=_SLOW_REACT)
        browser.open(page_path)
        browser.wait(f"({plot}.scrollIntoView(), {plot}.dataset.state === 'drawing' && window.running?.size)")
        browser.run("document.querySelector('#scheme').click()")
        browser.wait(f"{plot}.dataset.drawn === 'dark wide'")
        assert browser.run("most") == 1
        assert browser.complaints == []


def test_a_choice_that_is_shown_is_drawn_without_the_observer(page_path: Path) -> None:
    with Browser(width=1280) as browser:
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=_NO_OBSERVER)
        browser.open(page_path)
        browser.run("document.querySelector('.choose select').scrollIntoView()")
        last = browser.run("[...document.querySelector('.choose select').options].at(-1).textContent")
        browser.run(
            f"(() => {{ const list = document.querySelector('.choose select'); list.value = {json.dumps(last)};"
            " list.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )
        browser.wait(f"document.querySelector('[data-choice={json.dumps(last)}] .main-svg')")
        assert browser.complaints == []

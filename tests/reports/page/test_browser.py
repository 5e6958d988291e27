"""The page in headless Chromium: what a reader clicks, at both widths, without an error and without a request."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.recommend import limits_of, recommendation
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import averaged
from depthweave.reports.page.page import write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.browser import Browser, find_browser
from tests.reports.confirmed import confirmed_records, seeded
from tests.reports.many import many_records, many_store, page_times
from tests.reports.synthetic import OBJECTIVES, make_info, make_record, make_trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine: install it to test the page"),
]
WIDE, NARROW = 1280, 390


@pytest.fixture(scope="module")
def page_path(full_store: RunStore) -> Path:
    return Path(write_report(full_store))


@pytest.fixture(scope="module", params=[WIDE, NARROW])
def window(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with Browser(width=request.param) as opened:
        yield opened


@pytest.fixture
def browser(window: Browser, page_path: Path) -> Iterator[Browser]:
    window.complaints.clear()
    window.requests.clear()
    window.prefer("light")
    window.open(page_path)
    yield window
    assert window.complaints == []
    assert set(window.requests) == {page_path.as_uri()}


def _choose(browser: Browser, selector: str, value: str) -> None:
    browser.run(
        f"(() => {{ const it = document.querySelector({json.dumps(selector)}); it.value = {json.dumps(value)};"
        " for (const kind of ['input', 'change']) it.dispatchEvent(new Event(kind, {bubbles: true})); })()"
    )


def _tick(browser: Browser, name: str, value: str) -> None:
    browser.run(f"document.querySelector('[data-filter={name}][value={json.dumps(value)}]').click()")


def _front_trials(browser: Browser) -> set[int]:
    found = browser.run("[...document.querySelectorAll('#front-plot .member')].map((it) => Number(it.dataset.trial))")
    return set(found)


def _drawn_trials(browser: Browser) -> set[int]:
    found = browser.run("[...document.querySelectorAll('#front-plot .mark')].map((it) => Number(it.dataset.trial))")
    return set(found)


def _expected(records: list[Record], *axes: str) -> set[int]:
    return {record.trial for record in front(records, objectives=axes)}


def test_axes_and_filters_redraw_the_front_that_python_finds(browser: Browser, full_store: RunStore) -> None:
    records = full_store.records()
    for x, y in (("latency", "perplexity"), ("memory_bytes", "latency"), ("perplexity", "parameters")):
        _choose(browser, "[name=x]", x)
        _choose(browser, "[name=y]", y)
        assert _front_trials(browser) == _expected(records, x, y)
    _choose(browser, "[name=x]", "latency")
    _choose(browser, "[name=y]", "perplexity")
    _tick(browser, "fusion", "dwa")
    _tick(browser, "depth", "8")
    kept = [it for it in records if it.fusion != "dwa" and it.depth != 8]
    assert _front_trials(browser) == _expected(kept, "latency", "perplexity")
    assert _drawn_trials(browser) == {it.trial for it in kept if it.state in ("complete", "pruned")}
    _tick(browser, "state", "pruned")
    assert _drawn_trials(browser) == {it.trial for it in kept if it.state == "complete"}


def test_the_filter_of_fusions_is_their_key_for_mouse_keyboard_and_paper(browser: Browser) -> None:
    texts = browser.run(
        "[...document.querySelectorAll('.chart .box, .chart .key li')].map((it) => it.innerText.trim())"
    )
    assert all(texts.count(name) == 1 for name in ("none", "concat", "dwa", "dwatt", "stopped early")), texts
    assert "fusion none" not in texts
    dwa = "document.querySelector('[data-filter=fusion][value=dwa]')"
    colour = browser.run(f"getComputedStyle({dwa}.parentElement.querySelector('.swatch')).backgroundColor")
    fills = "[...document.querySelectorAll('#front-plot .member')].map((it) => getComputedStyle(it).fill)"
    assert colour in browser.run(fills)
    browser.run(f"{dwa}.focus()")
    browser.press(" ")
    assert not browser.run(f"{dwa}.checked")
    assert colour not in browser.run(fills)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    seen = "(selector) => document.querySelector(selector).getClientRects().length > 0"
    browser.send("Emulation.setEmulatedMedia", media="print")
    shown = {part: browser.run(f"({seen})('{part}')") for part in (".is-key .swatch", ".is-key input", ".axes")}
    browser.send("Emulation.setEmulatedMedia", media="")
    assert shown == {".is-key .swatch": True, ".is-key input": False, ".axes": False}


def test_a_logarithmic_axis_moves_points_and_not_the_front(browser: Browser) -> None:
    places = "[...document.querySelectorAll('#front-plot .member')].map((it) => it.getAttribute('transform')).join()"
    before, trials = browser.run(places), _front_trials(browser)
    browser.run("document.querySelector('[name=log-x]').click()")
    assert browser.run(places) != before
    assert _front_trials(browser) == trials
    _choose(browser, "[name=colour]", "memory_bytes")
    assert (
        browser.run("new Set([...document.querySelectorAll('#front-plot .member')].map((it) => it.style.fill)).size")
        > 2
    )


def test_a_click_on_a_point_opens_its_card(browser: Browser, full_store: RunStore) -> None:
    browser.run("document.querySelector('#front-plot').scrollIntoView({block: 'center'})")
    for trial in sorted(_front_trials(browser))[:3]:
        spot = browser.run(
            f"(() => {{ const box = document.querySelector('#front-plot .member[data-trial=\"{trial}\"]')"
            ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        browser.click(*spot)
        assert browser.run("Number(document.querySelector('#card').dataset.trial)") == trial
        record = next(it for it in full_store.records() if it.trial == trial)
        told = browser.run("document.querySelector('#card').textContent")
        assert record.architecture_id in told
        assert f"{record.perplexity:.3f}" in told
        assert f"--select id:{record.architecture_id}" in told
        # A site's own block has no arc.
        num_connections = sum(len(sources) - 1 for _, sources in json.loads(record.wiring))
        assert browser.run("document.querySelectorAll('#card-figures .arc').length") == num_connections
        assert "Learning curve" in browser.run("document.querySelector('#card-figures').textContent")


def test_the_keyboard_goes_along_the_front_and_into_the_card(browser: Browser, full_store: RunStore) -> None:
    order = sorted(
        front(full_store.records(), objectives=("perplexity", "latency")), key=lambda it: (it.latency, it.trial)
    )
    browser.run("document.querySelector('#front-plot').focus()")
    seen = []
    for _ in order:
        browser.press("ArrowRight")
        seen.append(browser.run("Number(document.querySelector('#card').dataset.trial)"))
    begin = seen.index(order[0].trial)
    assert seen[begin:] + seen[:begin] == [it.trial for it in order]
    browser.press("Enter")
    assert browser.run("document.activeElement.parentElement.parentElement.id") == "card"


def test_copying_gives_the_command(browser: Browser) -> None:
    browser.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.run("document.querySelector('#card .copy').click()")
    browser.wait("document.querySelector('#card .copy').textContent === 'copied'")
    command = browser.run("document.querySelector('#card .command code').textContent")
    assert browser.run("navigator.clipboard.readText()") == command
    assert command.startswith("depthweave export ")


def test_dark_and_light_by_system_and_by_button(browser: Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.prefer("dark")
    browser.wait(f"{ground} !== {json.dumps(light)}")
    browser.run("document.querySelector('#scheme').click()")
    assert browser.run(ground) == light
    browser.run("document.querySelector('#scheme').click()")
    assert browser.run(ground) != light


def test_every_figure_is_drawn_when_it_comes_into_view_and_nothing_is_wider_than_the_page(browser: Browser) -> None:
    browser.run(
        "document.querySelectorAll('.plot').forEach((it) => it.closest('[data-choice]')?.removeAttribute('hidden'))"
    )
    assert browser.see_figures() >= 4
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def _limit_sets(records: list[Record]) -> list[dict[str, int]]:
    """Settings of the sliders: each alone, and some of both."""
    stops = {name: len(limits_of(averaged(records), column=name)) for name in ("latency", "memory_bytes")}
    draw = random.Random(0)
    both = [{name: draw.randrange(num) for name, num in stops.items()} for _ in range(20)]
    alone = [{name: place} for name, num in stops.items() for place in range(0, num, max(1, num // 12))]
    return [{}, dict.fromkeys(stops, 0), *alone, *both]


def _assert_recommends(browser: Browser, records: list[Record]) -> set[str]:
    """Every setting's sentence is Python's; returned are those sentences."""
    view = RunView.of(records, objectives=OBJECTIVES)
    stops = {name: limits_of(view.averaged, column=name) for name in ("latency", "memory_bytes")}
    seen = set()
    for setting in _limit_sets(records):
        for name, found in stops.items():
            _choose(browser, f"[data-limit={name}]", str(setting.get(name, len(found))))
        limits = {name: stops[name][place] for name, place in setting.items()}
        told = recommendation(view, limits=limits)
        assert browser.run("document.querySelector('#recommendation').textContent") == told
        seen.add(told)
    return seen


def test_sliders_recommend_what_python_recommends(browser: Browser, full_store: RunStore) -> None:
    seen = _assert_recommends(browser, full_store.records())
    assert len(seen) > 8
    assert all("ot settled" in told for told in seen if "Lowest" in told)


def test_sliders_say_what_is_settled_in_a_confirmed_run(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="")
    records: list[Record] = []
    for number, record in enumerate(confirmed_records()):
        trial = make_trial(dataclasses.replace(record, memory_bytes=(42 - number % 3) * 2**20))
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
        records.append(trial.record)
    path = Path(write_report(store))
    with Browser(width=WIDE) as browser:
        browser.open(path)
        seen = _assert_recommends(browser, store.records())
        assert "No complete trial meets these limits." in seen
        assert any("Settled: of" in told for told in seen)
        assert any("Not settled: of" in told for told in seen)
        assert browser.complaints == []


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    store = RunStore.create(tmp_path / "run", info=make_info(name=evil, corpus=evil), spec_yaml=evil)
    names = ("architecture_id", "fusion", "reason", "hardware")
    for number, state in enumerate(("complete", "complete", "pruned", "failed")):
        changes: dict[str, Any] = {name: evil + str(number) for name in names}
        values = {"perplexity": 4.0 - number} if state == "complete" else {"perplexity": None, "loss": None}
        trial = make_trial(make_record(number, state=state, latency=1.0 + number, **changes, **values))
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    path = Path(write_report(store))
    with Browser(width=WIDE) as browser:
        browser.open(path)
        browser.see_figures()
        assert browser.run("document.querySelector('h1').textContent") == evil
        assert browser.run("document.querySelector('#card h3').textContent").startswith(evil)
        assert browser.run("document.querySelectorAll('img').length") == 0
        assert browser.complaints == []
        assert browser.requests == [path.as_uri()]


def test_thousands_of_records_open_and_answer_in_time(tmp_path: Path) -> None:
    store = many_store(tmp_path / "run", number=2_000)
    path = Path(write_report(store))
    assert path.stat().st_size < 8e6
    times = page_times(path)
    assert times.open_s < 3.0, times
    # The page's own processor time: on a machine that others use too the clock on the wall tells of them.
    assert max(times.busy_s) < 0.2, times


def test_more_of_them_are_thinned_and_the_page_says_so(tmp_path: Path) -> None:
    path = Path(write_report(many_store(tmp_path / "run", number=10_000)))
    assert path.stat().st_size < 8e6
    with Browser(width=WIDE) as browser:
        browser.open(path)
        drawn = len(_drawn_trials(browser))
        assert drawn < 4_000
        told = browser.run("document.querySelector('.chart').textContent")
        assert f"{10_000 - drawn:,} trials that no front needs, dominated or stopped, are not shown" in told
        records = many_records(10_000)
        for x, y in (("latency", "perplexity"), ("memory_bytes", "step_latency")):
            _choose(browser, "[name=x]", x)
            _choose(browser, "[name=y]", y)
            assert _front_trials(browser) == _expected(records, x, y)
        assert browser.complaints == []


def test_a_run_without_a_significant_difference_says_so(tmp_path: Path) -> None:
    """Five fresh seeds of four architectures that differ by less than the noise between seeds."""
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="")
    draw = random.Random(1)
    for number, fusion in enumerate(("none", "dwa", "dwatt", "concat")):
        pattern = {"dilation": None, "period": None} if fusion == "none" else {"dilation": 1, "period": 1}
        losses = {seed: 1.4 + draw.gauss(0, 0.05) for seed in range(6)}
        same = {"fusion": fusion, "reference": fusion == "none", "latency": 1.0 + 0.02 * number, **pattern}
        for record in seeded(f"id{number}", losses, trial=number, **same):
            trial = make_trial(record)
            store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    with Browser(width=NARROW) as browser:
        browser.open(Path(write_report(store)))
        assert "which includes zero: not settled." in browser.run("document.querySelector('header').textContent")
        assert "Not settled: of the 3 others" in browser.run("document.querySelector('#recommendation').textContent")
        text = browser.run("document.body.textContent")
        assert "0 are settled: at least 5 fresh seeds" in text
        assert browser.complaints == []


@pytest.mark.parametrize("states", [("complete",), ("pruned",), ("pruned", "failed"), ("complete", "diverged")])
def test_the_smallest_runs_open_without_an_error(tmp_path: Path, states: tuple[str, ...]) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="")
    for number, state in enumerate(states):
        values = {} if state == "complete" else {"perplexity": None, "loss": None, "bits_per_byte": None}
        trial = make_trial(make_record(number, state=state, tokens=150_000, **values))
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    with Browser(width=NARROW) as browser:
        browser.open(Path(write_report(store)))
        assert browser.run("document.querySelectorAll('#front-plot .mark').length") == 1
        assert browser.run("document.querySelector('#card').hidden") == ("complete" not in states)
        assert browser.complaints == []

"""The page is self-contained, says what the store holds, and escapes all text from outside."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.selection import select
from depthweave.reports.page.page import page_of, render, write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.confirmed import confirmed_records
from tests.reports.synthetic import OBJECTIVES, make_info, make_record, make_trial

Append = Callable[[Record], None]
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}</style>'


class _Reader(HTMLParser):
    """Collects elements, their addresses, and the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.json: dict[str, str] = {}
        self.text: list[str] = []
        self._inside: list[str] = []
        self._json_for = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self._inside.append(tag)
        self._json_for = values.get("data-for") or values.get("id") or ""
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") and value]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            continue

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "script" and self._json_for:
            self.json[self._json_for] = data
        elif inside not in ("script", "style"):
            self.text.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    # Without Plotly, because html.parser would need seconds for it.
    reader.feed(re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", html, flags=re.DOTALL))
    return reader


def _text(reader: _Reader) -> str:
    return " ".join(" ".join(reader.text).split())


@pytest.fixture(scope="module")
def page_html(full_store: RunStore) -> str:
    return Path(write_report(full_store)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(page_html: str) -> _Reader:
    return _read(page_html)


def test_report_is_one_file_without_addresses(page: _Reader, page_html: str) -> None:
    assert page.addresses == ["data:,"]
    assert "link" not in page.tags or page.tags.count("link") == 1
    packed = re.search(r'<script type="text/plain" id="plotly">(.*?)</script>', page_html, flags=re.DOTALL)
    assert packed is not None
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed[1]))
    # The page allows no connection, not even by a library.
    assert "default-src 'none'" in page_html
    assert "connect-src" not in page_html


def test_report_figures_are_there_and_parse(page: _Reader) -> None:
    assert {"curves", "progress"} <= set(page.json)
    assert any(name.startswith("map-") for name in page.json)
    assert len(json.loads(page.json.pop("data"))["points"]["trial"]) == 30
    for name, text in page.json.items():
        figure = json.loads(text)
        assert set(figure) == ({"light", "dark"} if name == "templates" else {"data", "layout"})


def test_report_has_a_section_for_every_question(full_store: RunStore) -> None:
    page = page_of(full_store)
    assert [section.title for section in page.sections] == [
        "Fusions at equal cost",
        "Across sizes",
        "Wirings",
        "Connections that good members share",
        "What the connections learnt",
        "What matters",
        "Learning curves",
        "How the search went",
    ]
    assert page.explorer is not None
    assert page.explorer.num_left_out == 0
    names = [figure.id for section in page.sections for figure in section.figures]
    assert {"parallel", "cosines", "progress-tokens", "timeline", "shared-12", "shared-difference-8"} <= set(names)
    assert len(set(names)) == len(names)
    # With one seed nothing has an interval, and the page says so.
    assert "differences" not in names
    assert "not settled" in page.sections[0].sentences[0]
    assert "Not settled" in page.recommendation


def test_report_says_answer_and_counts(page: _Reader, full_store: RunStore) -> None:
    text = _text(page)
    best = select(full_store.records(), objectives=OBJECTIVES)
    assert f"The lowest perplexity is {best.perplexity:.3f}" in text
    assert "One seed, by which the best was chosen: not settled." in text
    assert "24 ran to the end" in text
    assert "worker died <out of memory> & was retried twice" in text
    assert "1.2 M parameters, the budget is 600 k" in text


def test_report_names_each_fusion_and_state_once_in_filters_and_key(full_store: RunStore, store: RunStore) -> None:
    page = page_of(full_store)
    assert page.explorer is not None
    choices = [choice.text for item in page.explorer.filters for choice in item.choices]
    entries = [entry.text for group in page.key for entry in group]
    assert {"none", "concat", "dwa", "dwatt", "stopped early"} <= set(choices)
    assert not set(choices) & set(entries)
    assert "fusion none" not in entries
    # With one fusion there is no filter of fusions, so that the key names it.
    store.append(make_record(0), evaluations=[], weights=[])
    assert page_of(store).key[0][0].text == "dwa"


def test_report_export_commands_name_each_front_member(full_store: RunStore) -> None:
    rows = page_of(full_store).front.rows
    records = full_store.records()
    members = {item.trial: item for item in front(records, objectives=OBJECTIVES)}
    assert sorted(row.trial for row in rows) == sorted(members)
    for row in rows:
        words = shlex.split(row.command)
        assert words[:3] == ["depthweave", "export", full_store.where]
        how = words[words.index("--select") + 1]
        assert select(records, how=how, objectives=OBJECTIVES) == members[row.trial]


def test_report_several_seeds_are_one_row_whose_command_names_the_first(store: RunStore, append: Append) -> None:
    append(make_record(0, architecture_id="same", perplexity=4.0, latency=1.2))
    append(make_record(1, architecture_id="same", perplexity=3.9, latency=1.1, seed=1))
    (row,) = page_of(store).front.rows
    words = shlex.split(row.command)
    where = words[words.index("--where") + 1]
    assert select(store.records(), how="id:same", where=where, objectives=OBJECTIVES).trial == 0


def test_confirmed_report_has_intervals_differences_and_what_is_settled(store: RunStore, append: Append) -> None:
    for record in confirmed_records():
        append(record)
    rows = {row.id: row.verdict for row in page_of(store).front.rows}
    close, best = rows["close"], rows["best"]
    assert close is not None
    assert best is not None
    assert (close.num_seeds, close.difference, close.why_not_settled) == (5, ("-0.199", "-0.212 to -0.186"), "")
    assert best.why_not_settled == "dwa 4×1, 12 blocks may dominate it (12 %)"
    text = _text(_read(Path(write_report(store)).read_text()))
    assert close.interval in text
    assert "not settled" in text
    assert "Of the 3 members of the front, 2 are settled there" in text
    assert "15 further trainings of 3 architectures with 5 seeds (1, 2, 3, 4, 5)" in text
    # The counts of the search do not include the confirmation.
    assert "4 trials of 4 architectures" in text


def test_report_of_an_unconfirmed_run_does_not_mention_confirmation(full_store: RunStore) -> None:
    text = _text(_read(Path(write_report(full_store)).read_text()))
    assert "settled there" not in text
    assert "against plain" not in text
    assert all(row.verdict is None for row in page_of(full_store).front.rows)


def test_report_of_an_empty_run(store: RunStore) -> None:
    reader = _read(Path(write_report(store, running=True)).read_text())
    assert "No trial is complete yet" in _text(reader)
    assert "still running" in _text(reader)
    assert reader.json == {}


@pytest.mark.parametrize("state", ["complete", "pruned", "diverged", "failed"])
def test_report_of_one_record(store: RunStore, append: Append, state: str) -> None:
    perplexity = 4.0 if state == "complete" else None
    loss = None if state == "failed" else 1.4
    append(make_record(0, state=state, perplexity=perplexity, last_loss=loss, reason="why not", tokens=100_000))
    reader = _read(Path(write_report(store)).read_text())
    assert ("no front" in _text(reader)) == (state != "complete")
    assert ("why not" in _text(reader)) == (state in ("diverged", "failed"))


def test_report_of_one_objective(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(objectives=("perplexity",)), spec_yaml="")
    trial = make_trial(make_record(0, latency=None, memory_bytes=None))
    store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    page = page_of(store)
    assert len(page.front.rows) == 1
    assert "What each cost buys" not in [section.title for section in page.sections]
    assert "The front" in _text(_read(render(page)))


def test_report_of_plain_architectures_says_that_there_are_no_connections(store: RunStore, append: Append) -> None:
    append(make_record(0, fusion="none", dilation=None, period=None, wiring="[]"))
    (section,) = [it for it in page_of(store).sections if it.title == "Connections that good members share"]
    assert not section.figures
    assert section.sentences == ["Only plain architectures were tried, so there are no connections to compare."]
    assert section.sentences[0] in _text(_read(Path(write_report(store)).read_text()))


def test_report_names_a_depth_without_a_member(store: RunStore, append: Append) -> None:
    append(make_record(0))
    append(make_record(1, depth=8, perplexity=9.0, latency=9.0, memory_bytes=2**40))
    (section,) = [it for it in page_of(store).sections if it.title == "Connections that good members share"]
    assert [figure.id for figure in section.figures] == ["shared-12", "shared-difference-12"]
    assert section.sentences[1] == "No distinct member of the front has 8 blocks."


def test_report_escapes_everything_from_outside(tmp_path: Path) -> None:
    info = make_info(name=EVIL, infeasible=(EVIL,), corpus=EVIL)
    store = RunStore.create(tmp_path / "run", info=info, spec_yaml=EVIL)
    text_columns = ("fusion", "hardware", "device", "software", "corpus", "corpus_sha256", "tokenizer")
    changes = dict.fromkeys((*text_columns, "architecture_id", "reason"), EVIL)
    changes["recipe"] = json.dumps({"precision": EVIL})
    for number, state in enumerate(("complete", "failed", "pruned")):
        perplexity = 4.0 if state == "complete" else None
        trial = make_trial(make_record(number, state=state, perplexity=perplexity, **changes))
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    (tmp_path / "run" / "records" / "<i>.parquet").write_bytes(b"")
    html = Path(write_report(store)).read_text()
    reader = _read(html)
    assert EVIL in reader.text
    assert not {"img", "i"} & set(reader.tags)
    assert "<script>alert" not in html
    assert "49" not in reader.text
    assert "records/<i>.parquet" in _text(reader)
    # Plotly interprets some tags in a figure, so texts there are escaped twice.
    hover = json.dumps([json.loads(text) for name, text in reader.json.items() if name == "curves"])
    assert "&lt;script&gt;" in hover
    assert "<script>" not in hover


def test_report_names_unreadable_parts(store: RunStore, append: Append) -> None:
    append(make_record(0))
    (Path(store.where) / "records" / "trial-00001-r000.parquet").write_bytes(b"nothing")
    page = page_of(store)
    assert len(page.problems) == 1
    assert "records/trial-00001-r000.parquet" in _text(_read(render(page)))


def test_report_replaces_the_last_one_whole(store: RunStore, append: Append) -> None:
    write_report(store)
    append(make_record(1))
    path = Path(write_report(store))
    assert "The lowest perplexity is 4.000" in path.read_text()
    assert [item.name for item in path.parent.iterdir() if item.name.startswith(".")] == []

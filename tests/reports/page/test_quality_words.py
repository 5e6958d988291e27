"""A run of another task is described by its own quality everywhere on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from depthweave.reports.analysis.recommend import recommendation
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.page.page import page_of, render
from depthweave.reports.page.quality_words import quality_words
from depthweave.reports.store.run_store import RunStore
from tests.reports.tagged import TAGGED_OBJECTIVES, tagged_run


@pytest.fixture
def tagged_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunStore:
    return tagged_run(tmp_path / "run", monkeypatch)


def test_page_of_heads_speaks_of_errors_and_not_of_losses(tagged_store: RunStore) -> None:
    page = page_of(tagged_store)
    html = render(page)
    titles = [section.title for section in page.sections]
    assert not {"Fusions at equal cost", "What the connections learnt", "Learning curves"} & set(titles)
    text = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
    assert "perplexity" not in text
    assert "nat/token" not in text
    assert page.recommendation.startswith(
        "Lowest validation error without limits: concat 1×1, 6 blocks, validation error 0.6"
    )
    (wirings,) = (section for section in page.sections if section.title == "Wirings")
    concat = next(table for table in wirings.tables if table.title.startswith("concat"))
    first, second = concat.rows[0].cells
    assert first.text.startswith("0.6")
    assert first.more.startswith("-0."), "minus that of last"
    assert first.share is not None
    assert second.share is not None
    assert first.share < second.share < 0
    assert page.explorer is not None
    words = page.explorer.data["quality"]
    assert (words["column"], words["difference"], words["unit"]) == ("error", "validation error against plain", "")
    json.dumps(page.explorer.data)


def test_recommendation_within_a_limit_is_the_lowest_error(tagged_store: RunStore) -> None:
    view = RunView.of(tagged_store.records(), objectives=TAGGED_OBJECTIVES, tolerances={})
    assert "concat" in recommendation(view, limits={})


def test_words_of_perplexity_are_those_of_earlier_pages() -> None:
    words = quality_words("perplexity")
    assert (words.word, words.test, words.difference, words.unit) == (
        "perplexity",
        "test perplexity",
        "loss against plain",
        "nat/token",
    )
    assert words.curve == "Validation loss in nat/token"
    assert quality_words("error").test == "test error"

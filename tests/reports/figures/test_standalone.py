"""A run's figures, each complete in itself, and their files."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.figures.images import check_can_write_images, write_images
from depthweave.reports.figures.palette import FUSION_COLOURS
from depthweave.reports.figures.standalone import run_figures
from depthweave.reports.store.run_store import RunStore
from tests.reports.browser import find_browser
from tests.reports.synthetic import OBJECTIVES


@pytest.fixture(scope="module")
def figures(full_store: RunStore) -> dict[str, go.Figure]:
    return run_figures(full_store)


def test_figures_of_a_run_are_complete_and_named_for_files(figures: dict[str, go.Figure], full_store: RunStore) -> None:
    members = front(full_store.records(), objectives=OBJECTIVES)
    woven = {member.architecture_id for member in members[:12] if member.fusion != "none"}
    expected = {"front-latency", "front-memory_bytes", "curves", "gain-courses", "hypervolume"}
    expected |= {"shared-connections-8", "shared-connections-12"}
    expected |= {f"{kind}-{name}" for kind in ("weights", "weight-courses") for name in woven}
    assert set(figures) == expected
    assert all(re.fullmatch(r"[\w-]+", name) for name in figures)
    for figure in figures.values():
        assert figure.layout.width
        assert figure.layout.height
        assert figure.layout.paper_bgcolor == "white"


def test_front_figure_has_its_key_inside_each_sign_once(figures: dict[str, go.Figure], full_store: RunStore) -> None:
    figure = figures["front-latency"]
    named = {trace.name: trace for trace in figure.data if trace.showlegend is not False}
    assert len(named) == sum(trace.showlegend is not False for trace in figure.data)
    for fusion in {record.fusion for record in full_store.records()} - {"none"}:
        assert named[fusion].marker.color == FUSION_COLOURS[fusion]
    assert {"period 1", "period 12", "reference", "stopped early", "front"} <= set(named)
    assert "hollow: not settled" not in named, "one seed"


def test_empty_run_has_no_figures(store: RunStore) -> None:
    assert run_figures(store) == {}


def test_without_kaleido_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(ValueError, match=r"^report --png: needs kaleido, .* pip install 'depthweave\[png\]'$"):
        check_can_write_images(named="report --png")
    monkeypatch.setitem(sys.modules, "kaleido", types.ModuleType("kaleido"))
    with pytest.raises(ValueError, match="needs kaleido 1 or later"):
        write_images({}, folder=tmp_path / "out", kind="png")
    assert not (tmp_path / "out").exists()


def test_without_a_browser_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class ChromeNotFoundError(Exception):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise ChromeNotFoundError("many\nlines")

    fake = types.SimpleNamespace(PageGenerator=lambda **_: None, write_fig_from_object_sync=fail)
    monkeypatch.setitem(sys.modules, "kaleido", fake)
    with pytest.raises(ValueError, match=r"^--svg: kaleido found no browser that starts .* BROWSER_PATH$") as caught:
        write_images({"a": go.Figure()}, folder=tmp_path, kind="svg")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
def test_files_are_drawn_by_a_browser(
    figures: dict[str, go.Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kaleido", reason="the extra png is not installed")
    monkeypatch.setenv("BROWSER_PATH", str(find_browser()))
    chosen = {name: figures[name] for name in ("front-latency", "curves")}
    for kind, begin in (("svg", b"<svg"), ("png", b"\x89PNG")):
        paths = write_images(chosen, folder=tmp_path / kind, kind=kind)  # type: ignore[arg-type]
        assert [path.name for path in paths] == [f"{name}.{kind}" for name in chosen]
        assert all(path.read_bytes().startswith(begin) for path in paths)
    text = (tmp_path / "svg" / "front-latency.svg").read_text(encoding="utf-8")
    assert "forward latency" in text
    assert "http://www.w3.org" in text
    assert not re.search(r"(href|src)=\"https?:", text)

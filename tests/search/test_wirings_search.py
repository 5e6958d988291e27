"""A search over wirings that no dilation and period express: its records, views and export name the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from depthweave.reports.page.page import write_report
from depthweave.search.cli import app
from depthweave.search.run_folder.resuming import resumed
from depthweave.spaces import load, parse_rule, read_rule
from tests.search.search_runs import prepared_search, search

# Ray's processes start slowly where the machine is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_search_over_wirings_names_their_rules_everywhere(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    space = {name: value for name, value in small_spec["space"].items() if name not in ("dilations", "periods")}
    prepared = prepared_search({**small_spec, "space": {**space, "depths": [6], "wirings": ["first:2", "mirror"]}})
    result = search(prepared, out=tmp_path / "run", address=ray_address)
    assert result.store.problems == []
    records = {it.rule: it for it in result.store.records()}
    assert set(records) == {None, "first:2", "mirror"}
    assert json.loads(records["mirror"].wiring) == [[4, [2, 4]], [5, [1, 5]], [6, [0, 6]]]
    assert (records["first:2"].dilation, records["first:2"].period) == (None, None)

    shown = json.loads(_command("show", result.store.where, "--json"))
    assert {row["rule"] for row in shown} <= {None, "first:2", "mirror"}
    page = Path(write_report(result.store)).read_text(encoding="utf-8")
    assert "dwa first:2" in page
    assert "first two states, every block" in page
    assert "other wiring" in page

    out = tmp_path / "export"
    _command("export", result.store.where, "--select", f"id:{records['mirror'].architecture_id}", "--out", str(out))
    assert read_rule(out / "architecture.yaml") == parse_rule("mirror")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "# dwa mirror, 6 blocks" in card
    assert "wiring `mirror` (mirror image, every block of the upper half)" in card
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["rule"]["value"] == "mirror"
    assert [site.block for site in load(out).architecture.wiring] == [4, 5, 6]

    larger = tmp_path / "larger"
    _command("train", str(out), "--depth", "8", "--set", "steps=6", "--corpus", _text(small_spec), "--out", str(larger))
    assert [list(site.sources) for site in load(larger).architecture.wiring] == [[3, 5], [2, 6], [1, 7], [0, 8]]
    assert yaml.safe_load((larger / "architecture.yaml").read_text())["pattern"] == {"rule": "mirror"}
    assert "# dwa mirror, 8 blocks" in (larger / "README.md").read_text(encoding="utf-8")

    again = resumed(result.store, given=None, overrides=[], local=True, say=lambda line: None)
    assert [item.architecture.id for item in again.space] == [item.architecture.id for item in prepared.space]


def _text(small_spec: dict[str, Any]) -> str:
    """Returns the folder of the search's text."""
    return str(small_spec["corpus"]["paths"][0])


def _command(*arguments: str) -> str:
    answer = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout

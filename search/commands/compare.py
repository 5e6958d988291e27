"""`depthweave compare`: several runs on one page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthweave.reports.comparison.comparison import compare, comparison_values
from depthweave.reports.comparison.page import comparison_page_of, render_comparison
from depthweave.reports.comparison.table import comparison_view
from depthweave.reports.store.run_store import RunStore
from depthweave.search.commands.problems import print_problems
from depthweave.search.console import Terminal, print_json


def compare_runs(runs: Sequence[str], *, out: Path, as_json: bool) -> None:
    """Writes the page and prints the comparison; with `as_json` prints JSON alone and writes no page."""
    stores = [RunStore.open(run) for run in runs]
    comparison = compare(stores)
    if as_json:
        print_json(comparison_values(comparison))
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render_comparison(comparison_page_of(comparison)), encoding="utf-8")
        console = Terminal()
        console.show(comparison_view(comparison))
        console.say(f"page: {out}")
    for store in stores:
        print_problems(store)

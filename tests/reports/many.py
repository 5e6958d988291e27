"""Synthetic runs of thousands of records, and how fast their page is.

python -m tests.reports.many 2000 FOLDER
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from depthweave.reports.page.page import write_report
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.wiring import strided_wiring
from tests.reports.browser import Browser
from tests.reports.synthetic import BEGIN, make_evaluations, make_info, make_record, make_weights

_GAIN = {"none": 0.0, "dwa": -0.03, "dwatt": -0.01, "concat": 0.02}
_COST = {"none": 0.0, "dwa": 0.1, "dwatt": 0.35, "concat": 0.2}


@cache
def _wiring(depth: int, dilation: int, period: int) -> str:
    return json.dumps([[it.block, list(it.sources)] for it in strided_wiring(depth, dilation=dilation, period=period)])


def many_records(number: int) -> list[Record]:
    """That many architectures of four fusions, three depths and three budgets; a quarter of them stopped."""
    draw = np.random.default_rng(number)
    records = []
    for trial in range(number):
        fusion = list(_GAIN)[trial % 4]
        depth, budget = (6, 12, 24)[int(draw.integers(3))], (300_000, 1_000_000, 3_000_000)[int(draw.integers(3))]
        dilation, period = int(draw.integers(1, 9)), int(draw.integers(1, 7))
        share = 1 / (dilation * period) if fusion != "none" else 0.0
        loss = 1.6 - 0.08 * math.log(budget / 3e5) - 0.03 * math.log(depth / 6) + _GAIN[fusion] * share**0.5
        loss += float(draw.normal(0, 0.012))
        latency = (
            depth / 12 * (budget / 1e6) ** 0.6 * (1 + _COST[fusion] * share) * math.exp(float(draw.normal(0, 0.05)))
        )
        state = "pruned" if trial % 4 == 3 and trial % 3 else "complete"
        values: dict[str, Any] = {"perplexity": math.exp(loss), "loss": loss, "bits_per_byte": loss / math.log(2)}
        begin = BEGIN + timedelta(seconds=10 * trial)
        records.append(
            make_record(
                trial,
                architecture_id=f"{trial:012x}",
                reference=trial == 0,
                fusion=fusion,
                dilation=None if fusion == "none" else dilation,
                period=None if fusion == "none" else period,
                depth=depth,
                budget=budget,
                parameters=budget + trial % 500,
                wiring="[]" if fusion == "none" else _wiring(depth, dilation, period),
                state=state,
                reason="can no longer reach the front" if state == "pruned" else None,
                last_loss=loss + (0.1 if state == "pruned" else 0.0),
                latency=latency,
                latency_low=0.98 * latency,
                latency_high=1.02 * latency,
                step_latency=latency * math.exp(float(draw.normal(0, 0.03))),
                memory_bytes=int(2**20 * 30 * depth / 12 * (1 + share) * math.exp(float(draw.normal(0, 0.05)))),
                tokens=400_000 if state == "complete" else 150_000,
                started_at=begin,
                finished_at=begin + timedelta(seconds=19),
                **(values if state == "complete" else dict.fromkeys(values)),
            )
        )
    return records


def many_store(folder: Path, *, number: int) -> RunStore:
    """A finished run of that many records, with their curves, and the last weights of the first thousands."""
    store = RunStore.create(folder, info=make_info(), spec_yaml="name: many\n")
    records = many_records(number)
    evaluations = [row for it in records for row in make_evaluations(it, count=8 if it.state == "complete" else 3)]
    weights = [row for it in records[:2_000] if it.fusion != "none" for row in make_weights(it, count=1)]
    rows: tuple[tuple[str, list[Any], Any], ...] = (
        ("evaluations", evaluations, EvaluationRow),
        ("weights", weights, WeightRow),
        ("records", records, Record),
    )
    for name, held, row_class in rows:
        (folder / name).mkdir(exist_ok=True)
        pq.write_table(to_table(held, row_class=row_class), folder / name / "batch-00001.parquet")
    return store


class PageTimes(NamedTuple):
    """Seconds in headless Chromium, medians."""

    open_s: float
    """From navigation to the drawn front and its card."""
    click_s: float
    """From a click on a point to its card, painted."""
    filter_s: float
    """From a click on a tick box to the new front, painted."""
    limit_s: float
    """From a slider to the recommendation, painted."""
    busy_s: tuple[float, float, float]
    """Processor time of the page's own thread for the last three."""


_CLICK = """new Promise((done) => {
  const marks = [...document.querySelectorAll('#front-plot .mark')], mark = marks[Math.floor(marks.length * %f)];
  const box = mark.getBoundingClientRect(), plot = document.querySelector('#front-plot');
  const event = { bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
  const begun = performance.now();
  plot.dispatchEvent(new MouseEvent('click', event));
  requestAnimationFrame(() => setTimeout(() => done((performance.now() - begun) / 1000)));
})"""
_CHANGE = """new Promise((done) => {
  const control = document.querySelector('%s'), begun = performance.now();
  if (control.type === 'range') { control.value = %d; control.dispatchEvent(new Event('input', { bubbles: true })); }
  else control.click();
  requestAnimationFrame(() => setTimeout(() => done((performance.now() - begun) / 1000)));
})"""


def page_times(path: Path, *, repeats: int = 5) -> PageTimes:
    """Measures the times of the page; needs Chromium."""
    opened = []
    with Browser(width=1280) as browser:
        for _ in range(repeats):
            begin = time.perf_counter()
            browser.open(path)
            browser.wait("document.querySelector('#front-plot .mark') && !document.querySelector('#card').hidden")
            opened.append(time.perf_counter() - begin)
        actions: tuple[list[tuple[float, float]], ...] = ([], [], [])
        for number in range(2 * repeats):
            scripts = (
                _CLICK % (number / (2 * repeats)),
                _CHANGE % ("[data-filter=fusion]", 0),
                _CHANGE % ("[data-limit]", 20 + 5 * number),
            )
            for held, script in zip(actions, scripts, strict=True):
                busy = browser.busy_s()
                painted = float(browser.run(script))
                held.append((painted, browser.busy_s() - busy))
        assert browser.complaints == []
    walls = [statistics.median(wall for wall, _ in held) for held in actions]
    busies = [statistics.median(busy for _, busy in held) for held in actions]
    return PageTimes(statistics.median(opened), walls[0], walls[1], walls[2], (busies[0], busies[1], busies[2]))


if __name__ == "__main__":
    built = many_store(Path(sys.argv[2]), number=int(sys.argv[1]))
    started = time.perf_counter()
    page_path = Path(write_report(built))
    written_s, size_mb = time.perf_counter() - started, page_path.stat().st_size / 1e6
    print(f"{sys.argv[1]} records: written in {written_s:.1f} s, {size_mb:.2f} MB")
    print(page_times(page_path))

"""What a large run costs to read and to report: processor seconds and sizes, of synthetic trials.

python -m benchmarks.store_scale --records 100000            # records and curves
python -m benchmarks.store_scale --records 10000 --report    # connection weights and the page too
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from depthweave.reports.page.page import write_report
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.parquet_folder import ParquetFolder
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_info, make_trial, synthetic_trials

_WEIGHTS_AT_ONCE = 500_000
_ROUNDS = 3


def make_run(folder: Path, *, num_records: int, weights: bool) -> RunStore:
    """Returns a run with merged Parquet files, as after a search."""
    store = RunStore.create(folder, info=make_info(), spec_yaml="name: scale\n")
    draw, patterns = np.random.default_rng(0), [item.record for item in synthetic_trials()]
    records = [_record(patterns[number % len(patterns)], number, draw) for number in range(num_records)]

    def write(row_class: type[Any], name: str, rows: list[Any], *, batch: int = 1) -> None:
        parts = ParquetFolder(store.storage, name, row_class=row_class, run_id=store.info.run_id)
        parts._write_table(f"batch-{batch:05d}.parquet", to_table(rows, row_class=row_class))

    write(Record, "records", records)
    write(EvaluationRow, "evaluations", [row for item in records for row in make_trial(item).evaluations])
    held: list[WeightRow] = []
    for number, record in enumerate(records if weights else []):
        held += make_trial(record).weights
        if len(held) > _WEIGHTS_AT_ONCE or number == num_records - 1:
            write(WeightRow, "weights", held, batch=number + 1)
            held = []
    return store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = make_run(Path(scratch) / "run", num_records=given.records, weights=given.report)
        store = RunStore.open(made.where)
        figures: dict[str, float] = {"records": given.records}
        figures["read_records_s"] = _median_s(store.records)
        figures["read_evaluations_s"] = _median_s(store.evaluations)
        if given.report:
            figures["read_weights_s"] = _median_s(store.weights)
            figures["report_s"] = _median_s(lambda: write_report(store))
            figures["page_mib"] = Path(store.report_path).stat().st_size / 2**20
        figures["store_mib"] = sum(path.stat().st_size for path in Path(store.where).rglob("*.parquet")) / 2**20
    for name, value in figures.items():
        print(f"{name:20} {value:10.2f}")
    print(json.dumps(figures))


def _record(pattern: Record, number: int, draw: np.random.Generator) -> Record:
    quick, small, good = draw.random(3)
    perplexity = None if pattern.perplexity is None else pattern.perplexity * (1 + 0.05 * good)
    loss = None if perplexity is None else math.log(perplexity)
    assert pattern.latency is not None
    assert pattern.memory_bytes is not None
    return dataclasses.replace(
        pattern,
        trial=number,
        architecture_id=f"{number:012x}",
        reference=number == 0,
        latency=pattern.latency * (1 + 0.1 * quick),
        memory_bytes=int(pattern.memory_bytes * (1 + 0.1 * small)),
        perplexity=perplexity,
        loss=loss,
        last_loss=pattern.last_loss if loss is None else loss,
    )


def _median_s(call: Callable[[], object]) -> float:
    """Returns processor time: other work may run at the same time."""
    times = []
    for _ in range(_ROUNDS):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return float(np.median(times))


if __name__ == "__main__":
    main()

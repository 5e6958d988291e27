"""Runs with several budgets: patterns with given differences to plain at each size, with fresh seeds or one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.parquet_file import parquet_bytes
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.comparing import make_recipe
from tests.reports.synthetic import make_info, make_record

PLAIN: dict[str, Any] = {"fusion": "none", "dilation": None, "period": None, "wiring": "[]"}
SPREAD = 0.0005
"""Between neighbouring seeds of a difference, nat/token."""


def dwa(dilation: int, period: int, **changes: Any) -> dict[str, Any]:
    """The columns of a dwa pattern."""
    return {"fusion": "dwa", "dilation": dilation, "period": period, **changes}


def sized_records(
    sizes: Mapping[tuple[int, int], Sequence[tuple[dict[str, Any], float]]], *, num_seeds: int = 5
) -> list[Record]:
    """For each (depth, budget): plain, and the patterns with their differences to it. One seed is the search's own."""
    records: list[Record] = []
    for (depth, budget), patterns in sizes.items():
        for columns, difference in [(PLAIN, 0.0), *patterns]:
            number = len({it.architecture_id for it in records})
            for seed in range(num_seeds):
                # The effect of a seed is common to a size, and the spread is about the difference.
                own = 0.0 if columns is PLAIN else difference + SPREAD * (seed - (num_seeds - 1) / 2)
                loss = 2.0 + 0.01 * seed + own
                first = number if num_seeds == 1 else FIRST_CONFIRMATION + 10 * number + seed
                records.append(
                    make_record(
                        first,
                        **{
                            "architecture_id": f"{depth}-{budget}-{number}",
                            "seed": seed,
                            "depth": depth,
                            "budget": budget,
                            "parameters": budget,
                            "embedding_parameters": 0,
                            "loss": loss,
                            "perplexity": math.exp(loss),
                            "bits_per_byte": loss / math.log(2),
                            "recipe": make_recipe(evaluation_tokens=2**40),
                            "reference": number == 0,
                            **columns,
                        },
                    )
                )
    return records


def sized_store(folder: Path, records: Sequence[Record]) -> RunStore:
    """The records as a run in a folder, in one file."""
    info = make_info(run_id=records[0].run_id, objectives=("perplexity", "latency"))
    store = RunStore.create(folder, info=info, spec_yaml="name: a\n")
    store.write_bytes("records/batch-00000.parquet", parquet_bytes(to_table(records, row_class=Record)))
    return store

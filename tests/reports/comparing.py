"""Runs to compare: the same patterns with given effects, on whatever text and machine."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_info, make_record, make_trial

PATTERNS = (
    ("dwa", 1, 1),
    ("dwa", 4, 1),
    ("dwa", 1, 4),
    ("dwa", 4, 4),
    ("dwatt", 1, 6),
    ("concat", 1, 6),
    ("concat", 1, 1),
)
EFFECTS = (-0.04, -0.03, -0.02, -0.01, 0.01, 0.02, 0.03)
"""On the loss, against plain: the patterns in their order, plain between the fourth and the fifth."""


def make_recipe(**changes: Any) -> str:
    """A recipe as a record holds it."""
    values = {"batch": 16, "context": 128, "precision": "float32", "compile": False, "evaluation_tokens": 4096}
    return json.dumps({**values, **changes})


def make_run(
    effects: Sequence[float] = EFFECTS,
    *,
    run_id: str = "run-0001",
    depth: int = 6,
    budget: int = 300_000,
    loss: float = 1.5,
    latency: float = 1.0,
    first_trial: int = 0,
    **changes: Any,
) -> list[Record]:
    """A plain architecture and `PATTERNS` with these effects; a pattern's latency falls as its loss rises."""
    rows: list[tuple[str, int | None, int | None, float]] = [("none", None, None, 0.0)]
    rows += [(*pattern, effect) for pattern, effect in zip(PATTERNS, effects, strict=False)]
    changes = {"recipe": make_recipe(), **changes}
    return [
        make_record(
            first_trial + number,
            run_id=run_id,
            architecture_id=f"{depth}-{budget}-{number}",
            reference=number == 0,
            fusion=fusion,
            dilation=dilation,
            period=depth if period == 6 else period,
            depth=depth,
            budget=budget,
            parameters=budget,
            loss=loss + effect,
            perplexity=math.exp(loss + effect),
            bits_per_byte=(loss + effect) / math.log(2),
            latency=latency * (1 - effect),
            latency_low=latency * (1 - effect) - 0.001,
            latency_high=latency * (1 - effect) + 0.001,
            memory_bytes=int(1e6 * (1 - effect)),
            **changes,
        )
        for number, (fusion, dilation, period, effect) in enumerate(rows)
    ]


def make_store(folder: Path, records: Sequence[Record], **changes: Any) -> RunStore:
    """The records as a run in a folder."""
    store = RunStore.create(folder, info=make_info(run_id=records[0].run_id, **changes), spec_yaml="name: a\n")
    for record in records:
        trial = make_trial(record)
        store.append(trial.record, evaluations=[], weights=[])
    return store

"""A search of a few architectures and what a confirmation adds to it."""

from __future__ import annotations

import math
from typing import Any

from depthweave.reports.records import Record
from depthweave.reports.seeds import FIRST_CONFIRMATION
from tests.reports.synthetic import make_record

PAIR = ("perplexity", "latency")


def seeded(key: str, losses: dict[int, float], *, trial: int, **changes: Any) -> list[Record]:
    """An architecture with these losses by seed: seed 0 from the search, the others from a confirmation."""
    return [
        make_record(
            trial if seed == 0 else FIRST_CONFIRMATION + 10 * trial + seed,
            architecture_id=key,
            seed=seed,
            loss=loss,
            perplexity=math.exp(loss),
            bits_per_byte=loss / math.log(2),
            **changes,
        )
        for seed, loss in losses.items()
    ]


def confirmed_records() -> list[Record]:
    """Three architectures with three seeds, and one with one.

    `best` is ahead of `close` by less than the noise between seeds, and slower: it may well not stand on the front.
    Latencies have no interval: only losses are in doubt.
    """
    exact = {"latency_low": None, "latency_high": None}
    plain = {"fusion": "none", "dilation": None, "period": None, "wiring": "[]", "reference": True}
    return sorted(
        [
            *seeded("plain", {0: 1.50, 1: 1.61, 2: 1.39}, trial=0, latency=1.0, **plain, **exact),
            *seeded("best", {0: 1.295, 1: 1.40, 2: 1.19}, trial=1, latency=1.4, **exact),
            *seeded("close", {0: 1.29, 1: 1.40, 2: 1.205}, trial=2, latency=1.3, **exact),
            *seeded("once", {0: 1.70}, trial=3, latency=1.2, **exact),
        ],
        key=lambda item: item.trial,
    )

"""A search of a few architectures and what a confirmation adds to it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from depthweave.reports.store.records import Record
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


TEST_GAP = 0.04
"""nat/token by which the test part of `held_out_records` is harder than the validation part."""


def held_out_records() -> list[Record]:
    """`confirmed_records` where the confirmation evaluated its trainings on the test part."""
    return [
        item
        if item.trial < FIRST_CONFIRMATION or item.loss is None
        else dataclasses.replace(
            item,
            test_loss=item.loss + TEST_GAP,
            test_perplexity=math.exp(item.loss + TEST_GAP),
            test_bits_per_byte=(item.loss + TEST_GAP) / math.log(2),
        )
        for item in confirmed_records()
    ]


def confirmed_records() -> list[Record]:
    """Three architectures with the search's seed and five fresh ones, and one with the search's alone.

    `best` is ahead of `close` by less than the noise between seeds, and slower: it may well not be on the front.
    Latencies have no interval: only losses are in doubt.
    """
    exact = {"latency_low": None, "latency_high": None}
    plain = {"fusion": "none", "dilation": None, "period": None, "wiring": "[]", "reference": True}
    return sorted(
        [
            *seeded(
                "plain", dict(enumerate((1.50, 1.61, 1.39, 1.55, 1.47, 1.52))), trial=0, latency=1.0, **plain, **exact
            ),
            *seeded("best", dict(enumerate((1.28, 1.40, 1.19, 1.345, 1.27, 1.315))), trial=1, latency=1.4, **exact),
            *seeded(
                "close",
                dict(enumerate((1.29, 1.40, 1.205, 1.34, 1.275, 1.325))),
                trial=2,
                latency=1.3,
                period=1,
                **exact,
            ),
            *seeded("once", {0: 1.70}, trial=3, latency=1.2, **exact),
        ],
        key=lambda item: item.trial,
    )

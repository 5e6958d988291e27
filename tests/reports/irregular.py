"""Wirings that no dilation and period make, and a run that has some."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

from depthweave.reports.store.records import Record
from tests.reports.synthetic import make_record

Sites = Sequence[tuple[int, Sequence[int]]]


def wiring_text(sites: Sites) -> str:
    """The sites as a record has them."""
    return json.dumps([[block, sorted(sources)] for block, sources in sites])


def first_states(depth: int, number: int) -> Sites:
    """A site after every block reads the first states."""
    return [(block, [*range(min(number, block)), block]) for block in range(1, depth + 1)]


def mirror(depth: int) -> Sites:
    """A site after each block of the second half reads the state that lies as far from the other end."""
    return [(block, [depth - block, block]) for block in range(depth // 2 + 1, depth + 1)]


def random_connections(depth: int, number: int, *, seed: int) -> Sites:
    """That many connections, drawn evenly."""
    pairs = [(site, source) for site in range(1, depth + 1) for source in range(site)]
    sites: dict[int, list[int]] = {}
    for site, source in random.Random(seed).sample(pairs, number):
        sites.setdefault(site, [site]).append(source)
    return sorted(sites.items())


def irregular_records(depth: int = 12) -> list[Record]:
    """Plain, two strided architectures, and three irregular ones: first states, mirror, random connections.

    Each costs more than the one before and predicts better, so that all are on the front of loss and latency.
    """
    strided: list[tuple[int | None, int | None, Sites]] = [
        (1, depth, [(depth, range(depth + 1))]),
        (1, 1, [(block, range(block + 1)) for block in range(1, depth + 1)]),
    ]
    others = [first_states(depth, 2), mirror(depth), random_connections(depth, 2 * depth, seed=0)]
    patterns = [(None, None, []), *strided, *((None, None, sites) for sites in others)]
    return [
        make_record(
            trial,
            fusion="dwa" if sites else "none",
            reference=not sites,
            dilation=dilation,
            period=period,
            depth=depth,
            wiring=wiring_text(sites),
            perplexity=4.0 - 0.1 * trial,
            loss=math.log(4.0 - 0.1 * trial),
            latency=1.0 + 0.1 * trial,
        )
        for trial, (dilation, period, sites) in enumerate(patterns)
    ]

"""How much of the table is there, and how the fusions compare so far."""

from __future__ import annotations

import statistics

from benchmarks.cache import Cache
from benchmarks.wide_table.parts import SEEDS, space
from benchmarks.wide_table.training import finished


def progress(kept: Cache, part: str) -> str:
    """Returns how much of a part is there, and each family's best difference to the plain model of its depth."""
    whole, found = space(part), finished(kept, part)
    lines = [f"{part}: {len(found)} of {len(SEEDS) * len(whole)} trainings of {len(whole)} architectures"]
    best: dict[tuple[str, int], tuple[float, str]] = {}
    for item in whole:
        fusion, depth = item.architecture.fusion, item.architecture.depth
        plain = whole.plain(depth=depth).architecture.id
        pairs = [
            found[item.architecture.id, seed]["loss"][-1] - found[plain, seed]["loss"][-1]
            for seed in SEEDS
            if (item.architecture.id, seed) in found and (plain, seed) in found
        ]
        if pairs and fusion != "none":
            mean = statistics.fmean(pairs), f"{item.rule} ({len(pairs)} seeds)"
            best[fusion, depth] = min(mean, best.get((fusion, depth), mean))
    rows = [f"| {fusion} | {depth} | {mean:+.4f} | {name} |" for (fusion, depth), (mean, name) in best.items()]
    return "\n".join([*lines, "| fusion | blocks | lowest difference to plain | wiring |", "|---|---|---|---|", *rows])

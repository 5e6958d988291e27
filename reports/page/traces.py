"""Learning curves and connection weights that the page holds: those of the front first, up to a limit of size."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from depthweave.reports.store.records import Record

MAX_CURVES = 6_000
"""The most learning curves on the page."""
MAX_WEIGHTS = 150_000
"""The most connection weights on the page. A card without them says where they are stored."""
_DIGITS = 9


def page_curves(records: Sequence[Record], *, points: Sequence[Record], evaluations: pa.Table) -> dict[str, Any]:
    """Returns token counts, and by architecture id the trainings as [seed, state, index of token counts, losses]."""
    columns = evaluations.select(["trial", "tokens", "loss"]).to_pydict()
    curves: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for trial, tokens, loss in zip(columns["trial"], columns["tokens"], columns["loss"], strict=True):
        if loss is not None and math.isfinite(loss):
            curves[trial].append((tokens, loss))
    trainings: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        trainings[record.architecture_id].append(record)
    grids: dict[tuple[int, ...], int] = {}
    found: dict[str, list[Any]] = {}
    num_curves = 0
    for own in dict.fromkeys(it.architecture_id for it in points):
        for record in trainings[own]:
            if curves[record.trial] and num_curves < MAX_CURVES:
                tokens, losses = zip(*sorted(curves[record.trial]), strict=True)
                grid = grids.setdefault(tokens, len(grids))
                found.setdefault(own, []).append([record.seed, record.state, grid, [round(it, 4) for it in losses]])
                num_curves += 1
    return {"tokens": [list(grid) for grid in grids], "by_id": found}


def page_weights(points: Sequence[Record], *, read: Callable[[set[int]], pa.Table]) -> dict[str, list[float | None]]:
    """Returns for each trial its last connection weights in the order of its wiring, up to `MAX_WEIGHTS` in all."""
    wanted: dict[int, list[tuple[int, int]]] = {}
    num_weights = 0
    for record in points:
        pairs = [(block, source) for block, sources in json.loads(record.wiring) for source in sources]
        if pairs and record.fusion != "none" and num_weights + len(pairs) <= MAX_WEIGHTS:
            wanted[record.trial] = pairs
            num_weights += len(pairs)
    if not wanted:
        return {}
    table = read(set(wanted)).select(["trial", "tokens", "site", "source", "value"]).to_pydict()
    last: dict[int, tuple[int, dict[tuple[int, int], float]]] = {}
    for trial, tokens, site, source, value in zip(*table.values(), strict=True):
        if trial not in last or tokens > last[trial][0]:
            last[trial] = (tokens, {})
        if tokens == last[trial][0] and math.isfinite(value):
            last[trial][1][site, source] = value
    return {
        str(trial): [rounded(last[trial][1].get(pair), digits=4) for pair in pairs]
        for trial, pairs in wanted.items()
        if trial in last
    }


def rounded(value: float | None, *, digits: int = _DIGITS) -> float | None:
    """Returns the value with enough digits to sort by, and no more; `None` if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.{digits}g}")

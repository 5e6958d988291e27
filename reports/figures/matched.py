"""The fusions against each other at equal parameters, at equal latency and at equal training time.

Of each fusion the pattern with the lowest loss stands there, chosen by these same runs: that flatters whatever fusion
was tried most often.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.recommend import limits_of
from depthweave.reports.analysis.verdict_text import difference_text
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.figures.grid import Cell, Grid, GridRow
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import count_text, pattern_of, plural, show
from depthweave.reports.store.records import Record

_NUM_LIMITS = 6
_TIME_SHARES = (0.25, 0.5, 0.75, 1.0)
_MAX_CELLS = 8


def at_equal_parameters(records: Sequence[Record], *, verdicts: Mapping[str, Verdict]) -> Grid | None:
    """Lowest perplexity of each fusion in each depth and budget, with its difference to the plain one.

    The records are averaged over seeds (`RunView.averaged`), also below.
    """
    finished = _finished(records)
    cells = sorted({(it.depth, it.budget) for it in finished}, key=lambda key: (key[1] or 0, key[0]))[-_MAX_CELLS:]

    def found(fusion: str, place: int) -> Cell:
        own = [it for it in finished if it.fusion == fusion and (it.depth, it.budget) == cells[place]]
        if not own:
            return Cell("")
        best = min(own, key=_order)
        lowest = min((it for it in finished if (it.depth, it.budget) == cells[place]), key=_order)
        share = -0.6 if best.trial == lowest.trial else None
        verdict = verdicts.get(best.architecture_id)
        mean, interval = difference_text(verdict) if verdict else ("-", "")
        return Cell(_perplexity(best), share, f"{mean} ({interval})" if interval else "", best.architecture_id)

    heads = [f"{plural(depth, 'block')}, {count_text(budget) if budget else '?'}" for depth, budget in cells]
    return _grid("At equal parameters", "", heads, finished, found)


def at_equal_latency(records: Sequence[Record]) -> Grid | None:
    """Lowest perplexity of each fusion among those whose latency is at most a column's."""
    finished = [it for it in _finished(records) if value_of(it, "latency") is not None]
    limits = limits_of(records, column="latency")
    if len(limits) > _NUM_LIMITS:
        limits = [limits[round(place)] for place in np.linspace(0, len(limits) - 1, _NUM_LIMITS)]

    def found(fusion: str, place: int) -> Cell:
        own = [it for it in finished if it.fusion == fusion and (it.latency or math.inf) <= limits[place].value]
        return _best(own, among=[it for it in finished if (it.latency or math.inf) <= limits[place].value])

    return _grid("At equal latency", "at most", [it.text for it in limits], finished, found)


def at_equal_time(records: Sequence[Record], *, evaluations: pa.Table) -> Grid | None:
    """Lowest validation loss of each fusion, nat/token, after a share of the time that the reference trains.

    A trial's time goes by its training-step latency, measured apart, not by the clock of a machine that others used
    too; its loss in between is interpolated. One that has finished keeps its last loss.
    """
    finished = [it for it in records if it.state == "complete" and value_of(it, "step_latency")]
    curves = _curves(evaluations)
    if not finished:
        return None

    def loss_at(record: Record, share: float) -> float | None:
        tokens = share * record.tokens / (record.step_latency or math.inf)
        curve = curves.get(record.trial)
        if not curve or tokens < curve[0][0]:
            return None
        return float(np.interp(tokens, [it[0] for it in curve], [it[1] for it in curve]))

    def found(fusion: str, place: int) -> Cell:
        share = _TIME_SHARES[place]
        losses = [(loss, it.trial, it) for it in finished if (loss := loss_at(it, share)) is not None]
        own = [entry for entry in losses if entry[2].fusion == fusion]
        if not own:
            return Cell("")
        loss, _, best = min(own, key=lambda entry: entry[:2])
        return Cell(f"{loss:.3f}", -0.6 if loss == min(losses)[0] else None, _pattern(best), best.architecture_id)

    return _grid("At equal training time", "", [f"{100 * it:.0f} %" for it in _TIME_SHARES], finished, found)


def _grid(
    title: str,
    corner: str,
    heads: list[str],
    records: Sequence[Record],
    found: Callable[[str, int], Cell],
) -> Grid | None:
    fusions = sorted({it.fusion for it in records}, key=lambda name: (name != "none", name))
    if len(fusions) < 2 or not heads:
        return None
    rows = [GridRow(name, colour_of(name), [found(name, place) for place in range(len(heads))]) for name in fusions]
    return Grid(title, corner, heads, rows)


def _best(own: Sequence[Record], *, among: Sequence[Record]) -> Cell:
    if not own:
        return Cell("")
    best = min(own, key=_order)
    lowest = min(among, key=_order)
    share = -0.6 if best.trial == lowest.trial else None
    return Cell(show("perplexity", best.perplexity), share, _pattern(best), best.architecture_id)


def _perplexity(record: Record) -> str:
    pattern = pattern_of(record)
    told = show("perplexity", record.perplexity)
    return f"{told}, {pattern}" if pattern else told


def _pattern(record: Record) -> str:
    pattern = pattern_of(record)
    return f"{pattern}, {record.depth}" if pattern else f"{record.depth} blocks"


def _finished(records: Sequence[Record]) -> list[Record]:
    return [it for it in records if it.state == "complete" and value_of(it, "perplexity") is not None]


def _order(record: Record) -> tuple[float, int]:
    perplexity = value_of(record, "perplexity")
    return (math.inf if perplexity is None else perplexity, record.trial)


def _curves(evaluations: pa.Table) -> dict[int, list[tuple[int, float]]]:
    columns = evaluations.select(["trial", "tokens", "loss"]).to_pydict()
    curves: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for trial, tokens, loss in zip(columns["trial"], columns["tokens"], columns["loss"], strict=True):
        if loss is not None and math.isfinite(loss):
            curves[trial].append((tokens, loss))
    return {trial: sorted(curve) for trial, curve in curves.items()}

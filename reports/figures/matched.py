"""Compares the fusions at equal parameters, at equal latency and at equal training time.

Each fusion is represented by its pattern with the lowest loss. The same trials choose the pattern and give its value,
which favours the fusion that was tried most often.
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
from depthweave.reports.formatting import count_text, plural, show
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import wiring_name
from depthweave.spaces.plain_names import plain_first

_NUM_LIMITS = 6
_TIME_SHARES = (0.25, 0.5, 0.75, 1.0)
_MAX_CELLS = 8


def at_equal_parameters(records: Sequence[Record], *, verdicts: Mapping[str, Verdict]) -> Grid | None:
    """Returns the lowest perplexity of each fusion for each depth and budget, with its difference to plain.

    The records are averaged over seeds (`RunView.averaged`), also below.
    """
    finished = _finished(records)
    cells = sorted({(it.depth, it.budget) for it in finished}, key=lambda key: (key[1] or 0, key[0]))[-_MAX_CELLS:]

    def cell(fusion: str, column: int) -> Cell:
        own = [it for it in finished if it.fusion == fusion and (it.depth, it.budget) == cells[column]]
        if not own:
            return Cell("")
        best = min(own, key=_by_perplexity)
        lowest = min((it for it in finished if (it.depth, it.budget) == cells[column]), key=_by_perplexity)
        share = -0.6 if best.trial == lowest.trial else None
        verdict = verdicts.get(best.architecture_id)
        mean, interval = difference_text(verdict) if verdict else ("-", "")
        return Cell(_perplexity_text(best), share, f"{mean} ({interval})" if interval else "", best.architecture_id)

    titles = [f"{plural(depth, 'block')}, {count_text(budget) if budget else '?'}" for depth, budget in cells]
    return _grid("At equal parameters", "", titles, finished, cell)


def at_equal_latency(records: Sequence[Record]) -> Grid | None:
    """Returns the lowest perplexity of each fusion under the latency limit of each column."""
    finished = [it for it in _finished(records) if value_of(it, "latency") is not None]
    limits = limits_of(records, column="latency")
    if len(limits) > _NUM_LIMITS:
        limits = [limits[round(place)] for place in np.linspace(0, len(limits) - 1, _NUM_LIMITS)]

    def cell(fusion: str, column: int) -> Cell:
        own = [it for it in finished if it.fusion == fusion and (it.latency or math.inf) <= limits[column].value]
        return _best_cell(own, among=[it for it in finished if (it.latency or math.inf) <= limits[column].value])

    return _grid("At equal latency", "at most", [it.text for it in limits], finished, cell)


def at_equal_time(records: Sequence[Record], *, evaluations: pa.Table) -> Grid | None:
    """Returns the lowest validation loss of each fusion, nat/token, after a share of the reference's training time.

    A trial's time is computed from its measured training-step latency, not from the wall clock, because other trials
    used the machine too. The loss is interpolated between evaluations. A finished trial keeps its last loss.
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

    def cell(fusion: str, column: int) -> Cell:
        share = _TIME_SHARES[column]
        losses = [(loss, it.trial, it) for it in finished if (loss := loss_at(it, share)) is not None]
        own = [item for item in losses if item[2].fusion == fusion]
        if not own:
            return Cell("")
        loss, _, best = min(own, key=lambda item: item[:2])
        return Cell(f"{loss:.3f}", -0.6 if loss == min(losses)[0] else None, _pattern_text(best), best.architecture_id)

    return _grid("At equal training time", "", [f"{100 * it:.0f} %" for it in _TIME_SHARES], finished, cell)


def _grid(
    title: str,
    corner: str,
    titles: list[str],
    records: Sequence[Record],
    cell: Callable[[str, int], Cell],
) -> Grid | None:
    fusions = sorted({it.fusion for it in records}, key=plain_first)
    if len(fusions) < 2 or not titles:
        return None
    rows = [GridRow(name, colour_of(name), [cell(name, column) for column in range(len(titles))]) for name in fusions]
    return Grid(title, corner, titles, rows)


def _best_cell(own: Sequence[Record], *, among: Sequence[Record]) -> Cell:
    if not own:
        return Cell("")
    best = min(own, key=_by_perplexity)
    lowest = min(among, key=_by_perplexity)
    share = -0.6 if best.trial == lowest.trial else None
    return Cell(show("perplexity", best.perplexity), share, _pattern_text(best), best.architecture_id)


def _perplexity_text(record: Record) -> str:
    pattern = wiring_name(record)
    text = show("perplexity", record.perplexity)
    return f"{text}, {pattern}" if pattern else text


def _pattern_text(record: Record) -> str:
    pattern = wiring_name(record)
    return f"{pattern}, {record.depth}" if pattern else f"{record.depth} blocks"


def _finished(records: Sequence[Record]) -> list[Record]:
    return [it for it in records if it.state == "complete" and value_of(it, "perplexity") is not None]


def _by_perplexity(record: Record) -> tuple[float, int]:
    perplexity = value_of(record, "perplexity")
    return (math.inf if perplexity is None else perplexity, record.trial)


def _curves(evaluations: pa.Table) -> dict[int, list[tuple[int, float]]]:
    columns = evaluations.select(["trial", "tokens", "loss"]).to_pydict()
    curves: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for trial, tokens, loss in zip(columns["trial"], columns["tokens"], columns["loss"], strict=True):
        if loss is not None and math.isfinite(loss):
            curves[trial].append((tokens, loss))
    return {trial: sorted(curve) for trial, curve in curves.items()}

"""How much each axis of the space matters for each objective.

A model of main effects and of pairs, ridge-regularised, is fitted to the complete architectures; its penalty is the
one that predicts left-out architectures best. An axis's share is the variance that goes with it: half the mean
squared change of the prediction when its value is exchanged with another architecture's, over the variance of the
objective. For independent axes that is the total index of Sobol; shares of axes that act together count in each.

Dilation and period exist only where there is a fusion: they are exchanged among architectures that have them, and
come with the fusion where that is exchanged.

Source: Saltelli et al., "Variance based sensitivity analysis of model output", 2010 (Jansen's estimator of the total
index); Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance", 2014.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.front import value_of
from depthweave.reports.figures.grid import Cell, Grid, GridRow
from depthweave.reports.formatting import title_of
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record

AXES = ("fusion", "dilation", "period", "depth", "budget")
MIN_RECORDS = 12
"""Fewer say nothing of five axes."""
MIN_EXPLAINED = 0.2
"""A model that predicts less of what it has not seen has no say in what matters."""
_MAX_RECORDS = 1_000
_PENALTIES = tuple(10.0**power for power in np.arange(-4, 3.5, 0.5))
_NUM_EXCHANGES = 20

Row = tuple[object, ...]


class Importance(NamedTuple):
    """Of one objective."""

    objective: str
    shares: dict[str, float]
    """Axis to the share of variance that goes with it."""
    explained: float
    """Share of the variance that the model predicts of architectures that it was not fitted to; may be below 0."""


def importance_of(records: Sequence[Record], *, objective: str) -> Importance | None:
    """The shares of the axes that vary; `None` where there are too few complete architectures or nothing varies.

    The records are averaged over seeds (`RunView.averaged`).
    """
    held = [it for it in records if it.state == "complete" and value_of(it, objective) is not None]
    if len(held) > _MAX_RECORDS:
        held = held[:: -(-len(held) // _MAX_RECORDS)]
    axes = [axis for axis in AXES if len({_level(it, axis) for it in held}) > 1]
    y_N = np.array([float(column_value(it, objective)) for it in held])
    if len(held) < MIN_RECORDS or not axes or float(y_N.std()) <= 1e-12 * abs(float(y_N.mean())):
        return None
    rows = [tuple(_level(it, axis) for axis in axes) for it in held]
    model = _fit(rows, y_N)
    variance = float(y_N.var())
    rng = np.random.default_rng(0)
    base_N = model.predict(rows)
    shares = {}
    for axis in axes:
        changes = []
        for _ in range(_NUM_EXCHANGES):
            exchanged = _exchanged(rows, axes=axes, axis=axis, rng=rng)
            changes.append(float(((model.predict(exchanged) - base_N) ** 2).mean()))
        shares[axis] = float(np.mean(changes)) / 2 / variance
    return Importance(objective, shares, model.explained)


def importance_grid(records: Sequence[Record], *, objectives: Sequence[str]) -> Grid | None:
    """The shares of all axes for all objectives, as a table; `None` where none can be told."""
    found = [it for name in objectives if (it := importance_of(records, objective=name)) is not None]
    if not found:
        return None
    axes = [axis for axis in AXES if any(axis in it.shares for it in found)]
    rows = [GridRow(axis, "", [_cell(it, axis) for it in found]) for axis in axes]
    rows.append(GridRow("predicted", "", [Cell(f"{100 * max(0.0, it.explained):.0f} %") for it in found]))
    heads = [title_of(it.objective) if it.objective in OBJECTIVES else it.objective for it in found]
    return Grid("Importance of each axis", "", heads, rows)


def _cell(found: Importance, axis: str) -> Cell:
    share = found.shares.get(axis)
    if share is None or found.explained < MIN_EXPLAINED:
        return Cell("")
    return Cell(f"{100 * share:.0f} %", -min(1.0, share))


def _level(record: Record, axis: str) -> object:
    if axis in ("dilation", "period") and record.fusion == "none":
        return None
    # A period of the whole depth is one choice of the space at every depth.
    if axis == "period" and record.period == record.depth:
        return "depth"
    return getattr(record, axis)


class _Model(NamedTuple):
    """One-hot effects of levels and of pairs of them."""

    columns: dict[tuple[tuple[int, object], ...], int]
    weights_F: NDArray[np.float64]
    mean: float
    explained: float

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """A level or pair that was never seen has no effect."""
        return np.asarray(self.mean + _design(rows, self.columns) @ self.weights_F, dtype=np.float64)


def _terms(row: Row) -> list[tuple[tuple[int, object], ...]]:
    single = [((place, level),) for place, level in enumerate(row) if level is not None]
    pairs = [(*first, *second) for first, second in itertools.combinations(single, 2)]
    return [*single, *pairs]


def _design(rows: Sequence[Row], columns: dict[tuple[tuple[int, object], ...], int]) -> NDArray[np.float64]:
    x_NF = np.zeros((len(rows), len(columns)))
    for number, row in enumerate(rows):
        for term in _terms(row):
            if term in columns:
                # Pairs are held back more than single axes, so that what one axis explains is that axis's.
                x_NF[number, columns[term]] = 1.0 if len(term) == 1 else 0.5
    return x_NF


def _fit(rows: Sequence[Row], y_N: NDArray[np.float64]) -> _Model:
    columns: dict[tuple[tuple[int, object], ...], int] = {}
    for row in rows:
        for term in _terms(row):
            columns.setdefault(term, len(columns))
    x_NF = _design(rows, columns)
    mean = float(y_N.mean())
    u_NR, s_R, v_RF = np.linalg.svd(x_NF, full_matrices=False)
    best: tuple[float, NDArray[np.float64]] | None = None
    for penalty in _PENALTIES:
        shrunk_R = s_R**2 / (s_R**2 + penalty)
        residual_N = y_N - mean - u_NR @ (shrunk_R * (u_NR.T @ (y_N - mean)))
        # The error of each that is left out, without a fit for each; the mean is one more degree of freedom.
        leverage_N = np.minimum((u_NR**2 * shrunk_R).sum(axis=1) + 1 / len(y_N), 1 - 1e-9)
        error = float(((residual_N / (1 - leverage_N)) ** 2).mean())
        if best is None or error < best[0]:
            weights_F = v_RF.T @ (s_R / (s_R**2 + penalty) * (u_NR.T @ (y_N - mean)))
            best = (error, np.asarray(weights_F, dtype=np.float64))
    assert best is not None
    return _Model(columns, best[1], mean, 1.0 - best[0] / float(y_N.var()))


def _exchanged(rows: Sequence[Row], *, axes: Sequence[str], axis: str, rng: np.random.Generator) -> list[Row]:
    """The rows with this axis's values dealt anew among those that have one."""
    place = axes.index(axis)
    inner = [number for number, other in enumerate(axes) if other in ("dilation", "period")]
    having = [number for number, row in enumerate(rows) if row[place] is not None]
    dealt = dict(zip(having, rng.permutation(having).tolist(), strict=True))
    found = []
    for number, row in enumerate(rows):
        changed = list(row)
        if number in dealt:
            other = rows[dealt[number]]
            changed[place] = other[place]
            if axis == "fusion" and "none" in (row[place], other[place]):
                for at in inner:
                    changed[at] = other[at]
        found.append(tuple(changed))
    return found

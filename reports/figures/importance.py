"""How much each axis of the space matters for each objective.

A ridge regression with main effects and pairs is fitted to the complete architectures. Its penalty is the one that
predicts left-out architectures best. The share of an axis is half the mean squared change of the prediction when the
axis's values are permuted among the architectures, divided by the variance of the objective. For independent axes this
is Sobol's total index; the share of an interaction counts for each of its axes.

A family of wirings exists only with a fusion, dilation and period only in the family k x p. They are permuted among the
architectures that have them, and move together with the fusion, or the family, when it is permuted.

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
from depthweave.reports.formatting import fusion_word, title_of
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import family_of_record, shows_wiring
from depthweave.spaces.single_wirings import has_one_wiring

AXES = ("fusion", "family", "dilation", "period", "depth", "budget")
_OF_WIRING = ("family", "dilation", "period")
MIN_RECORDS = 12
"""Fewer are not enough for the axes."""
MIN_EXPLAINED = 0.2
"""Shares of a model that predicts less of left-out architectures are not shown."""
_MAX_RECORDS = 1_000
_PENALTIES = tuple(10.0**power for power in np.arange(-4, 3.5, 0.5))
_NUM_PERMUTATIONS = 20

Row = tuple[object, ...]


class Importance(NamedTuple):
    """The shares of one objective."""

    objective: str
    shares: dict[str, float]
    """Share of the variance by axis."""
    explained: float
    """Share of the variance that the model predicts for left-out architectures; can be below 0."""


def importance_of(records: Sequence[Record], *, objective: str) -> Importance | None:
    """Returns the shares of the axes that vary; `None` with too few complete architectures or no variation.

    The records are averaged over seeds (`RunView.averaged`).
    """
    held = [it for it in records if it.state == "complete" and value_of(it, objective) is not None]
    if len(held) > _MAX_RECORDS:
        held = held[:: -(-len(held) // _MAX_RECORDS)]
    axes = [axis for axis in AXES if _varies(held, axis)]
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
        for _ in range(_NUM_PERMUTATIONS):
            permuted = _permuted(rows, axes=axes, axis=axis, rng=rng)
            changes.append(float(((model.predict(permuted) - base_N) ** 2).mean()))
        shares[axis] = float(np.mean(changes)) / 2 / variance
    return Importance(objective, shares, model.explained)


def importance_grid(records: Sequence[Record], *, objectives: Sequence[str]) -> Grid | None:
    """Returns a table of the shares of all axes for all objectives; `None` if there are none."""
    found = [it for name in objectives if (it := importance_of(records, objective=name)) is not None]
    if not found:
        return None
    axes = [axis for axis in AXES if any(axis in it.shares for it in found)]
    word = fusion_word(records)
    rows = [GridRow(word if axis == "fusion" else axis, "", [_cell(it, axis) for it in found]) for axis in axes]
    rows.append(GridRow("predicted", "", [Cell(f"{100 * max(0.0, it.explained):.0f} %") for it in found]))
    titles = [title_of(it.objective) if it.objective in OBJECTIVES else it.objective for it in found]
    return Grid("Importance of each axis", "", titles, rows)


def _cell(found: Importance, axis: str) -> Cell:
    share = found.shares.get(axis)
    if share is None or found.explained < MIN_EXPLAINED:
        return Cell("")
    return Cell(f"{100 * share:.0f} %", -min(1.0, share))


def _varies(records: Sequence[Record], axis: str) -> bool:
    levels = {_level(it, axis) for it in records}
    # With one family, whether there is one is what the fusion says.
    return len(levels - {None} if axis == "family" else levels) > 1


def _level(record: Record, axis: str) -> object:
    if axis in _OF_WIRING and not shows_wiring(record):
        return None
    if axis == "family":
        return family_of_record(record)
    # A period equal to the depth is the same choice at every depth.
    if axis == "period" and record.period == record.depth:
        return "depth"
    return getattr(record, axis)


class _Model(NamedTuple):
    """A linear model of one-hot levels and pairs of levels."""

    columns: dict[tuple[tuple[int, object], ...], int]
    weights_F: NDArray[np.float64]
    mean: float
    explained: float

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Returns the predictions. A level or pair outside the fitted data has no effect."""
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
                # A smaller value penalises pairs more, so that what one axis explains is attributed to that axis.
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
        # Leave-one-out errors from the leverages, without refitting. The mean is one more degree of freedom.
        leverage_N = np.minimum((u_NR**2 * shrunk_R).sum(axis=1) + 1 / len(y_N), 1 - 1e-9)
        error = float(((residual_N / (1 - leverage_N)) ** 2).mean())
        if best is None or error < best[0]:
            weights_F = v_RF.T @ (s_R / (s_R**2 + penalty) * (u_NR.T @ (y_N - mean)))
            best = (error, np.asarray(weights_F, dtype=np.float64))
    assert best is not None
    return _Model(columns, best[1], mean, 1.0 - best[0] / float(y_N.var()))


def _permuted(rows: Sequence[Row], *, axes: Sequence[str], axis: str, rng: np.random.Generator) -> list[Row]:
    """Returns the rows with this axis's values permuted among the rows that have one."""
    column = axes.index(axis)
    pattern_columns = [number for number, other in enumerate(axes) if other in _OF_WIRING]
    with_value = [number for number, row in enumerate(rows) if row[column] is not None]
    sources = dict(zip(with_value, rng.permutation(with_value).tolist(), strict=True))
    permuted = []
    for number, row in enumerate(rows):
        changed = list(row)
        if number in sources:
            other = rows[sources[number]]
            changed[column] = other[column]
            if axis == "family" or (axis == "fusion" and any(has_one_wiring(str(it[column])) for it in (row, other))):
                for pattern_column in pattern_columns:
                    changed[pattern_column] = other[pattern_column]
        permuted.append(tuple(changed))
    return permuted

"""The front of a run, its hypervolume, and the Pareto rank of each record.

A record counts where it is complete, every objective has a finite value, and measured ones are of the run's one kind of
device (`device_kinds`). It is on the front where no other record is at least as good in every objective and better in
one. Records with equal values are all on the front or all off it. Several seeds of one architecture are one record, at
their mean loss (`seeds.averaged`).

Source: moocore (López-Ibáñez, Paquete and Stützle), for the non-dominated set, ranks and exact hypervolume.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import moocore
import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.device_kinds import comparable
from depthweave.reports.analysis.seeds import averaged
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record

_MARGIN_FRAC = 0.1
"""Distance of the reference point beyond the worst complete record, as a share of the range from best to worst."""


def value_of(record: Record, name: str) -> float | None:
    """Returns a record's objective or numeric column, `None` where it is absent or not finite."""
    value = column_value(record, name)
    return float(value) if value is not None and math.isfinite(value) else None


def end_of(record: Record, name: str, end: Literal["low", "high"]) -> float | None:
    """Returns one end of the 95 % interval of a timed objective, the value itself where it has no interval.

    `None` where the value is absent.
    """
    value = value_of(record, f"{name}_{end}") if OBJECTIVES[name].timed else None
    return value_of(record, name) if value is None else value


def complete(records: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """Returns the records that can be on a front: complete, with every objective, one for each architecture."""
    return with_all(averaged(comparable(records, objectives=objectives)), objectives=objectives)


def with_all(records: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """Returns the complete records with a finite value of every objective."""
    return [
        record
        for record in records
        if record.state == "complete" and all(value_of(record, name) is not None for name in objectives)
    ]


def points_of(records: Sequence[Record], *, objectives: Sequence[str]) -> NDArray[np.float64]:
    """Returns the objective values, `[records, objectives]`; raises `TypeError` for an absent one."""
    rows = [[float(column_value(record, name)) for name in objectives] for record in records]
    return np.array(rows, dtype=np.float64).reshape(len(records), len(objectives))


def front(records: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """Returns the non-dominated complete records, sorted by the first objective and then by the others."""
    return non_dominated(complete(records, objectives=objectives), objectives=objectives)


def non_dominated(candidates: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """Returns the front of records that can be on it (`complete`), sorted as by `front`."""
    if not candidates:
        return []
    points = points_of(candidates, objectives=objectives)
    kept = moocore.is_nondominated(points, keep_weakly=True)
    members = [
        (tuple(point), record.trial, record) for point, record, on in zip(points, candidates, kept, strict=True) if on
    ]
    return [record for _, _, record in sorted(members, key=lambda item: item[:2])]


def may_be_on_front(records: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """Returns the front, and the complete records that would be on it with each time at the low end of its interval.

    A time that was measured beside other trials is noisy. These records are worth a second measurement, alone.
    """
    candidates = complete(records, objectives=objectives)
    members = front(records, objectives=objectives)
    points_FO = points_of(members, objectives=objectives)
    possible = []
    for record in candidates:
        lows: dict[str, Any] = {name: end_of(record, name, "low") for name in objectives if OBJECTIVES[name].timed}
        (point_O,) = points_of([dataclasses.replace(record, **lows)], objectives=objectives)
        beaten_F = (points_FO <= point_O).all(axis=1) & (points_FO < point_O).any(axis=1)
        if not beaten_F.any():
            possible.append(record)
    return possible


def pareto_ranks(records: Sequence[Record], *, objectives: Sequence[str]) -> dict[int, int]:
    """Returns trial to rank: 0 on the front, 1 on the front of the rest, and so on; only records that count."""
    candidates = complete(records, objectives=objectives)
    if not candidates:
        return {}
    ranks = moocore.pareto_rank(points_of(candidates, objectives=objectives))
    return {record.trial: int(rank) for record, rank in zip(candidates, ranks, strict=True)}


def reference_point(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the corner from which hypervolume is counted, `[objectives]`.

    Each coordinate is the worst value plus a tenth of the range from best to worst, so that the ends of the front count
    too; where all values are equal, plus a tenth of the value. It depends on the points: two hypervolumes are
    comparable only with the same reference point.
    """
    if not len(points):
        raise ValueError("reference_point: no complete record: nothing to measure from")
    best, worst = points.min(axis=0), points.max(axis=0)
    spread = worst - best
    level = np.where(worst != 0, np.abs(worst), 1.0)
    return np.asarray(worst + _MARGIN_FRAC * np.where(spread > 0, spread, level), dtype=np.float64)


def hypervolume(points: NDArray[np.float64], *, reference: NDArray[np.float64]) -> float:
    """Returns the volume between the points and `reference`, in the objectives' units."""
    if not len(points):
        return 0.0
    return float(moocore.hypervolume(points, ref=reference))


def hypervolume_frac(
    points: NDArray[np.float64], *, ideal: NDArray[np.float64], reference: NDArray[np.float64]
) -> float:
    """Returns `hypervolume` as a share, 0 to 1, of the box from the best value of each objective to `reference`."""
    if not len(points):
        return 0.0
    # Scaled first: bytes times perplexity would lose digits.
    scaled = (points - ideal) / (reference - ideal)
    return hypervolume(scaled, reference=np.ones(len(ideal)))

"""What counts as evidence of an architecture's loss: its fresh seeds, and how each fared on each part of the text.

Records of earlier versions do not hold the losses by part. Then what the text adds to a difference is taken to be the
largest that was measured between architectures of one size, and of two (`benchmarks/validation_text.py`).

Axes: S seeds, G parts of the validation text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.contrast import Contrast, Variance, paired_contrast, unpaired_contrast
from depthweave.reports.analysis.seeds import Size, fresh_records, size_of
from depthweave.reports.store.records import Record

_MIN_PARTS = 4
"""Fewer parts of the text do not show their spread."""
_WITHIN_NATS, _ACROSS_NATS = 0.64, 1.20
"""Standard error of a difference by the text alone, times the root of its tokens: of one size, and of two."""


class Evidence(NamedTuple):
    """What the fresh seeds of an architecture say."""

    size: Size
    losses: Mapping[int, float]
    """By seed, nat/token."""
    parts: Mapping[int, NDArray[np.float64]]
    """By seed, of each part of the text `[G]`, nat/token; empty in records of earlier versions."""
    tokens: int
    """Validation tokens; 0 where the recipe does not tell."""


def evidence_of(records: Sequence[Record]) -> dict[str, Evidence]:
    """Architecture id to its evidence, of those with a fresh seed."""
    found: dict[str, Evidence] = {}
    for record in fresh_records(records):
        assert record.loss is not None
        own = found.setdefault(record.architecture_id, Evidence(size_of(record), {}, {}, _tokens(record)))
        losses, parts = dict(own.losses), dict(own.parts)
        losses.setdefault(record.seed, record.loss)
        text = _list(record.text_losses)
        if len(text) >= _MIN_PARTS:
            parts.setdefault(record.seed, np.array(text))
        found[record.architecture_id] = own._replace(losses=losses, parts=parts)
    return found


def contrast_of(first: Evidence, second: Evidence) -> Contrast | None:
    """The difference of two architectures' losses; `None` where too few seeds show their spread.

    Those of one size are subtracted seed by seed, where they share two.
    """
    shared = sorted(first.losses.keys() & second.losses.keys())
    if first.size == second.size and len(shared) >= 2:
        differences_S = np.array([first.losses[seed] - second.losses[seed] for seed in shared])
        return paired_contrast(differences_S, text=text_variance(first, second))
    if min(len(first.losses), len(second.losses)) < 2:
        return None
    mine, theirs = (np.array(list(own.losses.values())) for own in (first, second))
    return unpaired_contrast(mine, theirs, text=text_variance(first, second))


def text_variance(first: Evidence, second: Evidence) -> Variance:
    """What the choice of the validation text adds to the variance of the two losses' difference."""
    shared = sorted(first.parts.keys() & second.parts.keys())
    if first.size == second.size and shared and _alike([*first.parts.values(), *second.parts.values()]):
        return variance_by_parts(np.array([first.parts[seed] - second.parts[seed] for seed in shared]))
    if first.parts and second.parts and _alike([*first.parts.values(), *second.parts.values()]):
        mine_G, theirs_G = (np.mean(list(own.parts.values()), axis=0) for own in (first, second))
        return variance_by_parts((mine_G - theirs_G)[None])
    tokens = min(first.tokens, second.tokens)
    nats = _WITHIN_NATS if first.size == second.size else _ACROSS_NATS
    return Variance(np.array(nats**2 / tokens if tokens else 0.0), np.array(np.inf))


def variance_by_parts(differences_NSG: NDArray[np.float64]) -> Variance:
    """Of the mean over the parts of a text, `[..., S, G]`, less what the seeds' own noise puts into the parts."""
    num_seeds, num_parts = differences_NSG.shape[-2:]
    by_part_NG = differences_NSG.mean(axis=-2)
    value_N = by_part_NG.var(axis=-1, ddof=1) / num_parts
    if num_seeds > 1:
        by_seed_NS = differences_NSG.mean(axis=-1)
        mean_N = by_part_NG.mean(axis=-1)
        left_NSG = differences_NSG - by_part_NG[..., None, :] - by_seed_NS[..., :, None] + mean_N[..., None, None]
        square_N = (left_NSG**2).sum(axis=(-2, -1)) / ((num_seeds - 1) * (num_parts - 1))
        # Each seed's variance holds this share of it already.
        value_N = np.maximum(0.0, value_N - square_N / (num_seeds * num_parts))
    return Variance(np.asarray(value_N), np.array(num_parts - 1.0))


def _alike(parts: Sequence[NDArray[np.float64]]) -> bool:
    return len({len(item) for item in parts}) == 1


def _tokens(record: Record) -> int:
    try:
        values: Any = json.loads(record.recipe)
    except ValueError:
        return 0
    found = values.get("evaluation_tokens", 0) if isinstance(values, dict) else 0
    return found if isinstance(found, int) and found > 0 else 0


def _list(text: str | None) -> list[float]:
    """The numbers of a JSON list; what stands in a file may be anything."""
    try:
        values: Any = json.loads(text or "[]")
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []

"""An architecture's losses with fresh seeds, on the whole validation text and on each part of it.

Records of earlier versions lack the losses by part. Then the variance by the text is the largest that was measured
between architectures of the same size, or of two sizes (`benchmarks/validation_text.py`).

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
"""Fewer parts of the text do not show their variance."""
_WITHIN_NATS, _ACROSS_NATS = 0.64, 1.20
"""Standard error of a difference by the text alone, times the root of its tokens: within one size, across two."""


class FreshLosses(NamedTuple):
    """The losses of an architecture's fresh seeds."""

    size: Size
    losses: Mapping[int, float]
    """Loss by seed, nat/token."""
    parts: Mapping[int, NDArray[np.float64]]
    """Losses on each part of the text by seed, `[G]`, nat/token; empty in records of earlier versions."""
    tokens: int
    """Validation tokens; 0 where the recipe does not state them."""


def fresh_losses_of(records: Sequence[Record]) -> dict[str, FreshLosses]:
    """Returns architecture id to losses, for architectures with a fresh seed."""
    found: dict[str, FreshLosses] = {}
    for record in fresh_records(records):
        assert record.loss is not None
        own = found.setdefault(record.architecture_id, FreshLosses(size_of(record), {}, {}, _tokens(record)))
        losses, parts = dict(own.losses), dict(own.parts)
        losses.setdefault(record.seed, record.loss)
        text = _list(record.text_losses)
        if len(text) >= _MIN_PARTS:
            parts.setdefault(record.seed, np.array(text))
        found[record.architecture_id] = own._replace(losses=losses, parts=parts)
    return found


def contrast_of(first: FreshLosses, second: FreshLosses) -> Contrast | None:
    """Returns the contrast of two architectures' losses; `None` where there are too few seeds to show their variance.

    Architectures of one size that share two seeds are compared seed by seed.
    """
    shared = sorted(first.losses.keys() & second.losses.keys())
    if first.size == second.size and len(shared) >= 2:
        differences_S = np.array([first.losses[seed] - second.losses[seed] for seed in shared])
        return paired_contrast(differences_S, text=text_variance(first, second))
    if min(len(first.losses), len(second.losses)) < 2:
        return None
    mine, theirs = (np.array(list(own.losses.values())) for own in (first, second))
    return unpaired_contrast(mine, theirs, text=text_variance(first, second))


def text_variance(first: FreshLosses, second: FreshLosses) -> Variance:
    """Returns the variance of the two losses' difference by the choice of the validation text."""
    shared = sorted(first.parts.keys() & second.parts.keys())
    if first.size == second.size and shared and _equally_long([*first.parts.values(), *second.parts.values()]):
        return variance_by_parts(np.array([first.parts[seed] - second.parts[seed] for seed in shared]))
    if first.parts and second.parts and _equally_long([*first.parts.values(), *second.parts.values()]):
        mine_G, theirs_G = (np.mean(list(own.parts.values()), axis=0) for own in (first, second))
        return variance_by_parts((mine_G - theirs_G)[None])
    tokens = min(first.tokens, second.tokens)
    nats = _WITHIN_NATS if first.size == second.size else _ACROSS_NATS
    return Variance(np.array(nats**2 / tokens if tokens else 0.0), np.array(np.inf))


def variance_by_parts(differences_NSG: NDArray[np.float64]) -> Variance:
    """Returns the variance of the mean over the parts of a text, `[..., S, G]`, without the part that seeds cause."""
    num_seeds, num_parts = differences_NSG.shape[-2:]
    by_part_NG = differences_NSG.mean(axis=-2)
    value_N = by_part_NG.var(axis=-1, ddof=1) / num_parts
    if num_seeds > 1:
        by_seed_NS = differences_NSG.mean(axis=-1)
        mean_N = by_part_NG.mean(axis=-1)
        left_NSG = differences_NSG - by_part_NG[..., None, :] - by_seed_NS[..., :, None] + mean_N[..., None, None]
        square_N = (left_NSG**2).sum(axis=(-2, -1)) / ((num_seeds - 1) * (num_parts - 1))
        # The variance over seeds contains this share already.
        value_N = np.maximum(0.0, value_N - square_N / (num_seeds * num_parts))
    return Variance(np.asarray(value_N), np.array(num_parts - 1.0))


def _equally_long(parts: Sequence[NDArray[np.float64]]) -> bool:
    return len({len(item) for item in parts}) == 1


def _tokens(record: Record) -> int:
    try:
        values: Any = json.loads(record.recipe)
    except ValueError:
        return 0
    tokens = values.get("evaluation_tokens", 0) if isinstance(values, dict) else 0
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


def _list(text: str | None) -> list[float]:
    """Returns the numbers of a JSON list; empty for any other text."""
    try:
        values: Any = json.loads(text or "[]")
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []

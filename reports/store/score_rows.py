"""List columns of a record: what a trial with several trainings keeps of each, as Arrow lists of structures.

A training is one draw at one size (`shots`). Whole numbers are int32 in Parquet.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from depthweave.reports.store.columns import Bounds, column

_SHARE = Bounds(least=0.0, most=1.0)
_COUNT = Bounds(least=0, most=2**31 - 1)
_WEIGHT = Bounds(least=-1e15, most=1e15)


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityScore:
    """The scores of one evaluation of one training, micro averages over all types."""

    shots: int = column("", "size of the draw", bounds=_COUNT)
    draw: int = column("", "number of the draw, from 0", bounds=_COUNT)
    step: int = column("steps", "optimiser steps of the training", bounds=_COUNT)
    precision: float = column("", "share of the predicted entities that are right", bounds=_SHARE)
    recall: float = column("", "share of the entities that are found", bounds=_SHARE)
    f1: float = column("", "harmonic mean of precision and recall", bounds=_SHARE)


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeScore:
    """The scores of one entity type at the end of one training."""

    shots: int = column("", "size of the draw", bounds=_COUNT)
    draw: int = column("", "number of the draw, from 0", bounds=_COUNT)
    type: str = column("", "entity type")
    precision: float = column("", "share of the predicted entities that are right", bounds=_SHARE)
    recall: float = column("", "share of the entities that are found", bounds=_SHARE)
    f1: float = column("", "harmonic mean of precision and recall", bounds=_SHARE)
    support: int = column("", "entities of the type in the text", bounds=_COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerWeight:
    """The weight of one layer of the host at the end of one training."""

    shots: int = column("", "size of the draw", bounds=_COUNT)
    draw: int = column("", "number of the draw, from 0", bounds=_COUNT)
    type: str = column("", "entity type of the words that it is a mean over; empty for all words")
    layer: int = column("", "layer, 0 for the embedding", bounds=_COUNT)
    weight: float = column("", "the weight", bounds=_WEIGHT)


LIST_ROWS: Mapping[str, type[Any]] = {
    "entity_scores": EntityScore,
    "type_scores": TypeScore,
    "layer_weights": LayerWeight,
}
"""The row class of each list column."""

_ARROW: Mapping[type, pa.DataType] = {str: pa.string(), int: pa.int32(), float: pa.float64()}


@cache
def list_type(name: str) -> pa.DataType:
    """Returns the Arrow type of a list column; every field has its unit, meaning and bounds as metadata."""
    row_class = LIST_ROWS[name]
    hints = typing.get_type_hints(row_class)
    fields = [
        pa.field(item.name, _ARROW[hints[item.name]], nullable=False, metadata=_metadata(item))
        for item in dataclasses.fields(row_class)
    ]
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


def rows_of(name: str, values: Sequence[Mapping[str, Any]] | None) -> tuple[Any, ...] | None:
    """Returns plain values as rows of a list column. Raises `TypeError` for other fields than the column has."""
    return None if values is None else tuple(LIST_ROWS[name](**value) for value in values)


def list_array(name: str, rows: Sequence[Sequence[Any] | None]) -> pa.Array:
    """Returns the values of a list column as an Arrow array."""
    fields = [item.name for item in dataclasses.fields(LIST_ROWS[name])]
    plain = [None if own is None else [{field: getattr(row, field) for field in fields} for row in own] for own in rows]
    return pa.array(plain, list_type(name))


def list_fault(name: str, value: Sequence[Mapping[str, Any]]) -> str:
    """Returns the first value of a list that is out of its bounds, with the rule; empty where there is none."""
    for item in dataclasses.fields(LIST_ROWS[name]):
        bounds = item.metadata["bounds"]
        for row in value:
            own = row[item.name]
            rule = "given" if own is None else "" if isinstance(own, str) else bounds.rule_against(own)
            if rule:
                return f"{item.name} is {own!r:.40}, it must be {rule}"
    return ""


def _metadata(item: Any) -> dict[str, str]:
    return {"unit": item.metadata["unit"], "meaning": item.metadata["meaning"], **item.metadata["bounds"].metadata()}

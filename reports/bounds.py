"""What values a column can hold, and the rows of a table that hold no others.

A run may come from a stranger, and a disk or a program may have changed it: a latency below zero, a year that no
calendar has, text nested ten thousand deep. Such a row is no fact, and one is enough to break a page. Bounds are
declared with the column (`columns.column`), beside its unit and its meaning, and stand in the schema's metadata.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depthweave.reports.columns import Bounds, Form
from depthweave.spaces.wiring import Wiring

MOST = 2**62
"""Of a whole number: sums of two still fit."""
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_MAX_CHARACTERS = 2**20
"""Of a text; the wiring of the deepest model has a fifth of them."""
_SHOWN = 40


class Sound(NamedTuple):
    """A table without the rows that break their bounds."""

    table: pa.Table
    left_out: str
    """What the first of the others is, and how many there are; empty where there is none."""


class _Fault(NamedTuple):
    rows: pa.ChunkedArray
    """True for each row that has it."""
    column: str
    rule: str
    """What is allowed."""


def sound_rows(table: pa.Table, *, row_class: type[Any], required: Collection[str]) -> Sound:
    """The rows within their bounds; `required` are the columns that may not be empty."""
    faults = [fault for fault in _faults(table, row_class, required) if pc.any(fault.rows).as_py()]
    if not faults:
        return Sound(table, "")
    bad = faults[0].rows
    for fault in faults[1:]:
        bad = pc.or_(bad, fault.rows)
    return Sound(table.filter(pc.invert(bad)), _told(table, faults[0], count=pc.sum(bad).as_py()))


def json_value(text: str) -> Any:
    """The value in a JSON text; `ValueError` where there is none, or a number in it is not finite."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _faults(table: pa.Table, row_class: type[Any], required: Collection[str]) -> Iterator[_Fault]:
    complete = pc.equal(table["state"], "complete").fill_null(False) if "state" in table.column_names else None
    for item in dataclasses.fields(row_class):
        if item.name not in table.column_names:
            continue
        column, bounds = table[item.name], item.metadata["bounds"]
        if item.name in required and column.null_count:
            yield _Fault(column.is_null(), item.name, "empty")
        for test, rule in _tests(column.type, bounds):
            yield _Fault(test(column).fill_null(False), item.name, rule)
        if bounds.form != "text":
            depths = table["depth"] if bounds.form == "wiring" else None
            yield _Fault(_misformed(column, bounds.form, depths=depths), item.name, f"JSON of {bounds.form}")
        if complete is not None and bounds.complete_only:
            yield _Fault(pc.and_(pc.invert(complete), column.is_valid()), item.name, "empty unless it is complete")
        if complete is not None and bounds.least_complete is not None:
            low = pc.less(column, bounds.least_complete).fill_null(False)
            yield _Fault(pc.and_(complete, low), item.name, f"at least {bounds.least_complete:g}")
    key = [item.name for item in dataclasses.fields(row_class) if item.metadata["bounds"].key]
    if key and table.num_rows:
        yield _Fault(_repeated(table, key), key[-1], "no other row's")


def _tests(kind: pa.DataType, bounds: Bounds) -> Iterator[tuple[Callable[[Any], Any], str]]:
    """What makes a value of that type impossible, each with what is allowed."""
    if pa.types.is_string(kind):
        yield lambda it: pc.greater(pc.utf8_length(it), _MAX_CHARACTERS), f"at most {_MAX_CHARACTERS:,} characters"
        if bounds.one_of:
            known = pa.array(bounds.one_of)
            yield lambda it: pc.invert(pc.is_in(it, known)), f"one of {', '.join(bounds.one_of)}"
    elif pa.types.is_timestamp(kind):
        first, last = (pa.scalar(end, kind) for end in (_FIRST, _LAST))
        rule = f"from {_FIRST.year} to {_LAST.year}"
        yield lambda it: pc.or_(pc.less(it, first), pc.greater(it, last)), rule
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if pa.types.is_floating(kind) and not bounds.nan:
            yield pc.is_nan, "a number"
        if pa.types.is_floating(kind) and not bounds.infinite:
            yield pc.is_inf, "finite"
        if bounds.least is not None:
            yield lambda it: pc.less(it, bounds.least), f"at least {bounds.least:g}"
        most = MOST if bounds.most is None and pa.types.is_integer(kind) else bounds.most
        if most is not None:
            yield lambda it: pc.greater(it, most), f"at most {most:g}"


def _misformed(column: pa.ChunkedArray, form: Form, *, depths: pa.ChunkedArray | None) -> pa.ChunkedArray:
    """True where the text is not of that form; most texts repeat, and each is looked at once."""
    coded = column.combine_chunks().dictionary_encode()
    texts = coded.dictionary.to_pylist()
    places = coded.indices.fill_null(-1).to_numpy()
    others = np.zeros(len(places), np.int64) if depths is None else depths.fill_null(0).to_numpy()
    known = {(-1, other): False for other in set(others.tolist())}
    pairs = list(zip(places.tolist(), others.tolist(), strict=True))
    for place, depth in set(pairs) - known.keys():
        known[place, depth] = not _is_formed(texts[place], form, depth=depth)
    return pa.chunked_array([pa.array([known[pair] for pair in pairs], pa.bool_())])


def _is_formed(text: str, form: Form, *, depth: int) -> bool:
    try:
        value = json_value(text)
        if form == "object":
            return isinstance(value, dict)
        if form == "numbers":
            return isinstance(value, list) and all(type(item) in (int, float) for item in value)
        # Exactly as written: `Wiring` itself would take "5" for 5.
        return bool(json.loads(Wiring(depth, tuple(value)).sites_json) == value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return False
    return True


def _repeated(table: pa.Table, key: Sequence[str]) -> pa.ChunkedArray:
    """True for each row that has the key of another: which of them is true cannot be known."""
    columns = [table[name].fill_null(-1).to_numpy() for name in key]
    _, places, counts = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True, return_counts=True)
    return pa.chunked_array([pa.array(counts[places.reshape(-1)] > 1, pa.bool_())])


def _told(table: pa.Table, fault: _Fault, *, count: int) -> str:
    place = int(np.flatnonzero(fault.rows.to_numpy())[0])
    value, rule = table[fault.column][place], fault.rule
    others = "" if count == 1 else f", and {count - 1:,} further rows like it or worse"
    if rule == "empty":
        return f"column {fault.column!r} is empty in {pc.sum(fault.rows).as_py():,} rows{others}"
    trial = table["trial"][place].as_py()
    return f"trial {trial}: {fault.column} is {_shown(value)}, it must be {rule}{others}"


def _shown(value: pa.Scalar) -> str:
    try:
        text = repr(value.as_py())
    # A moment that no calendar has.
    except (ValueError, OverflowError):
        text = f"{value.cast(pa.int64()).as_py()} microseconds"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not finite")

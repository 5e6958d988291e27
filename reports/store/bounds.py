"""Drops the rows of a table that break the bounds of their columns.

The files of a run may come from a stranger or be damaged: a latency below zero, a year that no calendar has, text
nested ten thousand deep. One such row is enough to break a page. The bounds are declared with the column
(`columns.column`), beside its unit and its meaning, and are part of the schema's metadata.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from depthweave.reports.store.columns import Bounds, Form
from depthweave.reports.store.score_rows import list_fault
from depthweave.spaces.wiring import Wiring

MAX_INTEGER = 2**62
"""Largest whole number in a column: the sum of two still fits into 64 bits."""
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_FIRST_US, _LAST_US = (int(end.timestamp()) * 10**6 for end in (_FIRST, _LAST))
_MAX_CHARACTERS = 2**20
"""Longest text in a column. The wiring of the deepest model has a fifth of that."""
_SHOWN_CHARACTERS = 40
"""A message cuts a longer value."""


class ValidRows(NamedTuple):
    """A table without the rows that break their bounds."""

    table: pa.Table
    left_out: str
    """Describes the first row that was dropped, with the number of the others; empty where none was."""


class _Fault(NamedTuple):
    rows: NDArray[np.bool_]
    """True for each row with the fault."""
    column: str
    rule: str
    """What is allowed; empty where that depends on the value."""


def valid_rows(table: pa.Table, *, row_class: type[Any], required: Collection[str]) -> ValidRows:
    """Returns the rows within their bounds; `required` names the columns that may not be empty."""
    faults = [fault for fault in _faults(table, row_class, required) if fault.rows.any()]
    if not faults:
        return ValidRows(table, "")
    bad = np.logical_or.reduce([fault.rows for fault in faults])
    return ValidRows(
        table.filter(pa.array(~bad)), _described(table, faults[0], row_class=row_class, count=int(bad.sum()))
    )


def json_value(text: str) -> Any:
    """Returns the value of a JSON text; raises `ValueError` for other text and for a number that is not finite."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _faults(table: pa.Table, row_class: type[Any], required: Collection[str]) -> Iterator[_Fault]:
    # Numpy and not Arrow: most files hold one row, and for one row a call of Arrow takes longer than the comparison.
    fields = {item.name: item.metadata["bounds"] for item in dataclasses.fields(row_class)}
    states = table["state"].to_pylist() if "state" in table.column_names else []
    complete = np.array([state == "complete" for state in states], np.bool_)
    for name, bounds in fields.items():
        column = table[name]
        given: NDArray[np.bool_] = column.is_valid().to_numpy()
        if name in required and column.null_count:
            yield _Fault(~given, name, "empty")
        if pa.types.is_list(column.type):
            yield from _list_faults(column, name)
        elif pa.types.is_string(column.type):
            yield from _text_faults(table, name, bounds)
        elif not pa.types.is_boolean(column.type):
            values = _numbers(column)
            yield _Fault(given & _out_of(values, bounds, kind=column.type), name, "")
            if bounds.least_complete is not None:
                low = given & complete & (values < bounds.least_complete)
                yield _Fault(low, name, f"at least {bounds.least_complete:g}")
        if bounds.complete_only:
            yield _Fault(given & ~complete, name, "empty unless the trial is complete")
    key = [name for name, bounds in fields.items() if bounds.key]
    if key and table.num_rows > 1:
        yield _Fault(_repeated(table, key), key[-1], "no other row's")


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Returns the values, with an arbitrary one for a null; a time is in microseconds."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray((column.fill_null(0) if column.null_count else column).to_numpy())


def _out_of(values: NDArray[Any], bounds: Bounds, *, kind: pa.DataType) -> NDArray[np.bool_]:
    if pa.types.is_timestamp(kind):
        return np.asarray((values < _FIRST_US) | (values > _LAST_US))
    least = -math.inf if bounds.least is None else bounds.least
    unbounded = MAX_INTEGER if pa.types.is_integer(kind) else math.inf
    most = unbounded if bounds.most is None else bounds.most
    # NaN is neither above nor below, so the test asks for values inside.
    out = ~((values >= least) & (values <= most))
    if pa.types.is_floating(kind):
        out |= np.isinf(values)
        if bounds.infinite:
            out &= ~np.isposinf(values)
        if bounds.nan:
            out &= ~np.isnan(values)
    return np.asarray(out)


def _text_faults(table: pa.Table, name: str, bounds: Bounds) -> Iterator[_Fault]:
    column = table[name]
    if column.nbytes > _MAX_CHARACTERS:
        long = pc.greater(pc.utf8_length(column), _MAX_CHARACTERS).fill_null(False)
        yield _Fault(long.to_numpy(), name, f"at most {_MAX_CHARACTERS:,} characters")
    if bounds.one_of:
        known = (*bounds.one_of, None)
        unknown = np.array([value not in known for value in column.to_pylist()], np.bool_)
        yield _Fault(unknown, name, f"one of {', '.join(bounds.one_of)}")
    if bounds.form != "text":
        depths = _numbers(table["depth"]) if bounds.form == "wiring" else np.zeros(table.num_rows, np.int64)
        yield _Fault(_malformed(column, bounds.form, depths=depths), name, f"JSON of {bounds.form}")


def _list_faults(column: pa.ChunkedArray, name: str) -> Iterator[_Fault]:
    """Yields each kind of value out of the bounds of a list's rows. Most rows of most runs have no list."""
    found: dict[str, list[int]] = {}
    for row in np.flatnonzero(column.is_valid().to_numpy()):
        fault = list_fault(name, column[int(row)].as_py())
        if fault:
            found.setdefault(fault, []).append(int(row))
    for fault, rows in found.items():
        yield _Fault(np.isin(np.arange(len(column)), rows), name, f"a list without this: {fault}")


def _malformed(column: pa.ChunkedArray, form: Form, *, depths: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns True where the text is not of that form. Most texts repeat, so each distinct one is parsed once."""
    pairs = list(zip(column.to_pylist(), depths.tolist(), strict=True))
    known = {pair: pair[0] is not None and not _is_formed(pair[0], form, depth=pair[1]) for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs], np.bool_)


def _is_formed(text: str, form: Form, *, depth: int) -> bool:
    try:
        if form == "numbers":
            # For a million numbers this is faster than `json_value`.
            value = json.loads(text, parse_constant=_refuse_constant)
            return type(value) is list and all(type(item) in (int, float) and math.isfinite(item) for item in value)
        value = json_value(text)
        if form == "object":
            return isinstance(value, dict)
        # The text must be equal to the canonical one: `Wiring` itself would take "5" for 5.
        return bool(json.loads(Wiring(depth, tuple(value)).sites_json) == value)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return False


def _repeated(table: pa.Table, key: Sequence[str]) -> NDArray[np.bool_]:
    """Returns True for each row that shares its key with another. Which of them is right cannot be known."""
    # -1 means null: no number of a trial or evaluation is below zero.
    columns = [_numbers(table[name].fill_null(-1)) for name in key]
    _, groups, counts = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(counts[groups.reshape(-1)] > 1)


def _described(table: pa.Table, fault: _Fault, *, row_class: type[Any], count: int) -> str:
    row, num_rows = int(np.flatnonzero(fault.rows)[0]), int(fault.rows.sum())
    value, rule = table[fault.column][row], fault.rule
    others = "" if count == 1 else f", and {count - 1:,} further rows like it or worse"
    if rule == "empty":
        return f"column {fault.column!r} is empty in {num_rows:,} rows{others}"
    if not rule and pa.types.is_timestamp(value.type):
        rule = f"from {_FIRST.year} to {_LAST.year}"
    elif not rule:
        (bounds,) = (it.metadata["bounds"] for it in dataclasses.fields(row_class) if it.name == fault.column)
        rule = bounds.rule_against(value.as_py()) or f"at most {MAX_INTEGER}"
    trial = table["trial"][row].as_py()
    return f"trial {trial}: {fault.column} is {_shown(value)}, it must be {rule}{others}"


def _shown(value: pa.Scalar) -> str:
    try:
        text = repr(value.as_py())
    # A time outside Python's calendar.
    except (ValueError, OverflowError):
        text = f"{value.cast(pa.int64()).as_py()} microseconds"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not finite")

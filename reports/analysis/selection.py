"""Which record of a run is meant: by a rule (`best`, `knee`, `fastest`, `smallest`), by id, under conditions.

Conditions are applied first; a rule then chooses from the distinct members of the front of what is left (`tolerance`),
so that "fastest of depth 12" has an answer even where a shallower architecture beats all of depth 12. Where a
confirmation has settled members of that front, the rule chooses among them alone. An architecture with fresh seeds
counts at their mean, and is given as the search's own training of it.

The knee is the front's point with the lowest sum of objectives, each scaled to 0 at the front's best and 1 at its
worst. With two objectives this is the point farthest below the line through the front's two ends.

Source: Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary intersection", 1999.
"""

from __future__ import annotations

import operator
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from depthweave.reports.analysis.device_kinds import comparable
from depthweave.reports.analysis.distinct import grouped
from depthweave.reports.analysis.front import complete, front, points_of, value_of
from depthweave.reports.analysis.seeds import averaged
from depthweave.reports.analysis.verdicts import Verdict, verdicts_of
from depthweave.reports.store.objectives import QUALITIES
from depthweave.reports.store.records import Record

RULES = ("best", "knee", "fastest", "smallest")

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==|<|>)\s*(\S+)\s*")
_MANY_IDS = 5
_MAX_WISH = 1000
"""Characters of a wish; more is no wish of a human being, and would only be slow to refuse."""


class Condition(NamedTuple):
    """One condition on a record's column."""

    column: str
    sign: str
    bound: float

    def holds(self, record: Record) -> bool:
        """Whether the record has the column and it meets the bound."""
        value = value_of(record, self.column)
        return value is not None and _OPERATORS[self.sign](value, self.bound)

    def miss(self, record: Record) -> float:
        """How far the record is from meeting it, as a share of the bound; 0 where it does."""
        value = value_of(record, self.column)
        if value is None:
            return float("inf")
        if self.holds(record):
            return 0.0
        return max(abs(value - self.bound) / (abs(self.bound) or 1.0), 1e-12)

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{self.bound:.6g}"


def numeric_columns() -> tuple[str, ...]:
    """The record columns that a condition may name."""
    hints = typing.get_type_hints(Record)
    numeric = (int, float)
    return tuple(
        item.name
        for item in fields(Record)
        if any(kind in numeric for kind in (hints[item.name], *typing.get_args(hints[item.name])))
    )


def parse_where(text: str) -> tuple[Condition, ...]:
    """The conditions of "latency<=0.9, depth==12" or "latency<=0.9 and depth==12", all of which must hold."""
    _check_length(text, named="--where")
    return tuple(_condition(part) for part in re.split(r",|\band\b", text) if part.strip()) or _refuse(text)


def select(
    records: Sequence[Record],
    *,
    how: str = "best",
    objectives: Sequence[str],
    where: str | Sequence[Condition] | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    tolerances: Mapping[str, float] | None = None,
) -> Record:
    """The one record that `how` names among the complete ones that meet `where`.

    `best` has the lowest perplexity, or is the simplest that has no more within `tolerances`; `knee`, `fastest` (lowest
    latency) and `smallest` (least memory of a training step, else fewest parameters) choose from the front; `id:ID`
    takes an architecture id or an unambiguous start of one, and the seed with the lowest perplexity. Ties go to the
    lower perplexity, then to the earlier trial.
    `verdicts` are those of the records where they are known already.
    Raises `ValueError`, one line, where nothing is meant or nothing meets it.
    """
    conditions = parse_where(where) if isinstance(where, str) else tuple(where or ())
    _check_length(how, named="--select")
    if how.startswith("id:"):
        finished = _with_id(records, how.removeprefix("id:"))
    elif how in RULES:
        alike = comparable(records, objectives=objectives)
        finished = [record for record in averaged(alike) if record.state == "complete"]
    else:
        near = get_close_matches(how, RULES, n=1, cutoff=0.0)[0]
        raise ValueError(f"--select {how!r}: one of {', '.join(RULES)} or id:ID; did you mean {near!r}?")
    if not finished:
        raise ValueError("no record is complete yet: nothing to select; see the failures in the report")
    kept = [record for record in finished if all(condition.holds(record) for condition in conditions)]
    if not kept:
        raise ValueError(_nearest_miss(finished, conditions))
    if how.startswith("id:"):
        return min(kept, key=_order)
    if verdicts is None:
        verdicts = verdicts_of(records, objectives=objectives, tolerances=tolerances)
    settled = {key for key, verdict in verdicts.items() if verdict.settled}
    members = front(kept, objectives=objectives)
    groups = grouped(members, objectives=objectives, tolerances=tolerances, settled=settled)
    distinct = [group.member for group in groups]
    preferred = [item for item in distinct if item.architecture_id in settled] or distinct
    chosen = _best(kept, members=preferred) if how == "best" else _on_front(kept, preferred, how, objectives=objectives)
    # A mean over seeds has no weights; its first trial has.
    (record,) = (item for item in records if item.trial == chosen.trial)
    return record


def knee(members: Sequence[Record], *, objectives: Sequence[str]) -> Record:
    """The member with the lowest sum of objectives, each scaled from the front's best (0) to its worst (1)."""
    points = points_of(members, objectives=objectives)
    best, worst = points.min(axis=0), points.max(axis=0)
    spread = np.where(worst > best, worst - best, 1.0)
    sums = ((points - best) / spread).sum(axis=1)
    # Rounded, so that a tie is one whatever the order of summation.
    ranked = [(round(float(total), 9), *_order(record), record) for total, record in zip(sums, members, strict=True)]
    return min(ranked, key=lambda item: item[:3])[3]


def _best(kept: Sequence[Record], *, members: Sequence[Record]) -> Record:
    """Of the members; where there is no front, for an objective was not measured, of all."""
    return min(members or kept, key=_order)


def _on_front(kept: Sequence[Record], members: Sequence[Record], how: str, *, objectives: Sequence[str]) -> Record:
    if not members:
        lacking = [name for name in objectives if not complete(kept, objectives=[name])]
        raise ValueError(f"no complete record has {' and '.join(lacking) or 'every objective'}: select best or id:ID")
    if how == "knee":
        return knee(members, objectives=objectives)
    columns = ("latency",) if how == "fastest" else ("memory_bytes", "parameters")
    for column in columns:
        found = [
            (value, *_order(record), record) for record in members if (value := value_of(record, column)) is not None
        ]
        if found:
            return min(found, key=lambda item: item[:3])[3]
    raise ValueError(f"no record on the front has {columns[0]}: it was not measured in this run")


def _order(record: Record) -> tuple[float, int]:
    values = (value_of(record, name) for name in QUALITIES)
    return (next((value for value in values if value is not None), float("inf")), record.trial)


def _with_id(records: Sequence[Record], wanted: str) -> list[Record]:
    """The complete records of the architecture whose id is, or alone starts with, `wanted`."""
    ids = sorted({record.architecture_id for record in records})
    matches = [wanted] if wanted in ids else [item for item in ids if wanted and item.startswith(wanted)]
    if len(matches) > 1:
        shown = ", ".join(matches[:_MANY_IDS]) + (", ..." if len(matches) > _MANY_IDS else "")
        raise ValueError(f"id:{wanted} begins {len(matches)} architecture ids ({shown}): write more of it")
    if not matches:
        near = get_close_matches(wanted, ids, n=3, cutoff=0.0)
        told = f"nearest: {', '.join(near)}" if near else "the run holds no record"
        raise ValueError(f"id:{wanted} is no architecture of this run: {told}")
    found = [record for record in records if record.architecture_id == matches[0]]
    finished = [record for record in found if record.state == "complete"]
    if not finished:
        reason = f" ({found[-1].reason})" if found[-1].reason else ""
        raise ValueError(f"id:{matches[0]} is {found[-1].state}{reason}: only complete records can be selected")
    return finished


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        _refuse(text)
    column, sign, number = match.groups()
    known = numeric_columns()
    if column not in known:
        near = get_close_matches(column, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"--where column {column!r} is not a number of a record: did you mean {near!r}?")
    try:
        bound = float(number)
    except ValueError:
        _refuse(text)
    if bound != bound:
        _refuse(text)
    return Condition(column, sign, bound)


def _check_length(text: str, *, named: str) -> None:
    if len(text) > _MAX_WISH:
        raise ValueError(f"{named} has {len(text):,} characters: write at most {_MAX_WISH:,}")


def _refuse(text: str) -> typing.NoReturn:
    signs = " ".join(_OPERATORS)
    raise ValueError(f"--where {text.strip()!r}: write COLUMN SIGN NUMBER, SIGN one of {signs}; 'latency<=0.9'")


def _nearest_miss(records: Sequence[Record], conditions: Sequence[Condition]) -> str:
    asked = " and ".join(str(condition) for condition in conditions)
    total, _, nearest = min(
        ((sum(item.miss(record) for item in conditions), record.trial, record) for record in records),
        key=lambda item: item[:2],
    )
    if total == float("inf"):
        lacking = [item.column for item in conditions if all(value_of(row, item.column) is None for row in records)]
        return f"nothing meets {asked}: {' and '.join(lacking) or 'a value'} was not measured in this run"
    failed = [item for item in conditions if not item.holds(nearest)]
    values = ", ".join(f"{item.column} {value_of(nearest, item.column):.6g}" for item in failed)
    return f"nothing meets {asked}: nearest: {values} (id {nearest.architecture_id})"

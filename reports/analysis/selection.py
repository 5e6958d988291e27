"""Selects a record of a run by a rule (`best`, `knee`, `fastest`, `smallest`) or by id, under conditions.

Conditions are applied first. A rule then chooses from the distinct members of the front of the remaining records
(`tolerance`), so that "fastest of depth 12" has an answer even where a shallower architecture dominates all of depth
12. Where a confirmation has settled members of that front, the rule chooses among them only. An architecture with fresh
seeds counts at their mean loss, and the search's own record of it is returned.

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
from typing import NamedTuple

import numpy as np

from depthweave.reports.analysis.distinct import Group, grouped
from depthweave.reports.analysis.front import complete, front, points_of, value_of
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.store.objectives import OBJECTIVES, quality_names
from depthweave.reports.store.records import Record
from depthweave.spaces.unknown_names import nearest_names, unknown_name

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
_MAX_CHARACTERS = 1000
"""Longest text of `--select` and `--where`. A longer one is a mistake, and parsing it would be slow."""


class Condition(NamedTuple):
    """One condition on a record's column."""

    column: str
    sign: str
    bound: float

    def holds(self, record: Record) -> bool:
        """Returns whether the record has a value that meets the bound."""
        value = value_of(record, self.column)
        return value is not None and _OPERATORS[self.sign](value, self.bound)

    def miss(self, record: Record) -> float:
        """Returns the distance from meeting the bound, as a share of the bound; 0 where the record meets it."""
        value = value_of(record, self.column)
        if value is None:
            return float("inf")
        if self.holds(record):
            return 0.0
        return max(abs(value - self.bound) / (abs(self.bound) or 1.0), 1e-12)

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{self.bound:.6g}"


def numeric_columns() -> tuple[str, ...]:
    """Returns what a condition may name: the numeric columns of a record, and the objectives that follow from them."""
    hints = typing.get_type_hints(Record)
    numeric = (int, float)
    columns = [
        item.name
        for item in fields(Record)
        if any(kind in numeric for kind in (hints[item.name], *typing.get_args(hints[item.name])))
    ]
    return tuple(dict.fromkeys((*columns, *OBJECTIVES)))


def parse_where(text: str) -> tuple[Condition, ...]:
    """Returns the conditions of "latency<=0.9, depth==12" or "latency<=0.9 and depth==12". All of them must hold."""
    _check_length(text, named="--where")
    return tuple(_condition(part) for part in re.split(r",|\band\b", text) if part.strip()) or _refuse(text)


def select(
    records: Sequence[Record],
    *,
    how: str = "best",
    objectives: Sequence[str],
    where: str | Sequence[Condition] | None = None,
    tolerances: Mapping[str, float] | None = None,
) -> Record:
    """Returns the record of a run that `how` names, as `select_from` does."""
    return select_from(RunView.of(records, objectives=objectives, tolerances=tolerances), how=how, where=where)


def select_from(view: RunView, *, how: str = "best", where: str | Sequence[Condition] | None = None) -> Record:
    """Returns the record that `how` names among the complete ones that meet `where`.

    `how` is one of:
    - `best`: the lowest perplexity, or the simplest architecture that equals it within `tolerances`;
    - `knee`, `fastest` (lowest latency), `smallest` (least memory of a training step, else fewest parameters): from the
      front;
    - `id:ID`: an architecture id, or an unambiguous start of one, and of its seeds the one with the lowest perplexity.
    Ties go to the lower perplexity, then to the earlier trial.

    Raises `ValueError`, one line, for an unknown rule or id, and where no record meets the conditions.
    """
    conditions = parse_where(where) if isinstance(where, str) else tuple(where or ())
    _check_length(how, named="--select")
    if how.startswith("id:"):
        finished = _with_id(view.records, how.removeprefix("id:"))
    elif how in RULES:
        finished = [record for record in view.comparable if record.state == "complete"]
    else:
        raise ValueError(unknown_name("--select: rule", how, (*RULES, "id:ID")))
    if not finished:
        raise ValueError("no record is complete yet: nothing to select; see the failures in the report")
    kept = [record for record in finished if all(condition.holds(record) for condition in conditions)]
    if not kept:
        raise ValueError(_nearest_miss(finished, conditions))
    if how.startswith("id:"):
        return min(kept, key=_order)
    distinct = [group.member for group in (_groups(view, kept) if conditions else view.groups)]
    preferred = [item for item in distinct if item.architecture_id in view.settled_ids] or distinct
    if how == "best":
        chosen = _best(kept, members=preferred)
    else:
        chosen = _on_front(kept, preferred, how, objectives=view.objectives)
    # The weights belong to the record of the first trial and not to the mean over seeds.
    (record,) = (item for item in view.records if item.trial == chosen.trial)
    return record


def knee(members: Sequence[Record], *, objectives: Sequence[str]) -> Record:
    """Returns the member with the lowest sum of objectives, each scaled from the front's best (0) to its worst (1)."""
    points = points_of(members, objectives=objectives)
    best, worst = points.min(axis=0), points.max(axis=0)
    spread = np.where(worst > best, worst - best, 1.0)
    sums = ((points - best) / spread).sum(axis=1)
    # Rounded, so that a tie does not depend on the order of summation.
    ranked = [(round(float(total), 9), *_order(record), record) for total, record in zip(sums, members, strict=True)]
    return min(ranked, key=lambda item: item[:3])[3]


def _groups(view: RunView, kept: Sequence[Record]) -> list[Group]:
    """Returns the distinct members of the front of these records alone."""
    members = front(kept, objectives=view.objectives)
    return grouped(members, objectives=view.objectives, tolerances=view.tolerances, settled=view.settled_ids)


def _best(kept: Sequence[Record], *, members: Sequence[Record]) -> Record:
    """Returns the best member; the best of all records where an objective was not measured and there is no front."""
    return min(members or kept, key=_order)


def _on_front(kept: Sequence[Record], members: Sequence[Record], how: str, *, objectives: Sequence[str]) -> Record:
    if not members:
        lacking = [name for name in objectives if not complete(kept, objectives=[name])]
        raise ValueError(f"no complete record has {' and '.join(lacking) or 'every objective'}: select best or id:ID")
    if how == "knee":
        return knee(members, objectives=objectives)
    columns = [item.name for item in OBJECTIVES.values() if item.select_rule == how]
    for column in columns:
        ranked = [
            (value, *_order(record), record) for record in members if (value := value_of(record, column)) is not None
        ]
        if ranked:
            return min(ranked, key=lambda item: item[:3])[3]
    raise ValueError(f"no record on the front has {columns[0]}: it was not measured in this run")


def _order(record: Record) -> tuple[float, int]:
    values = (value_of(record, name) for name in quality_names(list(OBJECTIVES)))
    return (next((value for value in values if value is not None), float("inf")), record.trial)


def _with_id(records: Sequence[Record], wanted: str) -> list[Record]:
    """Returns the complete records of the architecture whose id is `wanted`, or is the only one that starts with it."""
    ids = sorted({record.architecture_id for record in records})
    matches = [wanted] if wanted in ids else [item for item in ids if wanted and item.startswith(wanted)]
    if len(matches) > 1:
        shown = ", ".join(matches[:_MANY_IDS]) + (", ..." if len(matches) > _MANY_IDS else "")
        raise ValueError(f"id:{wanted} begins {len(matches)} architecture ids ({shown}): write more of it")
    if not matches:
        near = nearest_names(wanted, ids, num=3)
        hint = f"nearest: {', '.join(near)}" if near else "the run holds no record"
        raise ValueError(f"id:{wanted} is no architecture of this run: {hint}")
    own = [record for record in records if record.architecture_id == matches[0]]
    finished = [record for record in own if record.state == "complete"]
    if not finished:
        reason = f" ({own[-1].reason})" if own[-1].reason else ""
        raise ValueError(f"id:{matches[0]} is {own[-1].state}{reason}: only complete records can be selected")
    return finished


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        _refuse(text)
    column, sign, number = match.groups()
    known = numeric_columns()
    if column not in known:
        # All fifty columns would be too much for one line.
        (near,) = nearest_names(column, known)
        raise ValueError(f"--where column {column!r} is not a number of a record: did you mean {near!r}?")
    try:
        bound = float(number)
    except ValueError:
        _refuse(text)
    if bound != bound:
        _refuse(text)
    return Condition(column, sign, bound)


def _check_length(text: str, *, named: str) -> None:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"{named} has {len(text):,} characters: write at most {_MAX_CHARACTERS:,}")


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

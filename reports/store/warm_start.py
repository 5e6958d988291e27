"""`warm_start.json`: what a run learned from other runs before its first trial, and how well they predicted it.

A resumed run reads this file in place of the other runs, so it decides as before although they are gone or changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from depthweave.reports.store.bounds import json_value
from depthweave.reports.store.checked_values import text_of, whole_of
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import add_checksum, verified_values

WARM_START_FILE = "warm_start.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOutcome:
    """How well a source run predicted the trials of this run."""

    num_records: int
    """Complete records of this run that it was compared with."""
    tau: float | None
    """Kendall's tau between predicted and final losses; `None` with too few records, or where all are equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRun:
    """A run that this run began with, or a part of a table of trained architectures."""

    name: str
    run_id: str
    address: str
    """As the user named it."""
    num_records: int
    """Its complete records."""
    taken_over: Mapping[int, int]
    """Trial of this run to trial of the source, of the records that were taken over."""
    differs: tuple[str, ...]
    """Why the others were not, a word or a few each: "corpus"."""
    architectures: tuple[dict[str, Any], ...]
    """The plain forms of the architectures that the search learns from."""
    losses: tuple[float, ...]
    """Their final losses, nat/token, mean over seeds."""
    outcome: SourceOutcome | None = None
    """`None` before the end of the search."""
    is_table: bool = False
    """Whether it is a table of trained architectures, or a part of one, and no run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStart:
    """The runs that a run began with, in the order of its spec."""

    run_id: str
    """Of the run that the file belongs to."""
    sources: tuple[SourceRun, ...]

    @property
    def taken_over(self) -> frozenset[int]:
        """Trials of this run that were taken over."""
        return frozenset(number for item in self.sources for number in item.taken_over)


NO_WARM_START = WarmStart(run_id="", sources=())


def has_warm_start(store: RunStore) -> bool:
    """Returns whether the run folder has the file."""
    return store.has_file(WARM_START_FILE)


def write_warm_start(store: RunStore, warm_start: WarmStart) -> None:
    """Replaces the run's file."""
    text = json.dumps(add_checksum(_values(warm_start)), indent=1, ensure_ascii=False, allow_nan=False)
    store.write_bytes(WARM_START_FILE, text.encode())


def read_warm_start(store: RunStore) -> WarmStart:
    """Returns what the file says, nothing without one. Raises `ValueError`, one line, where it is damaged."""
    if not has_warm_start(store):
        return NO_WARM_START
    where = f"{store.where}/{WARM_START_FILE}"
    try:
        found = _warm_start(verified_values(json_value(store.read_bytes(WARM_START_FILE).decode())))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{where}: cannot be read ({reason}): restore it, or start a new run: the search decided with it"
        ) from None
    if found.run_id != store.info.run_id:
        raise ValueError(f"{where}: belongs to run {found.run_id:.80}: restore the file of {store.info.run_id}")
    return found


def _values(warm_start: WarmStart) -> dict[str, Any]:
    return {
        "run_id": warm_start.run_id,
        "sources": [
            {
                "kind": "table" if item.is_table else "run",
                "name": item.name,
                "run_id": item.run_id,
                "address": item.address,
                "records": item.num_records,
                "taken_over": {str(own): other for own, other in item.taken_over.items()},
                "differs": list(item.differs),
                "architectures": list(item.architectures),
                "losses": list(item.losses),
            }
            for item in warm_start.sources
        ],
        "outcome": [
            {"source": item.run_id, "records": it.num_records, "kendall_tau": it.tau}
            for item in warm_start.sources
            if (it := item.outcome) is not None
        ],
    }


def _warm_start(values: Mapping[str, Any]) -> WarmStart:
    outcomes = {text_of(item["source"]): _outcome(item) for item in values["outcome"]}
    sources = tuple(_source(item, outcomes=outcomes) for item in values["sources"])
    return WarmStart(run_id=text_of(values["run_id"]), sources=sources)


def _source(values: Mapping[str, Any], *, outcomes: Mapping[str, SourceOutcome]) -> SourceRun:
    architectures, losses = values["architectures"], _losses(values["losses"])
    if len(architectures) != len(losses) or not all(isinstance(item, dict) for item in architectures):
        raise ValueError(f"{len(losses)} losses, and architectures that do not match them")
    run_id = text_of(values["run_id"])
    return SourceRun(
        name=text_of(values["name"]),
        run_id=run_id,
        address=text_of(values["address"]),
        num_records=whole_of(values["records"]),
        taken_over={whole_of(int(own)): whole_of(other) for own, other in values["taken_over"].items()},
        differs=tuple(text_of(item) for item in values["differs"]),
        architectures=tuple(architectures),
        losses=losses,
        outcome=outcomes.get(run_id),
        # Files of earlier versions, which knew runs alone, have no kind.
        is_table=values.get("kind") == "table",
    )


def _outcome(values: Mapping[str, Any]) -> SourceOutcome:
    tau = values["kendall_tau"]
    if not (tau is None or (isinstance(tau, float | int) and -1 <= tau <= 1)):
        raise ValueError(f"the outcome has a tau of {tau!r:.20}")
    return SourceOutcome(num_records=whole_of(values["records"]), tau=None if tau is None else float(tau))


def _losses(values: Sequence[Any]) -> tuple[float, ...]:
    if not all(isinstance(item, float | int) and math.isfinite(item) for item in values):
        raise ValueError("a loss is not a finite number")
    return tuple(float(item) for item in values)

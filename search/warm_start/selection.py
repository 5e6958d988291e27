"""Divides the records of the sources: those that are taken over, and those that the search learns from.

A record that two sources hold, because one of them took it over from the other, counts once.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from depthweave.reports.analysis.source_runs import origin_run
from depthweave.reports.formatting import title_of
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.search.parameters import Parameters
from depthweave.search.warm_start.identity import Conditions, SourceConditions, described, differences
from depthweave.search.warm_start.sources import OpenedSource, recorded_architecture, run_ids
from depthweave.spaces.architecture import Architecture

_OUTSIDE = "outside this space"
_OTHER_VERSION = "of another version"
_NO_CURVE = "without a learning curve"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What becomes of the records of one source."""

    source: OpenedSource
    taken: tuple[Record, ...]
    """Identical with records that the search would write, one for each architecture."""
    measured_alike: frozenset[int]
    """Trials of the source among these whose costs were measured as the search measures."""
    architectures: tuple[Architecture, ...]
    """What the search learns from."""
    losses: tuple[float, ...]
    """Their mean final losses over seeds, nat/token."""
    differs: tuple[str, ...]
    """Why the others are not taken over."""


def select_records(
    sources: Sequence[OpenedSource], *, ours: Conditions, objectives: Sequence[str], parameters: Parameters
) -> list[Selection]:
    """Returns the selection of each source. Sparse graphs that are taken over become known to the space."""
    known: set[str] = set()
    ids, selections = run_ids(sources), []
    for source in sources:
        other_ids = ids - {source.store.info.run_id}
        records = [item for item in source.records if origin_run(item) not in other_ids]
        selector = _Selector(source, ours=ours, objectives=objectives, parameters=parameters, known=known)
        selections.append(selector.select(records))
        known |= {item.architecture_id for item in selections[-1].taken}
    return selections


class _Selector:
    """Divides the records of one source."""

    def __init__(
        self,
        source: OpenedSource,
        *,
        ours: Conditions,
        objectives: Sequence[str],
        parameters: Parameters,
        known: set[str],
    ) -> None:
        """`known` are the architectures that earlier sources gave."""
        self._source, self._ours, self._objectives = source, ours, objectives
        self._parameters, self._known = parameters, known
        self._theirs = SourceConditions(source.store)
        self._measures = any(OBJECTIVES[name].measured for name in objectives)
        self._with_curve = set(source.store.evaluations()["trial"].to_pylist())

    def select(self, records: Sequence[Record]) -> Selection:
        """Returns the selection of these records."""
        taken: dict[str, Record] = {}
        learned: dict[str, list[float]] = defaultdict(list)
        architectures: dict[str, Architecture] = {}
        reasons: list[str] = []
        alike = set()
        for record in records:
            why, own = self._reasons(record), record.architecture_id
            if not why and (own in self._known or own in taken):
                continue
            architecture = recorded_architecture(record)
            if architecture is None:
                reasons.append(_OTHER_VERSION)
                continue
            why = why or self._reasons_of_space(architecture)
            if not why:
                taken[own] = record
                if not differences(self._ours.measuring, self._theirs.of(record).measuring):
                    alike.add(record.trial)
                continue
            reasons += why
            assert record.loss is not None
            architectures[own] = architecture
            learned[own].append(record.loss)
        return Selection(
            source=self._source,
            taken=tuple(taken.values()),
            measured_alike=frozenset(alike),
            architectures=tuple(architectures.values()),
            losses=tuple(statistics.fmean(learned[own]) for own in architectures),
            differs=tuple(described(reasons)),
        )

    def _reasons(self, record: Record) -> list[str]:
        """Returns why the record is not one that the search would write; nothing where it is."""
        theirs = self._theirs.of(record)
        found = differences(self._ours.training, theirs.training)
        if self._measures:
            found += differences(self._ours.measuring, theirs.measuring)
        values = {name: column_value(record, name) for name in self._objectives}
        found += [f"no {title_of(name)}" for name, value in values.items() if value is None or not math.isfinite(value)]
        return found if found or record.trial in self._with_curve else [_NO_CURVE]

    def _reasons_of_space(self, architecture: Architecture) -> list[str]:
        return [] if self._parameters.adopted(architecture) is not None else [_OUTSIDE]

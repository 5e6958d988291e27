"""Divides the records of the sources: those that are taken over, and those that the search learns from.

A training counts once, also where a source took it over from another one.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from depthweave.reports.analysis.source_runs import origin_text
from depthweave.reports.formatting import title_of
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.search.parameters import Parameters
from depthweave.search.warm_start.identity import RunConditions, SourceConditions, described, differences
from depthweave.search.warm_start.sources import OpenedSource, recorded_architecture
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
    """Why records are not taken over."""


class _Examined(NamedTuple):
    """A record of a source, compared with those that the search would write."""

    record: Record
    architecture: Architecture
    same_training: bool
    measured_alike: bool
    reasons: list[str]
    """Why it is not taken over; empty where it may be."""


def select_records(
    sources: Sequence[OpenedSource], *, ours: RunConditions, objectives: Sequence[str], parameters: Parameters
) -> list[Selection]:
    """Returns the selection of each source. Sparse graphs that are taken over become known to the space."""
    found: list[list[_Examined]] = []
    other_versions = []
    for source, records in zip(sources, _distinct(sources), strict=True):
        examined = list(_examined(source, records, ours=ours, objectives=objectives, parameters=parameters))
        found.append(examined)
        other_versions.append(len(examined) < len(records))
    taken: dict[str, Record] = {}
    for item in (item for examined in found for item in examined):
        if not item.reasons:
            taken.setdefault(item.record.architecture_id, item.record)
    return [
        _selection(source, examined, taken=taken, other_version=other)
        for source, examined, other in zip(sources, found, other_versions, strict=True)
    ]


def _distinct(sources: Sequence[OpenedSource]) -> list[list[Record]]:
    """Returns the records of each source without those that another one trained or gave already."""
    seen = {_origin(record) for source in sources for record in source.records if record.taken_from is None}
    found = []
    for source in sources:
        kept = [record for record in source.records if record.taken_from is None or record.taken_from not in seen]
        seen |= {_origin(record) for record in kept}
        found.append(kept)
    return found


def _origin(record: Record) -> str:
    return record.taken_from or origin_text(record.run_id, record.trial)


def _examined(
    source: OpenedSource,
    records: Sequence[Record],
    *,
    ours: RunConditions,
    objectives: Sequence[str],
    parameters: Parameters,
) -> Iterator[_Examined]:
    """Yields the records whose architectures this version knows."""
    conditions = SourceConditions(source.store)
    with_curve = set(source.store.evaluations()["trial"].to_pylist())
    measures = any(OBJECTIVES[name].measured for name in objectives)
    for record in records:
        architecture = recorded_architecture(record)
        if architecture is None:
            continue
        own, theirs = ours.of(architecture), conditions.of(record)
        training = differences(own.training, theirs.training)
        measuring = differences(own.measuring, theirs.measuring)
        reasons = [*training, *(measuring if measures else [])]
        if not reasons:
            reasons = [f"no {title_of(name)}" for name in objectives if not _has_value(record, name)]
        if not reasons and record.trial not in with_curve:
            reasons = [_NO_CURVE]
        # Last: a sparse graph that is taken over becomes known to the space.
        if not reasons and parameters.adopted(architecture) is None:
            reasons = [_OUTSIDE]
        yield _Examined(record, architecture, not training, not measuring, reasons)


def _has_value(record: Record, name: str) -> bool:
    value = column_value(record, name)
    return value is not None and math.isfinite(value)


def _selection(
    source: OpenedSource, examined: Sequence[_Examined], *, taken: dict[str, Record], other_version: bool
) -> Selection:
    own = [item for item in examined if taken.get(item.record.architecture_id) is item.record]
    learned: dict[str, list[float]] = defaultdict(list)
    architectures: dict[str, Architecture] = {}
    reasons: list[str] = []
    for item in examined:
        # The same training as one that was taken over, here or from another source, is known already.
        if item.same_training and item.record.architecture_id in taken:
            continue
        assert item.record.loss is not None
        architectures[item.architecture.id] = item.architecture
        learned[item.architecture.id].append(item.record.loss)
        reasons += item.reasons
    return Selection(
        source=source,
        taken=tuple(item.record for item in own),
        measured_alike=frozenset(item.record.trial for item in own if item.measured_alike),
        architectures=tuple(architectures.values()),
        losses=tuple(statistics.fmean(losses) for losses in learned.values()),
        differs=(*described(reasons), *([_OTHER_VERSION] if other_version else [])),
    )

"""The one kind of device that a run measures on.

Latencies of two kinds of device do not belong on one front. On a cluster of one kind nothing is asked; on one of
several the spec names the kind, the other nodes are left out by name, so that a node that joins later may take part,
and a trial that finds itself on another kind all the same refuses to measure there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.search.cluster.placement import ANYWHERE, Placement
from depthweave.search.spec.schema import Spec


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of the cluster that has room for a trial."""

    id: str
    name: str
    hardware: str
    """What trials would measure on."""


def needs_one_kind(spec: Spec) -> bool:
    """Whether an objective's value depends on the device."""
    return any(OBJECTIVES[name].measured for name in spec.objectives)


def kind_of_run(spec: Spec, *, surveyed: str, records: Sequence[Record]) -> str:
    """The kind of device that a run measures on, as named or as it began; empty where neither."""
    if spec.resources.hardware is not None:
        return spec.resources.hardware
    return surveyed or next((item.hardware for item in records if item.hardware), "")


def placement_of(spec: Spec, *, nodes: Sequence[Node], kind: str) -> Placement:
    """Which nodes may run trials. `kind` is the run's, empty where it has none yet.

    Raises `ValueError` where none has the kind, or where there are several kinds and none is the run's.
    """
    if not needs_one_kind(spec):
        return ANYWHERE
    if not nodes:
        # All too busy to answer: every trial looks for itself.
        return Placement(hardware=kind)
    kinds = Counter(node.hardware for node in nodes)
    there = ", ".join(f"{name!r} ({count} nodes)" for name, count in sorted(kinds.items()))
    if kind:
        if kind not in kinds:
            raise ValueError(f"resources.hardware: the run measures on {kind!r}, and the cluster has {there}")
    elif len(kinds) > 1:
        raise ValueError(
            f"the cluster has devices of {len(kinds)} kinds, whose latencies do not belong on one front: {there}; name "
            "the one to measure on with --set resources.hardware='...'"
        )
    else:
        kind = next(iter(kinds), "")
    return Placement(hardware=kind, excluded=tuple(node.id for node in nodes if node.hardware != kind))

"""The kind of device that a run measures on.

Latencies of two kinds of device do not belong on one front. A cluster with one kind needs no choice. On a cluster with
several the spec names the kind, and nodes of other kinds are excluded by id, so that a node may still join later. A
trial that finds itself on another kind refuses to measure there.
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
    """The processor or accelerator that trials would measure on."""


def needs_one_kind(spec: Spec) -> bool:
    """Returns whether the value of an objective depends on the device."""
    return any(OBJECTIVES[name].measured for name in spec.objectives)


def kind_of_run(spec: Spec, *, surveyed: str, records: Sequence[Record]) -> str:
    """Returns the kind of device that a run measures on, from the spec or from its first results; empty if unknown."""
    if spec.resources.hardware is not None:
        return spec.resources.hardware
    return surveyed or next((item.hardware for item in records if item.hardware), "")


def placement_of(spec: Spec, *, nodes: Sequence[Node], kind: str) -> Placement:
    """Returns which nodes may run trials; `kind` is the run's kind of device, empty where it has none yet.

    Raises `ValueError` where no node has that kind, or where the run has none and the cluster has several.
    """
    if not needs_one_kind(spec):
        return ANYWHERE
    if not nodes:
        # All nodes were too busy to answer: every trial checks its own device.
        return Placement(hardware=kind)
    kinds = Counter(node.hardware for node in nodes)
    found = ", ".join(f"{name!r} ({count} nodes)" for name, count in sorted(kinds.items()))
    if kind:
        if kind not in kinds:
            raise ValueError(
                f"resources.hardware: the run measures on {kind!r}, and the cluster has {found}: join such a node"
            )
    elif len(kinds) > 1:
        raise ValueError(
            f"the cluster has devices of {len(kinds)} kinds, whose latencies do not belong on one front: {found}; name "
            "the one to measure on with --set resources.hardware='...'"
        )
    else:
        kind = next(iter(kinds), "")
    return Placement(hardware=kind, excluded=tuple(node.id for node in nodes if node.hardware != kind))

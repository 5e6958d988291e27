"""Where trials may run, and which resources a trial needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Trials import this module, and should not import the spec's libraries.
    from depthweave.search.spec.schema import Resources

_NODE_ID = "ray.io/node-id"
"""The label that Ray gives every node."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the trials of a run may run."""

    hardware: str = ""
    """The processor or accelerator that the run measures on; empty if that does not matter or is not known yet."""
    excluded: tuple[str, ...] = ()
    """Ray's ids of the nodes with other hardware."""

    def selector(self) -> dict[str, str]:
        """Returns Ray's label selector; empty if any node will do."""
        return {_NODE_ID: f"!in({','.join(self.excluded)})"} if self.excluded else {}

    def options(self, resources: Resources) -> dict[str, Any]:
        """Returns Ray's options for a task that needs the resources of one trial."""
        wanted = bundle(resources)
        options: dict[str, Any] = {"num_cpus": wanted["CPU"], "num_gpus": wanted.get("GPU", 0)}
        if "memory" in wanted:
            options["memory"] = wanted["memory"]
        # Only where it is needed: earlier versions of Ray have no label selectors.
        return options | ({"label_selector": self.selector()} if self.excluded else {})

    def check(self, found: str) -> None:
        """Raises `RuntimeError`, one line, where the device found is not of the kind that the run measures on."""
        if self.hardware and found != self.hardware:
            raise RuntimeError(f"this node has {found}, and the run measures on {self.hardware}: not measured here")


ANYWHERE = Placement()


def bundle(resources: Resources) -> dict[str, float]:
    """Returns the resources that one trial needs, by Ray's names."""
    needed = {"CPU": float(resources.cpus_per_trial), "GPU": resources.gpus_per_trial}
    if resources.memory_gb_per_trial is not None:
        needed["memory"] = float(int(resources.memory_gb_per_trial * 10**9))
    return {name: amount for name, amount in needed.items() if amount}


def trials_per_node(resources: Resources, *, nodes: Sequence[Mapping[str, float]]) -> list[int]:
    """Returns how many trials fit on each node at once; `nodes` are the resources of each, by Ray's names."""
    # The small addend absorbs rounding: three thirds of a GPU fit on one GPU.
    return [
        min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in bundle(resources).items()) for node in nodes
    ]


def check_room(resources: Resources, *, nodes: Sequence[Mapping[str, float]]) -> None:
    """Raises `ValueError` where no node has room for a trial."""
    if any(trials_per_node(resources, nodes=nodes)):
        return
    needed = bundle(resources)
    largest = max(nodes, key=lambda node: [node.get(name, 0.0) for name in needed], default={})
    raise ValueError(
        f"resources: a trial asks for {_amounts(needed)}, the largest node has "
        f"{_amounts({name: largest.get(name, 0.0) for name in needed})}: ask for less per trial, or join a larger node"
    )


def _amounts(amounts: Mapping[str, float]) -> str:
    words = {"CPU": "{:g} CPUs", "GPU": "{:g} GPUs"}
    return ", ".join(
        f"{amount / 1e9:g} GB of memory" if name == "memory" else words[name].format(amount)
        for name, amount in amounts.items()
    )

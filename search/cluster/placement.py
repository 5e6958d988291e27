"""Where trials may run, and what one asks of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Trials import this module, and need no spec.
    from depthweave.search.spec.schema import Resources

_NODE_ID = "ray.io/node-id"
"""The label that Ray gives every node."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the trials of a run may run."""

    hardware: str = ""
    """The processor or accelerator that the run measures on; empty where that does not matter or is not known yet."""
    excluded: tuple[str, ...] = ()
    """Ray's ids of the nodes that have another."""

    def selector(self) -> dict[str, str]:
        """Ray's label selector; empty where every node will do."""
        return {_NODE_ID: f"!in({','.join(self.excluded)})"} if self.excluded else {}

    def options(self, resources: Resources) -> dict[str, Any]:
        """Ray's options of a task that takes the place of one trial."""
        wanted = bundle(resources)
        options: dict[str, Any] = {"num_cpus": wanted["CPU"], "num_gpus": wanted.get("GPU", 0)}
        if "memory" in wanted:
            options["memory"] = wanted["memory"]
        # Named only where it is needed: older Rays know no selectors.
        return options | ({"label_selector": self.selector()} if self.excluded else {})

    def check(self, found: str) -> None:
        """Raises `RuntimeError`, one line, where the device found is of another kind than the run's."""
        if self.hardware and found != self.hardware:
            raise RuntimeError(f"this node has {found}, and the run measures on {self.hardware}: not measured here")


ANYWHERE = Placement()


def bundle(resources: Resources) -> dict[str, float]:
    """What one trial asks of a node, by Ray's names."""
    asked = {"CPU": float(resources.cpus_per_trial), "GPU": resources.gpus_per_trial}
    if resources.memory_gb_per_trial is not None:
        asked["memory"] = float(int(resources.memory_gb_per_trial * 10**9))
    return {name: amount for name, amount in asked.items() if amount}


def room(resources: Resources, *, nodes: Sequence[Mapping[str, float]]) -> list[int]:
    """How many trials fit into each node at once. `nodes`: Ray's resources of each."""
    # A third of a GPU three times is one, whatever floats say.
    return [
        min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in bundle(resources).items()) for node in nodes
    ]


def check_room(resources: Resources, *, nodes: Sequence[Mapping[str, float]]) -> None:
    """Raises `ValueError` where no node has room for a trial."""
    if any(room(resources, nodes=nodes)):
        return
    asked = bundle(resources)
    largest = max(nodes, key=lambda node: [node.get(name, 0.0) for name in asked], default={})
    raise ValueError(
        f"resources: a trial asks for {_amounts(asked)}, the largest node has "
        f"{_amounts({name: largest.get(name, 0.0) for name in asked})}: ask for less a trial, or join a larger node"
    )


def _amounts(amounts: Mapping[str, float]) -> str:
    words = {"CPU": "{:g} CPUs", "GPU": "{:g} GPUs"}
    return ", ".join(
        f"{amount / 1e9:g} GB of memory" if name == "memory" else words[name].format(amount)
        for name, amount in amounts.items()
    )

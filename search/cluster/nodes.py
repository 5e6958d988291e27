"""What every node of a cluster says before a search begins: its Depthweave, its device, whether it sees the run folder.

One task a node asks all of it, in the process that the node's first trial then goes on in.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from depthweave.reports.store.storage import Storage
from depthweave.search.cluster.code_shipping import Edition, edition
from depthweave.search.cluster.device_kinds import Node
from depthweave.search.cluster.placement import bundle, check_room, room
from depthweave.search.spec.schema import Resources
from depthweave.trainers import hardware, pick_device

_ANSWER_LIMIT_S = 120.0
"""A node that says nothing by then is too busy to be asked; what is wrong with it its trials will tell."""


_SEEN_LIMIT_S = 10.0
"""A network file system may take some seconds to show a new file."""


def alive_nodes() -> list[dict[str, Any]]:
    """Ray's description of the nodes of the connected cluster."""
    return [node for node in ray.nodes() if node["Alive"]]


def this_node(resources: Resources) -> Node:
    """This machine, where it is the whole cluster: nobody has to be asked."""
    # A trial without a GPU sees none.
    device = "cpu" if resources.device == "auto" and not resources.gpus_per_trial and _has_cuda() else resources.device
    return Node(id="", name=platform.node(), hardware=hardware(pick_device(device)))


def inspect_nodes(resources: Resources, *, storage: Storage | None) -> list[Node]:
    """The nodes that have room for a trial, each with its device.

    `storage`: the run folder, where all must see it. Raises `ValueError`, one line, where no node has room, where one
    has another Depthweave than this process or none, and where one does not see the folder.
    """
    there = alive_nodes()
    check_room(resources, nodes=[node["Resources"] for node in there])
    fits = room(resources, nodes=[node["Resources"] for node in there])
    roomy = {node["NodeID"]: _name(node) for node, number in zip(there, fits, strict=True) if number}
    with _token(storage) as token:
        answers = _asked(roomy, resources=resources, token=token)
    ours = edition()
    for node_id, answer in answers.items():
        theirs = Edition(answer["version"], answer["source"])
        if theirs.source != ours.source:
            what = theirs if any(theirs) else "no Depthweave"
            raise ValueError(
                f"node {roomy[node_id]} has {what}, this is {ours}: install the same everywhere, or send this one with "
                "--ship"
            )
        if not answer["sees"]:
            assert storage is not None
            raise ValueError(_unseen(storage, node=roomy[node_id]))
    return [Node(id=node_id, name=roomy[node_id], hardware=answer["hardware"]) for node_id, answer in answers.items()]


def _has_cuda() -> bool:
    return pick_device("auto").type == "cuda"


def _asked(
    nodes: Mapping[str, str], *, resources: Resources, token: tuple[str, str] | None
) -> dict[str, dict[str, Any]]:
    gpus = bundle(resources).get("GPU", 0)
    ask = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(_question())
    asked = {
        node_id: ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(
            resources.device, token, _SEEN_LIMIT_S
        )
        for node_id in nodes
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=_ANSWER_LIMIT_S)
    answers = {}
    for node_id, answer in asked.items():
        try:
            answers[node_id] = ray.get(answer, timeout=0)
        except RayError:
            # Gone meanwhile, or too busy.
            continue
    return answers


def _question() -> Callable[[str, tuple[str, str] | None, float], dict[str, Any]]:
    """What a node is asked. Made inside a function: it then travels whole, to nodes without Depthweave too."""

    def answer(device: str, token: tuple[str, str] | None, patience_s: float) -> dict[str, Any]:
        import time
        from contextlib import suppress
        from importlib.metadata import PackageNotFoundError, version

        said: dict[str, Any] = {"version": "", "source": "", "hardware": "", "sees": token is None}
        try:
            from depthweave.reports.store.storage import Storage
            from depthweave.search.cluster.code_shipping import edition
            from depthweave.trainers import hardware, pick_device
        except ImportError:
            with suppress(PackageNotFoundError):
                said["version"] = version("depthweave")
            return said
        said["version"], said["source"] = edition()
        try:
            said["hardware"] = hardware(pick_device(device))
        except ValueError as error:
            said["hardware"] = f"none ({error})"
        deadline = time.monotonic() + patience_s
        while token is not None and not said["sees"] and time.monotonic() < deadline:
            try:
                said["sees"] = Storage(token[0]).read(f".seen-{token[1]}") == token[1].encode()
            except (OSError, ValueError):
                time.sleep(0.2)
        return said

    return answer


@contextmanager
def _token(storage: Storage | None) -> Iterator[tuple[str, str] | None]:
    """A file in the run folder that no other folder of that name has."""
    if storage is None:
        yield None
        return
    text = secrets.token_hex(16)
    storage.write(f".seen-{text}", text.encode())
    try:
        yield storage.address(""), text
    finally:
        storage.delete(f".seen-{text}")


def _unseen(storage: Storage, *, node: str) -> str:
    if storage.is_local:
        return (
            f"node {node} does not see {storage.root}: all machines write to one run folder: give --out on a path that "
            "all of them share (NFS, say), or in object storage (s3://BUCKET/RUN)"
        )
    return (
        f"node {node} does not reach {storage.where}: start Ray there with the credentials, and AWS_ENDPOINT_URL where "
        "this machine has it"
    )


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"

"""What is checked on every node before a search begins: its Depthweave, its device, and whether it sees the run folder.

One task per node finds all of it out. The node's first trial then uses the process of that task.
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
from depthweave.search.cluster.code_shipping import CodeVersion, code_version
from depthweave.search.cluster.device_kinds import Node
from depthweave.search.cluster.placement import bundle, check_room, trials_per_node
from depthweave.search.spec.schema import Resources
from depthweave.trainers import hardware, pick_device

_ANSWER_LIMIT_S = 120.0
"""A node that has not answered by then is busy; if something is wrong with it, its trials will fail with the cause."""
_SEEN_LIMIT_S = 10.0
"""A network file system may take some seconds to show a new file."""


def alive_nodes() -> list[dict[str, Any]]:
    """Returns Ray's description of the live nodes of the connected cluster."""
    return [node for node in ray.nodes() if node["Alive"]]


def this_node(resources: Resources) -> Node:
    """Returns this machine as a node, for a local Ray that has no other."""
    # Ray hides the GPUs from a trial that asks for none.
    device = "cpu" if resources.device == "auto" and not resources.gpus_per_trial and _has_cuda() else resources.device
    return Node(id="", name=platform.node(), hardware=hardware(pick_device(device)))


def inspect_nodes(resources: Resources, *, storage: Storage | None) -> list[Node]:
    """Returns the nodes with room for a trial, each with its device.

    `storage` is the run folder, if all nodes have to see it. Raises `ValueError`, one line, where no node has room,
    where a node has another Depthweave than this process or none, or where a node does not see the folder.
    """
    alive = alive_nodes()
    check_room(resources, nodes=[node["Resources"] for node in alive])
    fits = trials_per_node(resources, nodes=[node["Resources"] for node in alive])
    with_room = {node["NodeID"]: _name(node) for node, number in zip(alive, fits, strict=True) if number}
    with _marker_file(storage) as marker:
        answers = _ask_nodes(with_room, resources=resources, marker=marker)
    ours = code_version()
    for node_id, answer in answers.items():
        theirs = CodeVersion(answer["version"], answer["source"])
        if theirs.source != ours.source:
            found = theirs if any(theirs) else "no Depthweave"
            raise ValueError(
                f"node {with_room[node_id]} has {found}, this is {ours}: install the same everywhere, or send this "
                "one with --ship"
            )
        if not answer["sees"]:
            assert storage is not None
            raise ValueError(_not_visible_sentence(storage, node=with_room[node_id]))
    return [
        Node(id=node_id, name=with_room[node_id], hardware=answer["hardware"]) for node_id, answer in answers.items()
    ]


def _has_cuda() -> bool:
    return pick_device("auto").type == "cuda"


def _ask_nodes(
    nodes: Mapping[str, str], *, resources: Resources, marker: tuple[str, str] | None
) -> dict[str, dict[str, Any]]:
    gpus = bundle(resources).get("GPU", 0)
    task = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(_make_inspection())
    pending = {
        node_id: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(
            resources.device, marker, _SEEN_LIMIT_S
        )
        for node_id in nodes
    }
    ray.wait(list(pending.values()), num_returns=len(pending), timeout=_ANSWER_LIMIT_S)
    answers = {}
    for node_id, answer in pending.items():
        try:
            answers[node_id] = ray.get(answer, timeout=0)
        except RayError:
            # The node was lost meanwhile, or is busy.
            continue
    return answers


def _make_inspection() -> Callable[[str, tuple[str, str] | None, float], dict[str, Any]]:
    """Returns the task for a node; a nested function is pickled by value, so nodes need no Depthweave to run it."""

    def inspect(device: str, marker: tuple[str, str] | None, limit_s: float) -> dict[str, Any]:
        import time
        from contextlib import suppress
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, Any] = {"version": "", "source": "", "hardware": "", "sees": marker is None}
        try:
            from depthweave.reports.store.storage import Storage
            from depthweave.search.cluster.code_shipping import code_version
            from depthweave.trainers import hardware, pick_device
        except ImportError:
            with suppress(PackageNotFoundError):
                found["version"] = version("depthweave")
            return found
        found["version"], found["source"] = code_version()
        try:
            found["hardware"] = hardware(pick_device(device))
        except ValueError as error:
            found["hardware"] = f"none ({error})"
        deadline = time.monotonic() + limit_s
        while marker is not None and not found["sees"] and time.monotonic() < deadline:
            try:
                found["sees"] = Storage(marker[0]).read(f".seen-{marker[1]}") == marker[1].encode()
            except (OSError, ValueError):
                time.sleep(0.2)
        return found

    return inspect


@contextmanager
def _marker_file(storage: Storage | None) -> Iterator[tuple[str, str] | None]:
    """Yields the folder and name of a new file in the run folder: a node that reads it sees the same folder."""
    if storage is None:
        yield None
        return
    text = secrets.token_hex(16)
    storage.write(f".seen-{text}", text.encode())
    try:
        yield storage.address(""), text
    finally:
        storage.delete(f".seen-{text}")


def _not_visible_sentence(storage: Storage, *, node: str) -> str:
    if storage.is_local:
        return (
            f"node {node} does not see {storage.root}, and all write to the run folder: give --out on a path that "
            "all of them share (for example NFS), or in object storage (s3://BUCKET/RUN)"
        )
    return (
        f"node {node} does not reach {storage.where}: start Ray there with the credentials, and with AWS_ENDPOINT_URL "
        "if this machine has it"
    )


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"

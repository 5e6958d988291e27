"""One training in several processes through Ray Train; the lines of the first process come back here.

Ray Train starts the processes, joins them into one torch group, and restarts all of them when one is lost. The work of
a process is a generator of lines. It knows nothing of Ray and resumes from what it has saved itself: Ray's checkpoints
are not used.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from depthweave.search.cluster.ray_health import RayLostError, check_alive
from depthweave.trainers import Ranks

DataT = TypeVar("DataT")
Work: TypeAlias = Callable[[Ranks, DataT], Iterator[str]]
"""The work of a process: yields a line after each part that it has saved. It is called again after a loss."""

_MAX_LOSSES = 3
"""Losses of a process in a row, with nothing saved in between, after which the training gives up."""
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class _Message:
    kind: Literal["started", "line", "refused", "crashed", "ended"]
    text: str = ""


def share_work(work: Work[DataT], data: DataT, *, workers: int, scratch: Path) -> Iterator[str]:
    """Runs `work` in `workers` processes of the connected cluster, and yields the lines of the first of them.

    After the last line all processes have ended. `scratch` is a folder that all nodes can reach. Raises `ValueError`
    where the cluster lacks resources or `work` raises one, `ChildProcessError` where processes are lost repeatedly.
    """
    each = resources_per_worker(workers, nodes=[node["Resources"] for node in ray.nodes() if node["Alive"]])
    # The queue lives on this node: the loss of another machine cannot take it away.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    with _ray_train_folder(scratch) as storage:
        trainer = TorchTrainer(
            _run_worker,
            # The data is sent to each node once.
            train_loop_config={"work": work, "data": ray.put(data), "queue": queue},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu="GPU" in each, resources_per_worker=each),
            run_config=RunConfig(
                name="train", storage_path=str(storage), failure_config=FailureConfig(max_failures=-1)
            ),
        )
        # In a thread: `fit` blocks to the end and would handle Ctrl-C itself.
        fitting = threading.Thread(target=_fit, args=(trainer, queue), daemon=True)
        fitting.start()
        yield from _lines_from(queue)
        fitting.join()


@contextmanager
def _ray_train_folder(scratch: Path) -> Iterator[Path]:
    """Yields a folder for the state that Ray Train insists on keeping; removes it afterwards, it is not needed."""
    folder = scratch / ".ray-train"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def resources_per_worker(workers: int, *, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the resources of each worker: a GPU where the cluster has any, otherwise an equal share of the CPUs.

    `nodes`: the resources of each node, by Ray's names. Raises `ValueError` where there are too few.
    """
    gpus, cpus = ([int(node.get(kind, 0)) for node in nodes] for kind in ("GPU", "CPU"))
    if sum(gpus) >= workers:
        return {"CPU": 1, "GPU": 1}
    if any(gpus) or sum(cpus) < workers:
        kind, count = ("GPUs", sum(gpus)) if any(gpus) else ("CPUs", sum(cpus))
        raise ValueError(f"--workers {workers}: the cluster has {count} {kind}; give at most as many workers")
    return {"CPU": max(size for size in range(1, max(cpus) + 1) if sum(item // size for item in cpus) >= workers)}


def stay_on_loopback() -> None:
    """Makes the processes of a local training talk over the loopback device only."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if names:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])


def _lines_from(queue: Queue) -> Iterator[str]:
    started, losses, cause = False, 0, "its process was killed"
    while True:
        try:
            message: _Message = queue.get(timeout=_POLL_S)
        except (Empty, RayError) as error:
            try:
                check_alive()
            except RayLostError as lost:
                raise ValueError(f"{lost}; the saved training is kept: run the same command again") from None
            # The `Empty` of a timeout arrives as a RayTaskError that is an `Empty` too.
            if isinstance(error, Empty):
                continue
            raise
        if message.kind == "ended":
            return
        if message.kind == "refused":
            raise ValueError(message.text)
        if message.kind == "crashed":
            cause = message.text
        elif message.kind == "line":
            losses = 0
            yield message.text
        elif not started:
            started = True
        else:
            losses += 1
            if losses >= _MAX_LOSSES:
                raise ChildProcessError(
                    f"a worker was lost {losses} times without an evaluation in between ({cause}); the saved "
                    "training is kept: fix the cause and run the same command again"
                )
            yield "a worker was lost: all continue from the last evaluation"
            cause = "its process was killed"


def _fit(trainer: TorchTrainer, queue: Queue) -> None:
    try:
        trainer.fit()
    except Exception as error:
        queue.put(_Message(kind="refused", text=f"Ray Train ended: {str(error).strip().splitlines()[0]}"))
    else:
        queue.put(_Message(kind="ended"))


def _run_worker(config: dict[str, Any]) -> None:
    context, queue, work = get_context(), config["queue"], config["work"]
    ranks = Ranks(rank=context.get_world_rank(), count=context.get_world_size())
    is_first = ranks.rank == 0
    try:
        data = ray.get(config["data"])
        if is_first:
            queue.put(_Message(kind="started"))
        for line in work(ranks, data):
            if is_first:
                queue.put(_Message(kind="line", text=line))
    except ValueError as error:
        # The input is at fault: another attempt would fail in the same way.
        queue.put(_Message(kind="refused", text=str(error)))
        raise
    except Exception as error:
        queue.put(_Message(kind="crashed", text=f"{type(error).__name__}: {error}".splitlines()[0]))
        raise

"""One training in several processes through Ray Train: what the first of them says comes back here.

Ray Train starts the processes, joins them into one torch group and starts all of them again where one is lost. What the
processes do is a generator of lines that knows nothing of Ray and goes on from what it has kept itself; Ray's own
checkpoints are not used.
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
"""What every process does. It yields a line after each part that is kept, and is called again after a loss."""

_MAX_LOSSES = 3
"""Losses of a process in a row, without anything kept in between, after which trying again is no use."""
_LISTEN_S = 0.5


@dataclass(frozen=True, kw_only=True)
class _Word:
    kind: Literal["begun", "said", "refused", "crashed", "ended"]
    text: str = ""


def share_work(work: Work[DataT], data: DataT, *, workers: int, scratch: Path) -> Iterator[str]:
    """Runs `work` in so many processes of the connected cluster, and yields what the first of them says.

    After the last line all have ended. `scratch` is a folder on a path that all nodes see. Raises `ValueError` where
    the cluster has no room for them or `work` raises one, `ChildProcessError` where they are lost again and again.
    """
    each = room_for(workers, nodes=[node["Resources"] for node in ray.nodes() if node["Alive"]])
    # Beside this process: no other machine's loss takes it away.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    with _storage(scratch) as storage:
        trainer = TorchTrainer(
            _in_one_process,
            # The data goes to each node once.
            train_loop_config={"work": work, "data": ray.put(data), "queue": queue},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu="GPU" in each, resources_per_worker=each),
            run_config=RunConfig(
                name="train", storage_path=str(storage), failure_config=FailureConfig(max_failures=-1)
            ),
        )
        # In a thread of its own: Ray Train waits for the end and would take Ctrl-C for itself.
        fitting = threading.Thread(target=_fit, args=(trainer, queue), daemon=True)
        fitting.start()
        yield from _lines(queue)
        fitting.join()


@contextmanager
def _storage(scratch: Path) -> Iterator[Path]:
    """Ray Train insists on a folder for its own state; ours is the work's, so it goes, that of a killed driver too."""
    folder = scratch / ".ray-train"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def room_for(workers: int, *, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What each of so many processes gets: a GPU where the cluster has any, else equal parts of the CPUs.

    `nodes`: Ray's resources of each. Raises `ValueError` where there are too few.
    """
    gpus, cpus = ([int(node.get(kind, 0)) for node in nodes] for kind in ("GPU", "CPU"))
    if sum(gpus) >= workers:
        return {"CPU": 1, "GPU": 1}
    if any(gpus) or sum(cpus) < workers:
        kind, count = ("GPUs", sum(gpus)) if any(gpus) else ("CPUs", sum(cpus))
        raise ValueError(f"--workers {workers}: the cluster has {count} {kind}; give at most as many workers")
    return {"CPU": max(size for size in range(1, max(cpus) + 1) if sum(item // size for item in cpus) >= workers)}


def stay_on_loopback() -> None:
    """Processes that Ray starts on this machine alone talk over its loopback device alone."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if names:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])


def _lines(queue: Queue) -> Iterator[str]:
    begun, losses, cause = False, 0, "its process was killed"
    while True:
        try:
            word: _Word = queue.get(timeout=_LISTEN_S)
        except (Empty, RayError) as error:
            try:
                check_alive()
            except RayLostError as lost:
                raise ValueError(f"{lost}; what was kept stays: give the same command again") from None
            if isinstance(error, RayError):
                raise
            continue
        if word.kind == "ended":
            return
        if word.kind == "refused":
            raise ValueError(word.text)
        if word.kind == "crashed":
            cause = word.text
        elif word.kind == "said":
            losses = 0
            yield word.text
        elif not begun:
            begun = True
        else:
            losses += 1
            if losses >= _MAX_LOSSES:
                raise ChildProcessError(
                    f"a worker was lost {losses} times without an evaluation in between ({cause}); what was kept "
                    "stays: mend that and give the same command again"
                )
            yield "a worker was lost: all go on from the last evaluation"
            cause = "its process was killed"


def _fit(trainer: TorchTrainer, queue: Queue) -> None:
    try:
        trainer.fit()
    except Exception as error:
        queue.put(_Word(kind="refused", text=f"Ray Train ended: {str(error).strip().splitlines()[0]}"))
    else:
        queue.put(_Word(kind="ended"))


def _in_one_process(config: dict[str, Any]) -> None:
    context, queue, work = get_context(), config["queue"], config["work"]
    ranks = Ranks(rank=context.get_world_rank(), count=context.get_world_size())
    is_first = ranks.rank == 0
    try:
        data = ray.get(config["data"])
        if is_first:
            queue.put(_Word(kind="begun"))
        for line in work(ranks, data):
            if is_first:
                queue.put(_Word(kind="said", text=line))
    except ValueError as error:
        # The input's fault: trying again would change nothing.
        queue.put(_Word(kind="refused", text=str(error)))
        raise
    except Exception as error:
        queue.put(_Word(kind="crashed", text=f"{type(error).__name__}: {error}".splitlines()[0]))
        raise

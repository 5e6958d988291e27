"""Speed and memory measured with nothing that trains: of a few candidates before, of the front at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import ray
from ray.exceptions import RayError

from depthweave.reports.analysis.front import may_stand
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.cluster.placement import Placement
from depthweave.search.cluster.ray_health import check_alive
from depthweave.search.failures.causes import reason_of
from depthweave.search.preparation import PreparedSearch
from depthweave.search.scratch import device_locks
from depthweave.search.trials.live_trial import Progress
from depthweave.search.trials.recording import TIMED
from depthweave.spaces.architecture import Architecture
from depthweave.trainers import Kind, Measurement, Recipe, hardware, pick_device
from depthweave.trainers.device_lock import UNSHARED, DeviceLock
from depthweave.trainers.tasks import AnyTask

_LEAST_S, _TIMES = 900.0, 20.0
"""A measurement that takes longer than the first, and so many times its limit for each architecture, hangs."""

_LOOK_S = 1.0


class Found(NamedTuple):
    """What one process measured."""

    hardware: str
    """Processor or accelerator."""
    measurements: list[Measurement]


def kinds_of(objectives: Sequence[str], *, step: bool) -> tuple[Kind, ...]:
    """What is to be timed for these objectives; `step`: the training step in any case."""
    kinds: list[Kind] = ["forward"]
    if step or "step_latency" in objectives:
        kinds.append("step")
    if "decode_latency" in objectives:
        kinds.append("decode")
    return tuple(kinds)


def measure_front(prepared: PreparedSearch, store: RunStore, *, progress: Progress) -> None:
    """Measure until the whole front was measured alone, in turn, with the cluster otherwise idle.

    A corrected latency may let another record onto the front, which is then measured in its turn; what the trial saw
    is kept beside it. That Ray fails costs no result: a resumed run measures what is left.
    """
    objectives = prepared.spec.objectives
    if not any(OBJECTIVES[name].timed for name in objectives):
        return
    known = {item.trial: item for item in store.records()}
    while True:
        hopeful = may_stand(list(known.values()), objectives=objectives)
        members = [known[item.trial] for item in hopeful if item.trial_latency is None]
        if not members:
            return
        revised = measure_again(prepared, store, members, progress=progress)
        if not revised:
            return
        known.update({item.trial: item for item in revised})


def measure_again(
    prepared: PreparedSearch, store: RunStore, records: Sequence[Record], *, progress: Progress
) -> list[Record]:
    """The records with latencies measured alone, in turn, and so revised in the store; empty where Ray failed."""
    progress.on_phase(f"measuring {plural(len(records), 'architecture')} once more, alone")
    try:
        (found,) = measure_at_once(
            prepared,
            store,
            [[item.architecture_id for item in records]],
            time_limit_s=prepared.spec.resources.measure_limit_s,
            kinds=kinds_of(prepared.spec.objectives, step=True),
        )
    except RayError as error:
        progress.on_phase(f"measuring alone failed ({reason_of(error)}): latencies are those that the trials saw")
        return []
    revised = [
        dataclasses.replace(
            record,
            trial_latency=record.latency if record.trial_latency is None else record.trial_latency,
            latency_noise=again.noise_frac,
            **{name: getattr(again, name) for name in TIMED},
        )
        for record, again in zip(records, found.measurements, strict=True)
    ]
    for record in revised:
        store.revise(record)
    return revised


def locks_of(store: RunStore) -> str:
    """Where the processes of a machine find each other's locks of its devices, for `device_locks`."""
    if store.storage.is_local:
        return store.storage.root
    # A file's name made of any text.
    return f"locks-{hashlib.sha256(store.info.run_id.encode()).hexdigest()[:16]}"


def measure_at_once(
    prepared: PreparedSearch,
    store: RunStore,
    portions: Sequence[Sequence[str]],
    *,
    time_limit_s: float,
    kinds: Sequence[Kind],
) -> list[Found]:
    """Each portion measured in turn by a process of its own, all processes at once; raises `RayError`.

    Processes that share a GPU time their portions one after another.
    """
    resources = prepared.spec.resources
    task = ray.remote(**prepared.placement.options(resources))(_measure)
    shared = {
        "task": prepared.task,
        "reference": prepared.reference.architecture,
        "recipe": prepared.spec.recipe,
        "device": resources.device,
        "threads": resources.cpus_per_trial,
        "time_limit_s": time_limit_s,
        "kinds": kinds,
        "placement": prepared.placement,
        "locks": locks_of(store),
    }
    work = [task.remote([prepared.space[item].architecture for item in portion], **shared) for portion in portions]
    deadline_s = time.monotonic() + _LEAST_S + _TIMES * time_limit_s * max(map(len, portions))
    try:
        # Ray's own wait does not end when Ray has died.
        while len(ray.wait(work, num_returns=len(work), timeout=_LOOK_S)[0]) < len(work):
            check_alive()
            if time.monotonic() > deadline_s:
                break
        found: list[Found] = ray.get(work, timeout=0)
    except RayError:
        check_alive()
        for item in work:
            ray.cancel(item, force=True)
        raise
    return found


def _measure(
    architectures: list[Architecture],
    *,
    task: AnyTask,
    reference: Architecture,
    recipe: Recipe,
    device: str,
    threads: int,
    time_limit_s: float,
    kinds: Sequence[Kind],
    placement: Placement,
    locks: str,
) -> Found:
    import torch

    torch.set_num_threads(threads)
    place = pick_device(device)
    placement.check(hardware(place))
    folder = device_locks(locks, device_type=place.type)
    measurements: list[Measurement] = task.measure(
        architectures,
        reference=reference,
        recipe=recipe,
        device=place,
        time_limit_s=time_limit_s,
        kinds=kinds,
        # On a CPU each is timed by its own thread's clock.
        lock=UNSHARED if place.type == "cpu" else DeviceLock(folder, device=place),
    )
    return Found(hardware(place), measurements)

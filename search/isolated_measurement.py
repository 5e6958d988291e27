"""Speed and memory measured while nothing trains: of some candidates before the search, of the front at its end."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple, get_args

import ray
from ray.exceptions import RayError

from depthweave.reports.analysis.front import may_be_on_front
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.cluster.placement import Placement
from depthweave.search.cluster.ray_health import check_alive
from depthweave.search.failures.causes import reason_of
from depthweave.search.preparation import PreparedSearch
from depthweave.search.scratch import device_locks
from depthweave.search.search_run import SearchRun
from depthweave.search.trials.recording import TIMED
from depthweave.spaces.architecture import Architecture
from depthweave.trainers import Kind, Measurement, Recipe, hardware, pick_device
from depthweave.trainers.device_lock import UNSHARED, DeviceLock
from depthweave.trainers.tasks import AnyTask

_TIMEOUT_S, _TIMEOUT_FACTOR = 900.0, 20.0
"""A process hangs where it takes longer than the time and the factor times the limits of all its architectures."""

_POLL_S = 1.0


class PortionResult(NamedTuple):
    """What one process measured."""

    hardware: str
    """Processor or accelerator."""
    measurements: list[Measurement]


def kinds_of(objectives: Sequence[str], *, step: bool) -> tuple[Kind, ...]:
    """Returns what is timed for these objectives. `step`: the training step in any case."""
    wanted = {"forward", *(["step"] if step else []), *(OBJECTIVES[name].timing for name in objectives)}
    known: tuple[Kind, ...] = get_args(Kind)
    return tuple(kind for kind in known if kind in wanted)


def measure_front(run: SearchRun) -> None:
    """Measures the front in isolation: its members in turn, with the cluster otherwise idle.

    A corrected latency may bring another record onto the front, which is then measured too. The trial's own figure is
    kept. Where Ray fails no result is lost: a resumed run measures the rest.
    """
    objectives = run.prepared.spec.objectives
    if not any(OBJECTIVES[name].timed for name in objectives):
        return
    known = {item.trial: item for item in run.store.records()}
    while True:
        possible = may_be_on_front(list(known.values()), objectives=objectives)
        members = [known[item.trial] for item in possible if item.trial_latency is None]
        if not members:
            return
        revised = remeasure(run, members)
        if not revised:
            return
        known.update({item.trial: item for item in revised})


def remeasure(run: SearchRun, records: Sequence[Record]) -> list[Record]:
    """Measures the records' architectures in turn and in isolation, and revises the records in the store.

    Returns the revised records; none where Ray failed.
    """
    run.progress.on_phase(f"measuring {plural(len(records), 'architecture')} again, in isolation")
    spec = run.prepared.spec
    try:
        (result,) = measure_in_parallel(
            run.prepared,
            run.store,
            [[item.architecture_id for item in records]],
            time_limit_s=spec.resources.measure_limit_s,
            kinds=kinds_of(spec.objectives, step=True),
        )
    except RayError as error:
        run.progress.on_phase(f"measuring in isolation failed ({reason_of(error)}): latencies are those of the trials")
        return []
    revised = [
        dataclasses.replace(
            record,
            trial_latency=record.latency if record.trial_latency is None else record.trial_latency,
            latency_noise=again.noise_frac,
            **{name: getattr(again, name) for name in TIMED},
        )
        for record, again in zip(records, result.measurements, strict=True)
    ]
    for record in revised:
        run.store.revise(record)
    return revised


def locks_of(store: RunStore) -> str:
    """Returns the folder in which the processes of a machine find the locks of its devices, for `device_locks`."""
    if store.storage.is_local:
        return store.storage.root
    # A run's id may be any text, and this is a file name.
    return f"locks-{hashlib.sha256(store.info.run_id.encode()).hexdigest()[:16]}"


def measure_in_parallel(
    prepared: PreparedSearch,
    store: RunStore,
    portions: Sequence[Sequence[str]],
    *,
    time_limit_s: float,
    kinds: Sequence[Kind],
) -> list[PortionResult]:
    """Measures each portion in turn in a process of its own, all processes at once.

    Processes that share a GPU measure one after another. Raises `RayError`.
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
    deadline_s = time.monotonic() + _TIMEOUT_S + _TIMEOUT_FACTOR * time_limit_s * max(map(len, portions))
    try:
        # Ray's own wait does not end when Ray dies.
        while len(ray.wait(work, num_returns=len(work), timeout=_POLL_S)[0]) < len(work):
            check_alive()
            if time.monotonic() > deadline_s:
                break
        results: list[PortionResult] = ray.get(work, timeout=0)
    except RayError:
        check_alive()
        for item in work:
            ray.cancel(item, force=True)
        raise
    return results


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
) -> PortionResult:
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
        # On a CPU each process is timed by its own thread's clock.
        lock=UNSHARED if place.type == "cpu" else DeviceLock(folder, device=place),
    )
    return PortionResult(hardware(place), measurements)

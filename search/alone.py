"""Latencies measured with nothing else running: the trials measured beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import ray
from ray.exceptions import RayError

from depthweave.reports.front import may_stand
from depthweave.reports.records import Record
from depthweave.reports.store import RunStore
from depthweave.search.entry import Progress
from depthweave.search.setting import Setting
from depthweave.spaces.architecture import Architecture
from depthweave.trainers import Measurement, Recipe, measure_in_turn, pick_device


def measure_front(setting: Setting, store: RunStore, *, progress: Progress) -> None:
    """Measure until the whole front was measured alone, in turn, with the cluster otherwise idle.

    A corrected latency may let another record onto the front, which is then measured in its turn; what the trial saw
    is kept beside it. That Ray fails costs no result: a resumed run measures what is left.
    """
    objectives = setting.spec.objectives
    if "latency" not in objectives:
        return
    known = {item.trial: item for item in store.records()}
    while True:
        hopeful = may_stand(list(known.values()), objectives=objectives)
        members = [known[item.trial] for item in hopeful if item.trial_latency is None]
        if not members:
            return
        revised = measure_again(setting, store, members, progress=progress)
        if not revised:
            return
        known.update({item.trial: item for item in revised})


def measure_again(setting: Setting, store: RunStore, records: Sequence[Record], *, progress: Progress) -> list[Record]:
    """The records with latencies measured alone, in turn, and so revised in the store; empty where Ray failed."""
    progress.on_phase(f"measuring {len(records)} architectures once more, alone")
    try:
        measurements = _measured(setting, [item.architecture_id for item in records])
    except RayError as error:
        first = str(error).strip().splitlines()[0]
        progress.on_phase(f"measuring alone failed ({first}): latencies are those that the trials saw")
        return []
    revised = [
        dataclasses.replace(
            record,
            trial_latency=record.latency if record.trial_latency is None else record.trial_latency,
            latency=found.latency,
            latency_low=found.latency_low,
            latency_high=found.latency_high,
            latency_s=found.latency_s,
            reference_latency_s=found.reference_latency_s,
        )
        for record, found in zip(records, measurements, strict=True)
    ]
    for record in revised:
        store.revise(record)
    return revised


def _measured(setting: Setting, architecture_ids: list[str]) -> list[Measurement]:
    resources = setting.spec.resources
    task = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)(_measure)
    measurements: list[Measurement] = ray.get(
        task.remote(
            [setting.space[item].architecture for item in architecture_ids],
            reference=setting.reference.architecture,
            recipe=setting.spec.recipe,
            device=resources.device,
            threads=resources.cpus_per_trial,
            time_limit_s=resources.measure_limit_s,
        )
    )
    return measurements


def _measure(
    architectures: list[Architecture],
    *,
    reference: Architecture,
    recipe: Recipe,
    device: str,
    threads: int,
    time_limit_s: float,
) -> list[Measurement]:
    import torch

    torch.set_num_threads(threads)
    return measure_in_turn(
        architectures,
        reference=reference,
        recipe=recipe,
        device=pick_device(device),
        time_limit_s=time_limit_s,
        training_step=False,
    )

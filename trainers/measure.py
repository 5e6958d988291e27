"""How fast an architecture is, relative to the reference: both run in turn, in one process, on the same batch.

The speed of a machine drifts and other work disturbs it, but contenders that run in turn are disturbed alike. A latency
is the median over rounds of the ratio to the reference (`timing.py`). Runs reuse the memory that earlier runs freed
(`heap.py`).

Axes: R rounds, C contenders.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.trainers.device_lock import UNSHARED, DeviceLock, NoDeviceLock
from depthweave.trainers.heap import retained_heap
from depthweave.trainers.machine import check_can, check_room_for
from depthweave.trainers.measured_runs import DecoderKit, Kit, Runs
from depthweave.trainers.memory import PeakMemory
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.timing import INTERVAL_ROUNDS, FloatArray, Interval, median_interval, noise_frac, times_in_turn

Kind = Literal["forward", "step", "decode"]
"""What is timed: a forward pass over a batch, a training step, one token from a cache."""

_MIN_ROUNDS: dict[Kind, int] = {"forward": INTERVAL_ROUNDS, "step": 3, "decode": INTERVAL_ROUNDS}
"""A training step takes three times as long; with fewer than 6 rounds its interval is the whole range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Speed and memory of one architecture. Relative numbers are exactly 1 for the reference itself."""

    latency: float
    """Forward latency of one batch without gradients, relative to the reference."""
    latency_low: float
    """Lower end of its 95 % interval."""
    latency_high: float
    """Upper end of its 95 % interval."""
    latency_s: float
    """Median forward latency of one batch, seconds."""
    reference_latency_s: float
    """The reference's, measured in turn with it."""
    step_latency: float | None = None
    """Latency of a training step relative to the reference; this and the fields below are None where not asked for."""
    step_latency_low: float | None = None
    """Lower end of its interval: 95 %, or the whole range of fewer than 6 rounds."""
    step_latency_high: float | None = None
    """Upper end of its interval."""
    step_latency_s: float | None = None
    """Median latency of a training step, seconds."""
    reference_step_latency_s: float | None = None
    """The reference's, measured in turn with it."""
    decode_latency: float | None = None
    """Latency of the last token of a full context, for each sequence of the batch, with all earlier ones in a cache;
    relative to the reference."""
    decode_latency_low: float | None = None
    """Lower end of its 95 % interval."""
    decode_latency_high: float | None = None
    """Upper end of its interval."""
    decode_latency_s: float | None = None
    """Median latency of such a token, seconds."""
    reference_decode_latency_s: float | None = None
    """The reference's, measured in turn with it."""
    memory_bytes: int
    """Peak memory of a training step."""
    forward_memory_bytes: int
    """Peak memory of a forward pass without gradients."""
    rounds: int
    """Rounds of forward passes."""
    noise_frac: float
    """Interquartile range of the reference's forward latencies over their median: how noisy the machine was."""
    measure_s: float
    """Time spent measuring, without the wait for the lock."""
    waited_s: float
    """Time spent waiting for the lock."""


def measure(
    architecture: Architecture,
    *,
    reference: Architecture,
    recipe: Recipe,
    device: torch.device,
    time_limit_s: float = 2.0,
    lock: DeviceLock | NoDeviceLock = UNSHARED,
    kinds: Sequence[Kind] = ("forward", "step"),
) -> Measurement:
    """Returns speed relative to `reference`, and memory, at the recipe's batch, context and precision.

    `lock` is that of the device: processes with the same lock measure one after another, and on a GPU no training runs
    meanwhile. `time_limit_s` covers the timing of all kinds together. A few rounds run in any case, and a noisy machine
    gets up to twice the time. `kinds` is what is timed; `forward` always is.
    """
    return measure_in_turn(
        [architecture],
        reference=reference,
        recipe=recipe,
        device=device,
        time_limit_s=time_limit_s,
        lock=lock,
        kinds=kinds,
    )[0]


def measure_in_turn(
    architectures: Sequence[Architecture],
    *,
    reference: Architecture,
    recipe: Recipe,
    device: torch.device,
    time_limit_s: float = 2.0,
    lock: DeviceLock | NoDeviceLock = UNSHARED,
    kinds: Sequence[Kind] = ("forward", "step"),
    kit: Kit | None = None,
) -> list[Measurement]:
    """Measures several architectures in the same rounds and returns them in their order; `time_limit_s` is for each.

    `kit` makes what is measured; that of decoders by default.
    """
    kit = DecoderKit() if kit is None else kit
    started = time.perf_counter()
    check_can(device, recipe=recipe)
    # The reference is the first contender, and a repeated architecture runs once.
    contenders = list(dict.fromkeys([reference, *architectures]))
    for contender in contenders:
        check_room_for(contender)
    timed: list[Kind] = ["forward", *(kind for kind in ("step", "decode") if kind in kinds)]
    limit_s = time_limit_s * max(1, len(contenders) - 1) / len(timed)
    with retained_heap():
        memories: list[PeakMemory] = []
        runs: list[Runs] = []
        with lock.shared():
            for architecture in architectures:
                memories.append(kit.memory(architecture, recipe=recipe, device=device))
                lock.give_way()
            for contender in contenders:
                runs.append(kit.runs(contender, recipe=recipe, device=device))
                for kind in timed if recipe.compile else ():
                    # Compiling takes up to minutes, and others need not wait for it.
                    getattr(runs[-1], kind)()
                    lock.give_way()
        with lock.exclusive() as waited_s:
            times = {
                kind: times_in_turn(
                    [getattr(run, kind) for run in runs], device=device, limit_s=limit_s, min_rounds=_MIN_ROUNDS[kind]
                )
                for kind in timed
            }
    measure_s = time.perf_counter() - started - waited_s
    places = [contenders.index(item) for item in architectures]
    return [
        _measurement(times, place, memory=memory, measure_s=measure_s, waited_s=waited_s)
        for place, memory in zip(places, memories, strict=True)
    ]


def _measurement(
    times: Mapping[Kind, FloatArray], contender: int, *, memory: PeakMemory, measure_s: float, waited_s: float
) -> Measurement:
    values: dict[str, float] = {}
    for kind, times_RC in times.items():
        speed = _Speed.of(times_RC, contender)
        name = "latency" if kind == "forward" else f"{kind}_latency"
        values |= {name: speed.ratio.median, f"{name}_low": speed.ratio.low, f"{name}_high": speed.ratio.high}
        values |= {f"{name}_s": speed.own_s, f"reference_{name}_s": speed.reference_s}
    return Measurement(
        **values,
        memory_bytes=memory.training_step_bytes,
        forward_memory_bytes=memory.forward_bytes,
        rounds=len(times["forward"]),
        noise_frac=noise_frac(times["forward"]),
        measure_s=measure_s,
        waited_s=waited_s,
    )


class _Speed(NamedTuple):
    ratio: Interval
    own_s: float
    reference_s: float

    @classmethod
    def of(cls, times_RC: FloatArray, contender: int) -> _Speed:
        own_s, reference_s = float(np.median(times_RC[:, contender])), float(np.median(times_RC[:, 0]))
        return cls(median_interval(times_RC[:, contender] / times_RC[:, 0]), own_s, reference_s)

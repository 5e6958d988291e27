"""How fast an architecture is, relative to the reference: both run in turn, in one process, on the same batch.

The speed of a machine drifts and other work disturbs it, but contenders that run in turn are disturbed alike. A round
times every contender once, and the order is reversed from one round to the next. A latency is the median over rounds of
the ratio to the reference. Its interval is that of the sign test: order statistics of the ratios, without an assumption
on their distribution. With one thread on a CPU the time is that of the thread and not the wall time, and runs reuse the
memory that earlier runs freed (`heap.py`).

Axes: B batch, T tokens, R rounds, C contenders.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.trainers.device_lock import UNSHARED, DeviceLock, NoDeviceLock
from depthweave.trainers.heap import retained_heap, shifted_allocations
from depthweave.trainers.machine import check_can, check_room_for, synchronize
from depthweave.trainers.measured_runs import DecoderKit, Kit, Runs
from depthweave.trainers.memory import PeakMemory
from depthweave.trainers.recipe import Recipe

Kind = Literal["forward", "step", "decode"]
"""What is timed: a forward pass over a batch, a training step, one token from a cache."""

_WARMUP_RUNS = 1
"""Runs of every contender before the first round, for allocators and compilation."""
_MIN_SAMPLE_S = 0.005
"""A contender is repeated as often as the reference needs to take this long, so that timer overhead vanishes."""
_INTERVAL_ROUNDS = 6
"""Fewest rounds for which a 95 % interval exists."""
_MIN_ROUNDS: dict[Kind, int] = {"forward": _INTERVAL_ROUNDS, "step": 3, "decode": _INTERVAL_ROUNDS}
"""A training step takes three times as long; with fewer than 6 rounds its interval is the whole range."""
_NOISY_FRAC = 0.05
"""Where the interquartile range of the reference's times is wider than this share of their median, other work disturbs
the machine."""
_NOISY_FACTOR = 2.0
"""Factor on the time limit on a noisy machine."""
_NARROW_FRAC = 0.01
"""Rounds end early once every interval is narrower than this share of its median."""
_CHECK_FACTOR = 1.5
"""Factor between the rounds at which the widths are checked. An interval that is checked after every round and taken
when it happens to be narrow covers 92 %, not 95."""
_COVERAGE = 0.95

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


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


class Interval(NamedTuple):
    """A median and the bounds of its interval."""

    median: float
    low: float
    high: float


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
        noise_frac=_noise_frac(times["forward"]),
        measure_s=measure_s,
        waited_s=waited_s,
    )


def median_interval(values: Sequence[float] | FloatArray) -> Interval:
    """Returns the median and the narrowest pair of order statistics that contains the true median in 95 % of cases.

    Fewer than 6 values have no such pair. The interval is then their range, which contains it less often.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    # The probability that the true median is below the smallest `rank + 1` values is a binomial tail. Integers count
    # it: from 1,030 values on a float overflows.
    rank, ways, below = 0, 1, 1
    while rank + 1 <= (count - 1) // 2:
        ways = ways * (count - rank) // (rank + 1)
        below += ways
        if 2 * below / 2**count > 1.0 - _COVERAGE:
            break
        rank += 1
    return Interval(float(np.median(ordered)), float(ordered[rank]), float(ordered[count - 1 - rank]))


def times_in_turn(
    runs: Sequence[Callable[[], None]], *, device: torch.device, limit_s: float, min_rounds: int
) -> FloatArray:
    """Returns the seconds of one run, [R, C], of contenders in turn.

    Rounds end when the intervals are narrow or the next one would exceed the limit, but not before `min_rounds`. The
    first contender is the reference.
    """
    started = time.perf_counter()
    for run in runs:
        _time_run(run, repeats=_WARMUP_RUNS, device=device)
    repeats = max(1, math.ceil(_MIN_SAMPLE_S / _time_run(runs[0], repeats=1, device=device)))
    rounds: list[list[float]] = []
    next_check = _INTERVAL_ROUNDS
    rounds_started = time.perf_counter()
    draw = random.Random(0)
    while True:
        order = range(len(runs)) if len(rounds) % 2 == 0 else reversed(range(len(runs)))
        # The addresses of tensors change how well the processor's caches work.
        with shifted_allocations(draw) if device.type == "cpu" else nullcontext():
            times = {contender: _time_run(runs[contender], repeats=repeats, device=device) for contender in order}
        rounds.append([times[contender] for contender in range(len(runs))])
        if len(rounds) < min_rounds:
            continue
        now = time.perf_counter()
        round_s = (now - rounds_started) / len(rounds)
        times_RC = np.array(rounds)
        limit_factor = 1.0 if _noise_frac(times_RC) <= _NOISY_FRAC else _NOISY_FACTOR
        is_check = len(rounds) >= next_check
        if now + round_s - started > limit_factor * limit_s or (is_check and _is_narrow(times_RC)):
            return times_RC
        next_check = look_after(next_check) if is_check else next_check


class _Speed(NamedTuple):
    ratio: Interval
    own_s: float
    reference_s: float

    @classmethod
    def of(cls, times_RC: FloatArray, contender: int) -> _Speed:
        own_s, reference_s = float(np.median(times_RC[:, contender])), float(np.median(times_RC[:, 0]))
        return cls(median_interval(times_RC[:, contender] / times_RC[:, 0]), own_s, reference_s)


def look_after(num_rounds: int) -> int:
    """Returns the number of rounds after which the widths of the intervals are checked again."""
    return math.ceil(_CHECK_FACTOR * num_rounds)


def _noise_frac(times_RC: FloatArray) -> float:
    """Returns the interquartile range of the reference's times over their median."""
    low_s, middle_s, high_s = np.quantile(times_RC[:, 0], (0.25, 0.5, 0.75))
    return float((high_s - low_s) / middle_s)


def _is_narrow(times_RC: FloatArray) -> bool:
    """Returns whether every interval is known and narrow; without others the reference is judged by its own times."""
    if len(times_RC) < _INTERVAL_ROUNDS:
        return False
    is_single = times_RC.shape[1] == 1
    values_RC = times_RC if is_single else times_RC[:, 1:] / times_RC[:, :1]
    intervals = [median_interval(column) for column in values_RC.T]
    return all(found.high - found.low <= _NARROW_FRAC * found.median for found in intervals)


def _time_run(run: Callable[[], None], *, repeats: int, device: torch.device) -> float:
    """Returns the mean seconds of `repeats` runs in a row, by the clock that other work disturbs least."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(repeats):
                run()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1e3 / repeats
    # The clock of a single thread does not count the time of other processes on the core.
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    synchronize(device)
    started = clock()
    for _ in range(repeats):
        run()
    synchronize(device)
    return (clock() - started) / repeats

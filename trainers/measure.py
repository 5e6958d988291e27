"""How fast an architecture is, relative to the reference: both run in turn, in one process, on the same batch.

A machine's speed drifts and other work disturbs it; what runs in turn is disturbed alike. A round times every
contender once, in an order that turns round from one round to the next, and a latency is the median over rounds of
the ratio to the reference. Its interval is the sign test's: order statistics of the ratios, with no assumption on
their distribution. With one thread on a CPU, time is the processor's and not the wall's; and what one run frees the
next one takes again (`heap.py`).

Axes: B batch, T tokens, R rounds, C contenders.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.trainers.device_lock import UNSHARED, DeviceLock, NoDeviceLock
from depthweave.trainers.heap import retained_heap, shifted_allocations
from depthweave.trainers.machine import check_can, check_room_for, synchronize
from depthweave.trainers.memory import peak_memory
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.recipe import Recipe

Kind = Literal["forward", "step", "decode"]
"""What is timed: a forward pass over a batch, a training step, one token from a cache."""

_WARMUP_RUNS = 1
"""Runs of every contender before the first round: allocators fill, compilation happens."""
_MIN_SAMPLE_S = 0.005
"""A contender runs as often in a row as the reference needs to take this long: timers and switches then vanish."""
_INTERVAL_ROUNDS = 6
"""The fewest for which an interval of 95 % exists."""
_MIN_ROUNDS: dict[Kind, int] = {"forward": _INTERVAL_ROUNDS, "step": 3, "decode": _INTERVAL_ROUNDS}
"""A training step takes thrice as long; with fewer than 6 rounds its interval is the whole range seen."""
_UNQUIET_FRAC = 0.05
"""Where the reference's own times have a wider interquartile range than this, relative to their median, something else
runs on the machine."""
_PATIENCE = 2.0
"""Times the time limit, for which an unquiet machine is measured at most."""
_NARROW_FRAC = 0.01
"""Rounds end early once every interval is this narrow, relative to its median."""
_LOOK_FACTOR = 1.5
"""Rounds between two looks at that: an interval that is looked at after every round and taken when it happens to be
narrow covers 92 %, not 95."""
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
    """Latency of a training step relative to the reference; None where it was not asked for, as all below."""
    step_latency_low: float | None = None
    """Lower end of its interval: 95 %, or the whole range seen in fewer than 6 rounds."""
    step_latency_high: float | None = None
    """Upper end of its interval."""
    step_latency_s: float | None = None
    """Median latency of a training step, seconds."""
    reference_step_latency_s: float | None = None
    """The reference's, measured in turn with it."""
    decode_latency: float | None = None
    """Latency of one more token for each sequence of the batch, after a context that is full but for it, from a cache;
    relative to the reference; None where it was not asked for."""
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
    """Interquartile range of the reference's forward latencies over their median: how unquiet the machine was."""
    measure_s: float
    """Time spent measuring, the wait for the lock left out."""
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
    """Speed of an architecture relative to `reference`, and its memory, at the recipe's batch, context and precision.

    `lock`: of the device; processes that name the same one time one after another, and on a GPU no training runs
    meanwhile. `time_limit_s` holds for the timing alone, all kinds together; a few rounds are run whatever it says, and
    up to twice as many seconds where the reference's own times say that the machine is not quiet. `kinds`: what is
    timed; `forward` always is.
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
) -> list[Measurement]:
    """`measure` for several architectures in the same rounds; `time_limit_s` is for each. Answers in their order."""
    started = time.perf_counter()
    check_can(device, recipe=recipe)
    # The reference comes first, and an architecture that is there twice runs once.
    contenders = list(dict.fromkeys([reference, *architectures]))
    for contender in contenders:
        check_room_for(contender)
    timed: list[Kind] = ["forward", *(kind for kind in ("step", "decode") if kind in kinds)]
    limit_s = time_limit_s * max(1, len(contenders) - 1) / len(timed)
    with retained_heap():
        memories, runs = [], []
        with lock.shared():
            for architecture in architectures:
                memories.append(peak_memory(architecture, recipe=recipe, device=device))
                lock.give_way()
            for contender in contenders:
                runs.append(_Runs(contender, recipe=recipe, device=device))
                for kind in timed if recipe.compile else ():
                    # Compiling takes up to minutes, in which others need not wait.
                    getattr(runs[-1], kind)()
                    lock.give_way()
        with lock.alone() as waited_s:
            times = {
                kind: times_in_turn(
                    [getattr(run, kind) for run in runs], device=device, limit_s=limit_s, min_rounds=_MIN_ROUNDS[kind]
                )
                for kind in timed
            }
    measure_s = time.perf_counter() - started - waited_s
    answers = []
    for architecture, memory in zip(architectures, memories, strict=True):
        values: dict[str, float] = {}
        for kind, times_RC in times.items():
            speed = _Speed.of(times_RC, contenders.index(architecture))
            name = "latency" if kind == "forward" else f"{kind}_latency"
            values |= {name: speed.ratio.median, f"{name}_low": speed.ratio.low, f"{name}_high": speed.ratio.high}
            values |= {f"{name}_s": speed.own_s, f"reference_{name}_s": speed.reference_s}
        answers.append(
            Measurement(
                **values,
                memory_bytes=memory.training_step_bytes,
                forward_memory_bytes=memory.forward_bytes,
                rounds=len(times["forward"]),
                noise_frac=_noise_frac(times["forward"]),
                measure_s=measure_s,
                waited_s=waited_s,
            )
        )
    return answers


def median_interval(values: Sequence[float] | FloatArray) -> Interval:
    """The median, and the narrowest pair of order statistics that holds the true one in 95 % of cases.

    With fewer than 6 values there is none: the answer is then their range, which holds it less often.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    # The chance that the true median lies below the smallest `rank + 1` values is a binomial tail. It is counted in
    # whole numbers: from 1,030 values on, ways are too many for a float.
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
    """Seconds of one run, [R, C], of contenders in turn: until the intervals are narrow or the limit would be passed.

    The first contender is the reference. At least `min_rounds` rounds are run whatever they take.
    """
    started = time.perf_counter()
    for run in runs:
        _time_run(run, repeats=_WARMUP_RUNS, device=device)
    repeats = max(1, math.ceil(_MIN_SAMPLE_S / _time_run(runs[0], repeats=1, device=device)))
    rounds: list[list[float]] = []
    next_look = _INTERVAL_ROUNDS
    rounds_started = time.perf_counter()
    draw = random.Random(0)
    while True:
        order = range(len(runs)) if len(rounds) % 2 == 0 else reversed(range(len(runs)))
        # The processor's caches make a run faster or slower by where things lie.
        with shifted_allocations(draw) if device.type == "cpu" else nullcontext():
            times = {contender: _time_run(runs[contender], repeats=repeats, device=device) for contender in order}
        rounds.append([times[contender] for contender in range(len(runs))])
        if len(rounds) < min_rounds:
            continue
        now = time.perf_counter()
        round_s = (now - rounds_started) / len(rounds)
        times_RC = np.array(rounds)
        patience = 1.0 if _noise_frac(times_RC) <= _UNQUIET_FRAC else _PATIENCE
        looks = len(rounds) >= next_look
        if now + round_s - started > patience * limit_s or (looks and _is_narrow(times_RC)):
            return times_RC
        next_look = look_after(next_look) if looks else next_look


class _Speed(NamedTuple):
    ratio: Interval
    own_s: float
    reference_s: float

    @classmethod
    def of(cls, times_RC: FloatArray, contender: int) -> _Speed:
        own_s, reference_s = float(np.median(times_RC[:, contender])), float(np.median(times_RC[:, 0]))
        return cls(median_interval(times_RC[:, contender] / times_RC[:, 0]), own_s, reference_s)


class _Runs:
    """What is timed of one architecture, on a fixed batch of random tokens."""

    def __init__(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> None:
        model = Decoder(architecture).to(device)
        generator = torch.Generator().manual_seed(0)
        shape = (recipe.batch, recipe.context + 1)
        windows_BW = torch.randint(architecture.vocabulary, shape, generator=generator).to(device)
        self._tokens_BT, self._targets_BT = windows_BW[:, :-1], windows_BW[:, 1:]
        self._take_step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
        self._model: Callable[[torch.Tensor], torch.Tensor] = torch.compile(model) if recipe.compile else model
        self._decoder = model
        """Never compiled: every length of a cache would be another graph."""
        self._cache: DecodingCache | None = None

    @torch.no_grad()
    def forward(self) -> None:
        with self._take_step.autocast():
            self._model(self._tokens_BT)

    @torch.no_grad()
    def decode(self) -> None:
        last = self._tokens_BT.shape[1] - 1
        with self._take_step.autocast():
            if self._cache is None:
                self._cache = DecodingCache()
                if last:
                    self._decoder(self._tokens_BT[:, :last], cache=self._cache)
            self._cache.num_tokens = last
            self._decoder(self._tokens_BT[:, last:], cache=self._cache)

    def step(self) -> None:
        # A rate of zero does all the work and leaves the weights where they are.
        self._take_step(self._tokens_BT, self._targets_BT, learning_rate=0.0)


def look_after(num_rounds: int) -> int:
    """After how many rounds the intervals' widths are looked at again."""
    return math.ceil(_LOOK_FACTOR * num_rounds)


def _noise_frac(times_RC: FloatArray) -> float:
    """Interquartile range of the reference's times over their median."""
    low_s, middle_s, high_s = np.quantile(times_RC[:, 0], (0.25, 0.5, 0.75))
    return float((high_s - low_s) / middle_s)


def _is_narrow(times_RC: FloatArray) -> bool:
    """Whether every interval is known and narrow; the reference alone is judged by its own times."""
    if len(times_RC) < _INTERVAL_ROUNDS:
        return False
    alone = times_RC.shape[1] == 1
    values_RC = times_RC if alone else times_RC[:, 1:] / times_RC[:, :1]
    intervals = [median_interval(column) for column in values_RC.T]
    return all(found.high - found.low <= _NARROW_FRAC * found.median for found in intervals)


def _time_run(run: Callable[[], None], *, repeats: int, device: torch.device) -> float:
    """Mean seconds of one of `repeats` runs in a row, by the clock that others on the machine disturb least."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(repeats):
                run()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1e3 / repeats
    # Alone on its thread a run takes the processor's time: that of others who share the core does not count then.
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    synchronize(device)
    started = clock()
    for _ in range(repeats):
        run()
    synchronize(device)
    return (clock() - started) / repeats

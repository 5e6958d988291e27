"""Times of several runs in turn, and the interval of their median.

A round times every contender once, and the order is reversed from one round to the next. The interval is that of the
sign test: order statistics, without an assumption on their distribution. With one thread on a CPU the time is that of
the thread and not the wall time.

Axes: R rounds, C contenders.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch

from depthweave.trainers.heap import shifted_allocations
from depthweave.trainers.machine import synchronize

_WARMUP_RUNS = 1
"""Runs of every contender before the first round, for allocators and compilation."""
_MIN_SAMPLE_S = 0.005
"""A contender is repeated as often as the reference needs to take this long, so that timer overhead vanishes."""
INTERVAL_ROUNDS = 6
"""Fewest rounds for which a 95 % interval exists."""
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


class Interval(NamedTuple):
    """A median and the bounds of its interval."""

    median: float
    low: float
    high: float


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
    next_check = INTERVAL_ROUNDS
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
        limit_factor = 1.0 if noise_frac(times_RC) <= _NOISY_FRAC else _NOISY_FACTOR
        is_check = len(rounds) >= next_check
        if now + round_s - started > limit_factor * limit_s or (is_check and _is_narrow(times_RC)):
            return times_RC
        next_check = look_after(next_check) if is_check else next_check


def look_after(num_rounds: int) -> int:
    """Returns the number of rounds after which the widths of the intervals are checked again."""
    return math.ceil(_CHECK_FACTOR * num_rounds)


def noise_frac(times_RC: FloatArray) -> float:
    """Returns the interquartile range of the reference's times over their median."""
    low_s, middle_s, high_s = np.quantile(times_RC[:, 0], (0.25, 0.5, 0.75))
    return float((high_s - low_s) / middle_s)


def _is_narrow(times_RC: FloatArray) -> bool:
    """Returns whether every interval is known and narrow; without others the reference is judged by its own times."""
    if len(times_RC) < INTERVAL_ROUNDS:
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

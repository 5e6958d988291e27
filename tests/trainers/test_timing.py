"""Times in turn: intervals equal those worked out by hand, planted speeds are found, and rounds end in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from depthweave.trainers import timing
from depthweave.trainers.timing import look_after, median_interval

_CPU = torch.device("cpu")


def _set_clocks(patched: pytest.MonkeyPatch, clock: list[float]) -> None:
    """Replaces both the wall clock and the clock of the processor by `clock`."""
    for name in ("perf_counter", "thread_time"):
        patched.setattr(time, name, lambda: clock[0])


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (5, 1, 5),
        (6, 1, 6),
        (8, 1, 8),
        (9, 2, 8),
        (10, 2, 9),
        (20, 6, 15),
        (50, 18, 33),
        (2000, 956, 1045),
    ],
)
def test_median_interval_matches_the_tables_of_the_sign_test(count: int, low: int, high: int) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert median_interval(values) == ((count + 1) / 2, low, high)


def test_median_interval_holds_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    draws = generator.exponential(size=(2000, 15))
    hits = [low <= math.log(2.0) <= high for _, low, high in map(median_interval, draws)]
    # 96.5 % for 15 values; 2000 draws give it to within 1.2 % (3 standard errors).
    assert np.mean(hits) == pytest.approx(0.965, abs=0.012)


@pytest.mark.parametrize("spread", [0.005, 0.012, 0.02])
def test_interval_covers_though_rounds_end_once_it_is_narrow(spread: float) -> None:
    """With a check after every round, an interval that is taken when it happens to be narrow covered 92 %."""
    generator, hits, limit = np.random.default_rng(0), 0, 60
    draws = np.exp(spread * generator.standard_normal((2_000, limit)))
    for values in draws:
        count = timing.INTERVAL_ROUNDS
        while True:
            found = median_interval(values[:count])
            if count >= limit or found.high - found.low <= timing._NARROW_FRAC * found.median:
                break
            count = min(limit, look_after(count))
        hits += found.low <= 1.0 <= found.high
    assert 0.93 <= hits / len(draws) <= 0.975


def test_times_in_turn_finds_planted_ratios_under_drift() -> None:
    clock = [0.0]
    order: list[str] = []

    def contender(name: str, cost_s: float) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            # A machine that becomes slower all the time.
            clock[0] += cost_s * (1.0 + 0.05 * clock[0])

        return run

    with pytest.MonkeyPatch.context() as patched:
        _set_clocks(patched, clock)
        times_RC = timing.times_in_turn(
            [contender("reference", 0.1), contender("double", 0.2), contender("half", 0.05)],
            device=_CPU,
            limit_s=8.0,
            min_rounds=6,
        )
    ratios_RC = times_RC / times_RC[:, :1]
    assert len(times_RC) > 6
    assert np.median(ratios_RC, axis=0) == pytest.approx([1.0, 2.0, 0.5], rel=0.01)
    rounds = ["".join(name[0] for name in order[start : start + 3]) for start in range(4, len(order), 3)]
    assert rounds[:4] == ["rdh", "hdr", "rdh", "hdr"]


def test_times_in_turn_ends_by_narrow_intervals_or_time_or_not_before_the_fewest_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator, clock = np.random.default_rng(0), [0.0]

    def run() -> None:
        # Too little time for a narrow interval, and enough on a quiet machine.
        clock[0] += 0.006 * generator.uniform(1.0, 1.05)

    _set_clocks(monkeypatch, clock)

    def rounds(limit_s: float) -> int:
        return len(timing.times_in_turn([run, run], device=_CPU, limit_s=limit_s, min_rounds=6))

    assert rounds(0.0) == 6
    assert 12 <= rounds(0.2) <= 20


def test_times_in_turn_on_a_quiet_machine_ends_as_soon_as_intervals_are_narrow() -> None:
    clock = [0.0]

    def run() -> None:
        clock[0] += 0.01

    with pytest.MonkeyPatch.context() as patched:
        _set_clocks(patched, clock)
        times_RC = timing.times_in_turn([run, run], device=_CPU, limit_s=1000.0, min_rounds=3)
    assert times_RC.shape == (6, 2)
    assert times_RC == pytest.approx(0.01)


def test_noisy_machine_is_measured_longer_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(spread: float) -> int:
        generator = np.random.default_rng(0)
        clock = [0.0]

        def run() -> None:
            clock[0] += 0.1 * (1.0 + spread * generator.uniform())

        _set_clocks(monkeypatch, clock)
        return len(timing.times_in_turn([run, run], device=_CPU, limit_s=4.0, min_rounds=6))

    # The interquartile range is half the spread: 4 % is quiet and 20 % is not.
    assert 17 <= rounds(0.08) <= 19
    assert 30 <= rounds(0.4) <= 36


def test_run_on_one_thread_is_timed_by_the_processor_and_not_by_the_wall() -> None:
    def sleepy() -> None:
        time.sleep(0.02)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        asleep_s = timing._time_run(sleepy, repeats=3, device=_CPU)
        torch.set_num_threads(2)
        waited_s = timing._time_run(sleepy, repeats=3, device=_CPU)
    finally:
        torch.set_num_threads(threads)
    assert asleep_s < 0.01
    assert waited_s >= 0.02

"""Measurement: intervals equal those worked out by hand, known speeds are found, and the reference is exactly 1."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthweave.trainers import measure as measure_module
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.measure import look_after, measure, measure_in_turn, median_interval
from depthweave.trainers.memory import peak_memory
from depthweave.trainers.recipe import Recipe
from tests.trainers.conftest import small_architecture

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
        count = measure_module._INTERVAL_ROUNDS
        while True:
            found = median_interval(values[:count])
            if count >= limit or found.high - found.low <= measure_module._NARROW_FRAC * found.median:
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
        times_RC = measure_module.times_in_turn(
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
        return len(measure_module.times_in_turn([run, run], device=_CPU, limit_s=limit_s, min_rounds=6))

    assert rounds(0.0) == 6
    assert 12 <= rounds(0.2) <= 20


def test_measure_finds_a_deeper_model_slower(recipe: Recipe, tmp_path: Path) -> None:
    deep, plain = small_architecture("none", depth=12), small_architecture("none", depth=3)
    lock = DeviceLock(tmp_path, device=_CPU)
    found = measure(deep, reference=plain, recipe=recipe, device=_CPU, time_limit_s=0.5, lock=lock)
    # Four times the blocks; the bounds are wide because the machine may be busy.
    assert 1.5 < found.latency < 9.0
    assert found.latency_low <= found.latency <= found.latency_high
    assert found.step_latency is not None
    assert 1.5 < found.step_latency < 9.0
    assert found.step_latency_s is not None
    assert found.step_latency_s > found.latency_s
    memory = peak_memory(deep, recipe=recipe, device=_CPU)
    assert (found.memory_bytes, found.forward_memory_bytes) == memory
    assert found.rounds >= 6
    assert found.noise_frac >= 0.0
    assert found.decode_latency is None


def test_times_in_turn_on_a_quiet_machine_ends_as_soon_as_intervals_are_narrow() -> None:
    clock = [0.0]

    def run() -> None:
        clock[0] += 0.01

    with pytest.MonkeyPatch.context() as patched:
        _set_clocks(patched, clock)
        times_RC = measure_module.times_in_turn([run, run], device=_CPU, limit_s=1000.0, min_rounds=3)
    assert times_RC.shape == (6, 2)
    assert times_RC == pytest.approx(0.01)


def test_measure_of_the_reference_is_exactly_one(recipe: Recipe) -> None:
    plain = small_architecture("none")
    found = measure(plain, reference=plain, recipe=recipe, device=_CPU, time_limit_s=0.1)
    assert (found.latency, found.latency_low, found.latency_high) == (1.0, 1.0, 1.0)
    assert (found.step_latency, found.step_latency_low, found.step_latency_high) == (1.0, 1.0, 1.0)
    assert found.latency_s == found.reference_latency_s > 0.0


def test_measure_in_turn_answers_in_order_and_leaves_steps_out_on_request(recipe: Recipe) -> None:
    plain, deep = small_architecture("none"), small_architecture("none", depth=9)
    found = measure_in_turn(
        [deep, plain, deep], reference=plain, recipe=recipe, device=_CPU, time_limit_s=0.2, kinds=("forward",)
    )
    assert found[0] == found[2]
    assert found[1].latency == 1.0
    assert found[0].latency > 1.5
    assert found[0].step_latency is None
    assert found[0].decode_latency is None


def test_measure_times_a_token_from_a_full_cache_where_asked(recipe: Recipe) -> None:
    # The context is long enough for the arithmetic to count beside the calls.
    recipe = replace(recipe, context=128, batch=8)
    plain, deep = (replace(small_architecture("none", depth=depth), context=128) for depth in (3, 12))
    found = measure(deep, reference=plain, recipe=recipe, device=_CPU, time_limit_s=0.3, kinds=("forward", "decode"))
    assert found.step_latency is None
    assert found.decode_latency is not None
    assert found.decode_latency_s is not None
    assert found.decode_latency > 1.5
    assert found.decode_latency_s < found.latency_s, "one token of the context"


def test_noisy_machine_is_measured_longer_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(spread: float) -> int:
        generator = np.random.default_rng(0)
        clock = [0.0]

        def run() -> None:
            clock[0] += 0.1 * (1.0 + spread * generator.uniform())

        _set_clocks(monkeypatch, clock)
        return len(measure_module.times_in_turn([run, run], device=_CPU, limit_s=4.0, min_rounds=6))

    # The interquartile range is half the spread: 4 % is quiet and 20 % is not.
    assert 17 <= rounds(0.08) <= 19
    assert 30 <= rounds(0.4) <= 36


def test_run_on_one_thread_is_timed_by_the_processor_and_not_by_the_wall() -> None:
    def sleepy() -> None:
        time.sleep(0.02)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        asleep_s = measure_module._time_run(sleepy, repeats=3, device=_CPU)
        torch.set_num_threads(2)
        waited_s = measure_module._time_run(sleepy, repeats=3, device=_CPU)
    finally:
        torch.set_num_threads(threads)
    assert asleep_s < 0.01
    assert waited_s >= 0.02


def test_measure_waits_for_the_lock(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timing_began = threading.Event()
    times_in_turn = measure_module.times_in_turn

    def spy(*args: Any, **kwargs: Any) -> Any:
        timing_began.set()
        return times_in_turn(*args, **kwargs)

    monkeypatch.setattr(measure_module, "times_in_turn", spy)
    plain, lock = small_architecture("none"), DeviceLock(tmp_path, device=_CPU)
    with ThreadPoolExecutor(1) as pool:
        with DeviceLock(tmp_path, device=_CPU).exclusive():
            measuring = pool.submit(
                measure, plain, reference=plain, recipe=recipe, device=_CPU, time_limit_s=0.1, lock=lock
            )
            assert not timing_began.wait(1.5)
        found = measuring.result(60)
    assert timing_began.is_set()
    assert found.waited_s > 0.0

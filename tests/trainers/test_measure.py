"""Measurement: a deeper model is slower, and the reference is exactly 1."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from depthweave.trainers import measure as measure_module
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.measure import measure, measure_in_turn
from depthweave.trainers.memory import peak_memory
from depthweave.trainers.recipe import Recipe
from tests.trainers.conftest import small_architecture

_CPU = torch.device("cpu")


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

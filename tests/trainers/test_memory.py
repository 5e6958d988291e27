"""Peak memory: fake and real steps count alike, the profiler agrees, and small cases are known in closed form."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.trainers import memory
from depthweave.trainers.memory import TensorBytes, counted_peak, peak_memory
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.recipe import Recipe
from tests.trainers.conftest import small_architecture


@pytest.fixture(params=["none", "dwa", "dwatt", "concat"])
def each_architecture(request: pytest.FixtureRequest) -> Architecture:
    return small_architecture(request.param, depth=3, width=32)


def test_counted_peak_of_fake_and_real_steps_is_the_same(each_architecture: Architecture, recipe: Recipe) -> None:
    fake = counted_peak(each_architecture, recipe=recipe)
    assert counted_peak(each_architecture, recipe=recipe) == fake
    assert counted_peak(each_architecture, recipe=recipe, fake=False) == fake


def test_counted_peak_in_bfloat16_is_smaller_and_close_to_a_real_step(
    each_architecture: Architecture, recipe: Recipe
) -> None:
    half = dataclasses.replace(recipe, precision="bfloat16")
    fake = counted_peak(each_architecture, recipe=half)
    # Fake norms guess the type of their statistics, two numbers a token.
    assert counted_peak(each_architecture, recipe=half, fake=False) == pytest.approx(fake, rel=0.01)
    assert fake.training_step_bytes < counted_peak(each_architecture, recipe=recipe).training_step_bytes


def test_peak_memory_agrees_with_the_profiler(each_architecture: Architecture, recipe: Recipe) -> None:
    model = Decoder(each_architecture)
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
    tokens_BT = torch.zeros(recipe.batch, recipe.context, dtype=torch.int64)
    step(tokens_BT, tokens_BT, learning_rate=0.1)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step(tokens_BT, tokens_BT, learning_rate=0.1)
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive_bytes = most_bytes = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive_bytes += event.nbytes()
        most_bytes = max(most_bytes, alive_bytes)
    weights_bytes = sum(parameter.nbytes for parameter in model.parameters())
    buffers_bytes = sum(buffer.nbytes for buffer in model.buffers())
    expected = most_bytes + 3 * weights_bytes + buffers_bytes + 2 * tokens_BT.nbytes
    found = peak_memory(each_architecture, recipe=recipe, device=torch.device("cpu"))
    assert found.training_step_bytes == pytest.approx(expected, rel=0.01)


def test_small_model_is_counted_over_a_real_step_and_any_other_over_a_fake_one(
    each_architecture: Architecture, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, faked = torch.device("cpu"), []
    counted = memory.counted_peak

    def noting(architecture: Architecture, *, recipe: Recipe, fake: bool = True) -> memory.PeakMemory:
        faked.append(fake)
        return counted(architecture, recipe=recipe, fake=fake)

    monkeypatch.setattr(memory, "counted_peak", noting)
    small = peak_memory(each_architecture, recipe=recipe, device=device)
    monkeypatch.setattr(memory, "_REAL_FLOPS", 0.0)
    assert peak_memory(each_architecture, recipe=recipe, device=device) == small
    monkeypatch.undo()
    monkeypatch.setattr(memory, "counted_peak", noting)
    peak_memory(each_architecture, recipe=dataclasses.replace(recipe, precision="bfloat16"), device=device)
    assert faked == [False, True, True]


def test_peak_memory_grows_by_what_is_added(recipe: Recipe) -> None:
    device = torch.device("cpu")
    plain = peak_memory(small_architecture("none"), recipe=recipe, device=device)
    woven = peak_memory(small_architecture("dwa"), recipe=recipe, device=device)
    larger = peak_memory(
        small_architecture("none"), recipe=dataclasses.replace(recipe, batch=recipe.batch * 2), device=device
    )
    weights_bytes = sum(parameter.nbytes for parameter in Decoder(small_architecture("none")).parameters())
    assert woven.training_step_bytes > plain.training_step_bytes > 3 * weights_bytes
    assert woven.forward_bytes > plain.forward_bytes > weights_bytes
    assert plain.training_step_bytes > plain.forward_bytes
    # Everything except weights, gradients and moments grows with the batch.
    assert larger.forward_bytes - plain.forward_bytes <= plain.forward_bytes - weights_bytes


def test_tensor_bytes_counts_storages_once_and_forgets_the_dead() -> None:
    with TensorBytes() as alive:
        first = torch.zeros(10)
        view = first.view(2, 5)
        assert alive.alive_bytes == 40
        second = first + 1
        assert alive.alive_bytes == alive.peak_bytes == 80
        del first
        assert alive.alive_bytes == 80
        del view
        assert alive.alive_bytes == 40
        second.add_(1)
        assert (alive.alive_bytes, alive.peak_bytes) == (40, 80)
        alive.restart_peak()
        assert alive.peak_bytes == 40


def test_counted_peak_leaves_the_random_state_alone(recipe: Recipe) -> None:
    before = torch.get_rng_state()
    counted_peak(small_architecture("dwa"), recipe=recipe)
    assert torch.equal(torch.get_rng_state(), before)

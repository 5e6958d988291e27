"""Speed and memory of heads on their host."""

from __future__ import annotations

import pytest
import torch

from depthweave.spaces.hosted import HostedArchitecture, hosted
from depthweave.trainers.measure import measure_in_turn
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.few_shot_data import host_shape
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.tag_data import HostWeights
from depthweave.trainers.tagging.tagger_speed import TaggerKit, TaggerRuns
from tests.trainers.tagging.tiny_host import shape_of

CPU = torch.device("cpu")


def architecture_of(kind: str, host: Host, *, weights: HostWeights = "frozen") -> HostedArchitecture:
    return hosted(shape_of(kind, host), host=host_shape(host, weights=weights), context=32)


def test_reference_is_exactly_one_and_every_time_is_there(host: Host, tag_recipe: Recipe) -> None:
    last, dwatt = (architecture_of(kind, host) for kind in ("last", "dwatt"))
    found = measure_in_turn(
        [last, dwatt], reference=last, recipe=tag_recipe, device=CPU, time_limit_s=0.05, kit=TaggerKit(host)
    )
    assert (found[0].latency, found[0].step_latency) == (1.0, 1.0)
    assert found[1].step_latency is not None
    assert found[1].latency > 0


def test_memory_counts_the_host_in_a_pass_and_in_the_steps_that_train_it(host: Host, tag_recipe: Recipe) -> None:
    kit = TaggerKit(host)
    host_bytes = 4 * sum(parameter.numel() for parameter in host.model.parameters())
    frozen, full = (
        kit.memory(architecture_of("last", host, weights=weights), recipe=tag_recipe, device=CPU)
        for weights in ("frozen", "full")
    )
    assert frozen.forward_bytes > host_bytes
    assert frozen.training_step_bytes < host_bytes
    # Weights, gradients and two moments.
    assert full.training_step_bytes > 4 * host_bytes * 0.9
    dwatt = kit.memory(architecture_of("dwatt", host), recipe=tag_recipe, device=CPU)
    assert dwatt.training_step_bytes > frozen.training_step_bytes


def test_measuring_changes_no_weight(host: Host, tag_recipe: Recipe) -> None:
    before = {name: tensor.clone() for name, tensor in host.model.state_dict().items()}
    for weights in ("frozen", "full"):
        runs = TaggerRuns(architecture_of("mix", host, weights=weights), host=host, recipe=tag_recipe, device=CPU)
        runs.forward()
        runs.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in host.model.state_dict().items())


def test_decoding_has_no_meaning(host: Host, tag_recipe: Recipe) -> None:
    runs = TaggerRuns(architecture_of("last", host), host=host, recipe=tag_recipe, device=CPU)
    with pytest.raises(ValueError, match="decode_latency has no meaning for the task token_classification"):
        runs.decode()

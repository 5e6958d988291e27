"""A tagger from kept weights gives the tags of the trained one, for each way to train a host."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.kept_tagger import kept_tagger
from depthweave.trainers.tagging.tag_data import HostWeights, TagData
from depthweave.trainers.tagging.tag_evaluation import evaluate_tags
from depthweave.trainers.tagging.tagging_state import TaggingState
from tests.trainers.tagging.tiny_host import shape_of


def _trained(host: Host, recipe: Recipe, *, weights: HostWeights) -> TaggingState:
    """Returns a head, and what is trained of its host, away from its start."""
    state = TaggingState.start(
        shape_of("dwatt", host), recipe=recipe, host_sha256=host.sha256, host=host, weights=weights, device="cpu"
    )
    with torch.no_grad():
        for parameter in state.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    return state


def _kept(state: TaggingState) -> dict[str, Tensor]:
    tensors = {f"head.{name}": tensor for name, tensor in state.head.state_dict().items()}
    if state.host_model is not None:
        tensors |= {
            f"host.{name}": item.data for name, item in state.host_model.named_parameters() if item.requires_grad
        }
    return tensors


@pytest.mark.parametrize("weights", ["frozen", "full", "lora"])
def test_kept_weights_give_the_trained_tagger(
    weights: HostWeights, data: TagData, full_data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    trained = _trained(host, tag_recipe, weights=weights)
    again = kept_tagger(_kept(trained), shape=trained.shape, weights=weights, host=host)
    part = (data if weights == "frozen" else full_data).valid
    wanted, found = (evaluate_tags(state, part, classes=data.classes) for state in (trained, again))
    assert (found.loss, found.tags) == (wanted.loss, wanted.tags)


def test_weights_of_another_head_are_refused(host: Host, tag_recipe: Recipe) -> None:
    trained = _trained(host, tag_recipe, weights="frozen")
    tensors = _kept(trained)
    with pytest.raises(ValueError, match=r"^weights of the tagger do not fit its head or its host \([^\n]*\)$"):
        kept_tagger(tensors, shape=shape_of("mix", host), weights="frozen", host=host)
    with pytest.raises(
        ValueError, match=r"^weights of the tagger do not fit [^\n]*frozen and has no trained weights\)$"
    ):
        kept_tagger({**tensors, "host.x": torch.ones(1)}, shape=trained.shape, weights="frozen", host=host)
    with pytest.raises(
        ValueError, match=r"^weights of the tagger have 'x': it is neither of the head nor of the host$"
    ):
        kept_tagger({**tensors, "x": torch.ones(1)}, shape=trained.shape, weights="frozen", host=host)
    with pytest.raises(
        ValueError, match=r"^weights of the tagger do not fit [^\n]*trained weights of the host are others"
    ):
        kept_tagger(tensors, shape=trained.shape, weights="full", host=host)

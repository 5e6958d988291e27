"""The profile of a model's states equals one computed from the states."""

from __future__ import annotations

import json

import pytest
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.wiring import Wiring, strided_wiring
from depthweave.trainers.states import state_profile

SIZES = {"width": 16, "heads": 2, "feed_forward": 32, "vocabulary": 11, "context": 12}


@pytest.fixture
def tokens_BT() -> torch.Tensor:
    return torch.randint(0, 11, (3, 12), generator=torch.Generator().manual_seed(0))


def test_profile_of_a_plain_model_is_that_of_its_blocks(tokens_BT: torch.Tensor) -> None:
    model = Decoder(Architecture(fusion="none", wiring=Wiring(3), **SIZES))
    found = state_profile(model, tokens_BT)
    embedding_BTD = model.embedding(tokens_BT)
    assert found.norms[0] == pytest.approx(embedding_BTD.norm(dim=-1).mean().item(), rel=1e-5)
    assert len(found.norms) == 4
    assert len(found.cosines) == 3
    # The first block reads the embedding itself, and later blocks have added to it.
    assert found.cosines[0] == pytest.approx(1.0, abs=1e-5)
    assert all(-1 <= value < 0.9999 for value in found.cosines[1:])


def test_profile_shows_what_a_site_passes_on(tokens_BT: torch.Tensor) -> None:
    """Sites whose weights are all zero pass nothing of the embedding on."""
    model = Decoder(Architecture(fusion="dwa", wiring=strided_wiring(3, dilation=1, period=1), **SIZES))
    with torch.no_grad():
        for parameter in model.fusion.connection_parameters():
            parameter.zero_()
    for weights in model.connection_weights(tokens_BT):
        assert weights.value == 0
    zero = state_profile(model, tokens_BT)
    assert zero.cosines[1:] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_profile_leaves_the_model_as_it_was_and_is_json(tokens_BT: torch.Tensor) -> None:
    model = Decoder(Architecture(fusion="dwa", wiring=strided_wiring(4, dilation=2, period=1), **SIZES))
    before = model(tokens_BT)
    found = state_profile(model, tokens_BT)
    assert torch.equal(model(tokens_BT), before)
    assert all(not block._forward_hooks and not block._forward_pre_hooks for block in model.blocks)
    assert json.loads(json.dumps(found)) == [list(found.norms), list(found.cosines)]
    assert state_profile(model, tokens_BT) == found

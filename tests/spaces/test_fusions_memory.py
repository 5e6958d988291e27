"""Which states a pass holds: all that a later site reads, no other, and none after the pass."""

from __future__ import annotations

import random
import weakref

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.spaces.fusions import FUSIONS, Fusion, KeptStates
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from tests.spaces.driving import step
from tests.spaces.graph_markers import GraphMarkers


def _alive(references: dict[int, weakref.ref[Tensor]]) -> set[int]:
    return {number for number, reference in references.items() if reference() is not None}


def _state(output: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Returns the state of a block that may return its values beside."""
    return output if isinstance(output, Tensor) else output[0]


@torch.no_grad()
def test_reader_holds_only_states_that_a_later_site_reads(fusion: Fusion) -> None:
    if fusion.carries_residual:
        pytest.skip("holds streams or sums of what layers add, not states")
    wiring = fusion.wiring
    references: dict[int, weakref.ref[Tensor]] = {}

    def new_state(number: int) -> Tensor:
        state_BTD = torch.full((1, 2, fusion.width), float(number))
        references[number] = weakref.ref(state_BTD)
        return state_BTD

    reader = fusion.open()
    for block in range(wiring.depth + 1):
        state_BTD = new_state(block)
        assert len(_alive(references)) <= wiring.max_kept_states
        answers = step(fusion, reader, block, state_BTD)
        del state_BTD, answers
        wanted = {state for state in range(block + 1) if wiring.last_reads[state] > block}
        assert _alive(references) <= wanted, block
    assert _alive(references) == set()


def test_no_state_outlives_a_training_step(model: Decoder, tokens_BT: Tensor) -> None:
    references: dict[int, weakref.ref[Tensor]] = {}
    for number, block in enumerate(model.blocks, start=1):
        block.register_forward_hook(
            lambda _module, _inputs, output, number=number: references.update({number: weakref.ref(_state(output))})
        )
    model.loss(tokens_BT, tokens_BT).backward()
    assert set(references) == set(range(1, 7))
    assert _alive(references) == set()


@pytest.mark.parametrize("name", FUSIONS)
def test_graph_of_a_training_step_is_freed(name: str) -> None:
    # Deep enough for panels. A cycle through autograd is never freed: every step would leave its whole graph behind.
    wiring = FUSIONS[name].canonical_wiring(strided_wiring(12, dilation=1, period=1))
    sizes = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
    model = Decoder(Architecture(fusion=name, wiring=wiring, **sizes), seed=1)
    tokens_BT = torch.zeros(2, 4, dtype=torch.int64)
    markers = GraphMarkers()
    model.embedding.register_forward_hook(lambda _module, _inputs, output: markers.behind(output))
    loss = model.loss(tokens_BT, tokens_BT)
    assert markers.num_alive == len(markers) > 0
    loss.backward()
    del loss
    model.loss(tokens_BT, tokens_BT)  # a pass of which no backward pass follows
    assert markers.num_alive == 0


@torch.no_grad()
def test_whole_pass_without_gradients_never_holds_more_than_kept_and_current_states(
    model: Decoder, tokens_BT: Tensor
) -> None:
    references: dict[int, weakref.ref[Tensor]] = {}
    most = 0

    def watch(number: int, output: Tensor) -> None:
        nonlocal most
        references[number] = weakref.ref(output)
        most = max(most, len(_alive(references)))

    model.embedding.register_forward_hook(lambda _module, _inputs, output: watch(0, output))
    for number, block in enumerate(model.blocks, start=1):
        block.register_forward_hook(lambda _module, _inputs, output, number=number: watch(number, _state(output)))
    model(tokens_BT)
    # Beside the kept ones there is the block's own input, which may be a state.
    assert most <= model.fusion.kept_states(model.architecture.wiring) + 1
    assert _alive(references) == set()


@torch.no_grad()
def test_decoding_cache_holds_keys_and_values_and_no_states(model: Decoder, tokens_BT: Tensor) -> None:
    references: dict[int, weakref.ref[Tensor]] = {}
    for number, block in enumerate(model.blocks, start=1):
        block.register_forward_hook(
            lambda _module, _inputs, output, number=number: references.update({number: weakref.ref(_state(output))})
        )
    cache = DecodingCache()
    model(tokens_BT[:, :4], cache=cache)
    assert cache.num_tokens == 4
    assert _alive(references) == set()


def _random_wiring(rng: random.Random) -> Wiring:
    depth = rng.randint(1, 10)
    blocks = sorted(rng.sample(range(1, depth + 1), rng.randint(0, depth)))
    return Wiring(
        depth, tuple(Site(block, (*sorted(rng.sample(range(block), rng.randint(0, block))), block)) for block in blocks)
    )


def test_kept_states_answer_the_sources_and_keep_exactly_what_is_still_read() -> None:
    rng = random.Random(3)
    strided = [strided_wiring(12, dilation=k, period=p) for k in (1, 2, 4) for p in (1, 4, 5)]
    for wiring in (*strided, *(_random_wiring(rng) for _ in range(100))):
        states = [torch.full((1,), float(number)) for number in range(wiring.depth + 1)]
        kept = KeptStates(wiring)
        for block in range(wiring.depth + 1):
            answer = kept.take(block, states[block])
            assert [round(state.item()) for state in answer] == list(kept.sources_of(block))
            still = [state for state in range(block + 1) if any(b > block and state in s for b, s in wiring)]
            assert len(kept) == len(still) <= wiring.max_kept_states
        assert len(kept) == 0

"""Text from a model: cached greedy tokens are the likeliest ones, sampled ones repeat with their generator.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.generation import generate, stream


@torch.no_grad()
def _greedy_by_full_forwards(model: Decoder, prompt_BT: Tensor, num_tokens: int) -> Tensor:
    """Every token from a forward pass of its own, over the window that `generate` documents."""
    context = model.architecture.context
    tokens_BT = prompt_BT
    start = max(0, prompt_BT.shape[1] - context)
    for _ in range(num_tokens):
        if tokens_BT.shape[1] - start > context:
            start = tokens_BT.shape[1] - max(1, context // 2)
        next_B = model(tokens_BT[:, start:])[:, -1].argmax(dim=-1)
        tokens_BT = torch.cat((tokens_BT, next_B[:, None]), dim=1)
    return tokens_BT


def test_greedy_equals_full_forwards_within_the_context(model: Decoder, tokens_BT: Tensor) -> None:
    found_BT = generate(model, tokens_BT[:, :3], num_tokens=9)
    assert found_BT.shape == (2, 12)
    assert torch.equal(found_BT[:, :3], tokens_BT[:, :3])
    assert torch.equal(found_BT, _greedy_by_full_forwards(model, tokens_BT[:, :3], 9))


@pytest.mark.parametrize("prompt_tokens", [1, 5, 12, 20])
def test_generation_goes_on_past_the_context(dwa: Decoder, prompt_tokens: int) -> None:
    prompt_BT = (torch.arange(prompt_tokens) * 5 % 13)[None]
    found_BT = generate(dwa, prompt_BT, num_tokens=40)
    assert found_BT.shape == (1, prompt_tokens + 40)
    assert found_BT.dtype == torch.int64
    assert torch.equal(found_BT, _greedy_by_full_forwards(dwa, prompt_BT, 40))


def test_generation_with_a_context_of_one_token() -> None:
    model = _model(context=1)
    prompt_BT = torch.tensor([[4]])
    assert torch.equal(generate(model, prompt_BT, num_tokens=6), _greedy_by_full_forwards(model, prompt_BT, 6))


def test_sampled_tokens_repeat_with_the_generator_and_leave_the_global_one(dwa: Decoder) -> None:
    prompt_BT = torch.tensor([[1, 2], [3, 4]])
    before = torch.get_rng_state()

    def sampled(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return generate(dwa, prompt_BT, num_tokens=30, temperature=1.0, generator=generator)

    assert torch.equal(sampled(0), sampled(0))
    assert not torch.equal(sampled(0), sampled(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_temperature_sharpens_and_flattens_the_shares_it_samples_from(dwa: Decoder) -> None:
    prompt_BT = torch.tensor([[1, 2, 3]]).expand(4000, 3)
    with torch.no_grad():
        logits_V = dwa(prompt_BT[:1])[0, -1]
    for temperature in (0.5, 1.0, 3.0):
        generator = torch.Generator().manual_seed(0)
        drawn_BT = generate(dwa, prompt_BT, num_tokens=1, temperature=temperature, generator=generator)
        counts = Counter(drawn_BT[:, -1].tolist())
        shares = torch.tensor([counts[token] / 4000 for token in range(13)])
        # Four standard errors of a share of one half from 4000 draws.
        assert float((shares - torch.softmax(logits_V / temperature, dim=-1)).abs().max()) < 0.032


def test_no_tokens_asked_for_is_the_prompt(dwa: Decoder) -> None:
    assert generate(dwa, torch.tensor([[1, 2]]), num_tokens=0).tolist() == [[1, 2]]


def test_empty_prompt_is_refused(dwa: Decoder) -> None:
    with pytest.raises(ValueError, match=r"^the prompt is empty: give at least one token$"):
        generate(dwa, torch.zeros(1, 0, dtype=torch.int64), num_tokens=3)


@pytest.mark.parametrize("temperature", [-0.1, float("nan")])
def test_temperature_below_0_is_refused(dwa: Decoder, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"^temperature is .*: it must be 0 \(the likeliest token\) or more$"):
        generate(dwa, torch.tensor([[1]]), num_tokens=3, temperature=temperature)


def test_drawing_from_the_likeliest_few_never_leaves_them(dwa: Decoder) -> None:
    prompt_BT = torch.tensor([[1, 2, 3]]).expand(500, 3)
    with torch.no_grad():
        likeliest = dwa(prompt_BT[:1])[0, -1].topk(3).indices.tolist()
    generator = torch.Generator().manual_seed(0)
    drawn_BT = generate(dwa, prompt_BT, num_tokens=1, temperature=5.0, top_k=3, generator=generator)
    assert set(drawn_BT[:, -1].tolist()) == set(likeliest)
    # More than there are is all of them.
    whole = [torch.Generator().manual_seed(0) for _ in range(2)]
    found = [
        generate(dwa, prompt_BT, num_tokens=2, temperature=1.0, top_k=top_k, generator=generator)
        for top_k, generator in zip((None, 99), whole, strict=True)
    ]
    assert torch.equal(*found)


def test_stream_gives_each_token_as_soon_as_it_is_known_and_leaves_gradients_on(dwa: Decoder) -> None:
    prompt_BT = torch.tensor([[1, 2, 3]])
    drawn = stream(dwa, prompt_BT, num_tokens=10**9)
    first = [int(next(drawn)) for _ in range(20)]
    assert first == generate(dwa, prompt_BT, num_tokens=20)[0, 3:].tolist()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("prompt", "top_k", "message"),
    [([1], 0, "^top_k is 0: it must be at least 1$"), ([1, 13], None, "^the prompt has tokens from 1 to 13")],
)
def test_fault_is_raised_before_the_first_token(
    dwa: Decoder, prompt: list[int], top_k: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stream(dwa, torch.tensor([prompt]), num_tokens=3, top_k=top_k)


def _model(*, context: int) -> Decoder:
    architecture = Architecture.from_dict(
        {
            "fusion": "dwa",
            "depth": 3,
            "sites": [[2, [0, 2]], [3, [1, 3]]],
            "width": 16,
            "heads": 2,
            "feed_forward": 24,
            "vocabulary": 13,
            "context": context,
        }
    )
    model = Decoder(architecture, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # Far from the start, where a tied head would say each token again.
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)
    return model


@pytest.fixture
def dwa() -> Decoder:
    return _model(context=12)

"""Text from a model: greedy or sampled tokens, with a cache.

Axes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache


def generate(
    model: Decoder,
    prompt_BT: Tensor,
    *,
    num_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Returns the prompt and `num_tokens` tokens after it [B, T + num_tokens], int64; see `stream`."""
    drawn = stream(model, prompt_BT, num_tokens=num_tokens, temperature=temperature, top_k=top_k, generator=generator)
    return torch.cat((prompt_BT, *(next_B[:, None] for next_B in drawn)), dim=1)


def stream(
    model: Decoder,
    prompt_BT: Tensor,
    *,
    num_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yields the `num_tokens` tokens after the prompt, each [B] as soon as it is known, int64.

    A temperature of 0 takes the likeliest token; above 0 tokens are drawn with `generator`, from the `top_k` likeliest
    if that is given. When the context is full, generation continues from its newer half. Raises `ValueError`, before
    the first token, for an empty prompt, a token that the model lacks, a temperature below 0 or a `top_k` below 1.
    """
    if prompt_BT.shape[1] < 1:
        raise ValueError("the prompt is empty: give at least one token")
    vocabulary = model.architecture.vocabulary
    if not 0 <= int(prompt_BT.min()) <= int(prompt_BT.max()) < vocabulary:
        raise ValueError(
            f"the prompt has tokens from {int(prompt_BT.min())} to {int(prompt_BT.max())}: the model's are 0 to "
            f"{vocabulary - 1}"
        )
    if not temperature >= 0:
        raise ValueError(f"temperature is {temperature}: it must be 0 (the likeliest token) or more")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}: it must be at least 1")
    return _stream(model, prompt_BT, num_tokens, temperature, top_k, generator)


def _stream(
    model: Decoder,
    prompt_BT: Tensor,
    num_tokens: int,
    temperature: float,
    top_k: int | None,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    context = model.architecture.context
    # Earlier tokens are never read again.
    kept_BT = prompt_BT[:, -context:]
    cache, fresh_BT = DecodingCache(), kept_BT
    for _ in range(num_tokens):
        if cache.num_tokens + fresh_BT.shape[1] > context:
            cache, fresh_BT = DecodingCache(), kept_BT[:, -max(1, context // 2) :]
        # Only around the pass: a mode that spans a yield would also apply in the caller.
        with torch.no_grad():
            logits_BV = model(fresh_BT, cache=cache)[:, -1].float()
        fresh_BT = _drawn(logits_BV, temperature=temperature, top_k=top_k, generator=generator)
        kept_BT = torch.cat((kept_BT, fresh_BT), dim=1)[:, -context:]
        yield fresh_BT[:, 0]


def _drawn(logits_BV: Tensor, *, temperature: float, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    """Returns one token a sequence, [B, 1]."""
    if temperature == 0:
        return logits_BV.argmax(dim=-1, keepdim=True)
    if top_k is not None and top_k < logits_BV.shape[-1]:
        least_B1 = logits_BV.topk(top_k, dim=-1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least_B1, -torch.inf)
    return torch.multinomial(torch.softmax(logits_BV / temperature, dim=-1), 1, generator=generator)

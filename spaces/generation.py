"""Text from a model: greedy or sampled tokens, with a cache.

Axes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthweave.spaces.decoder import Decoder, DecodingCache


@torch.no_grad()
def generate(
    model: Decoder,
    prompt_BT: Tensor,
    *,
    num_tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The prompt and `num_tokens` tokens after it [B, T + num_tokens], int64.

    A temperature of 0 takes the likeliest token; above 0 tokens are drawn with `generator`. Where the context is full
    it starts anew from its newer half. Raises `ValueError` for an empty prompt or a temperature below 0.
    """
    if prompt_BT.shape[1] < 1:
        raise ValueError("the prompt is empty: give at least one token")
    if not temperature >= 0:
        raise ValueError(f"temperature is {temperature}: it must be 0 (the likeliest token) or more")
    context = model.architecture.context
    tokens_BT = prompt_BT
    cache, fresh_BT = DecodingCache(), prompt_BT[:, -context:]
    for _ in range(num_tokens):
        if cache.num_tokens + fresh_BT.shape[1] > context:
            cache, fresh_BT = DecodingCache(), tokens_BT[:, -max(1, context // 2) :]
        logits_BV = model(fresh_BT, cache=cache)[:, -1].float()
        if temperature > 0:
            shares_BV = torch.softmax(logits_BV / temperature, dim=-1)
            fresh_BT = torch.multinomial(shares_BV, 1, generator=generator)
        else:
            fresh_BT = logits_BV.argmax(dim=-1, keepdim=True)
        tokens_BT = torch.cat((tokens_BT, fresh_BT), dim=1)
    return tokens_BT

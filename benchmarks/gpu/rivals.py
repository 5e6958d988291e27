"""Other people's plain transformers of the same size, trained as they come: nanoGPT's model and transformers' GPT-2.

Both have learned positions where ours are rotary; their head is tied to the embedding, like ours. All are compiled, run
in bfloat16 autocast and take steps of fused AdamW with clipped gradients, so that the models are the only difference.
nanoGPT's `model.py` must be importable under that name.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from benchmarks.gpu.sizes import Shape

Take = Callable[[Tensor, Tensor], None]
"""One training step on tokens and targets [B, T]."""
_MODULES = {"nanoGPT": "model", "GPT-2": "transformers"}


def is_there(name: str) -> bool:
    """Whether the rival can be imported."""
    return find_spec(_MODULES[name]) is not None


def make(name: str, shape: Shape, *, device: torch.device) -> Take:
    """A rival, compiled, with its optimiser."""
    model = {"nanoGPT": _nanogpt, "GPT-2": _gpt2}[name](shape).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    # With the loss, which the others' models compute themselves.
    compiled = torch.compile(partial(_loss, model)) if name == "GPT-2" else torch.compile(model)
    bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()

    def take(tokens_BT: Tensor, targets_BT: Tensor) -> None:
        # nanoGPT looks at them as one row.
        targets_BT = targets_BT.contiguous()
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = compiled(tokens_BT, targets_BT)[1] if name == "nanoGPT" else compiled(tokens_BT, targets_BT)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return take


def _loss(model: Callable[..., object], tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
    logits_BTV: Tensor = model(tokens_BT).logits  # type: ignore[attr-defined]
    return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def _nanogpt(shape: Shape) -> nn.Module:
    from model import GPT, GPTConfig

    sizes = {"n_layer": shape.depth, "n_head": shape.heads, "n_embd": shape.width}
    made: nn.Module = GPT(GPTConfig(block_size=shape.context, vocab_size=shape.vocabulary, bias=False, **sizes))
    return made


def _gpt2(shape: Shape) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": shape.depth, "n_head": shape.heads, "n_embd": shape.width}
    off = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "use_cache": False}
    made: nn.Module = GPT2LMHeadModel(
        GPT2Config(vocab_size=shape.vocabulary, n_positions=shape.context, attn_implementation="sdpa", **sizes, **off)
    )
    return made

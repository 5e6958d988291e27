"""Small hosts with random weights: models of transformers and of plain torch.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import Fusion

WIDTH, DEPTH, VOCABULARY = 16, 4, 31
FAMILIES = ("gpt2", "llama", "qwen2", "qwen3", "bert", "modernbert")
DECODERS = ("gpt2", "llama", "qwen2", "qwen3")
FUSION_NAMES = ("dwa", "concat", "dwatt", "mudd")
LAYER_PATHS = {
    "gpt2": "transformer.h",
    "llama": "model.layers",
    "qwen2": "model.layers",
    "qwen3": "model.layers",
    "bert": "bert.encoder.layer",
    "modernbert": "model.layers",
}

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
}
_SPECIAL = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
_GROUPED = {"num_key_value_heads": 1, "head_dim": 8}
_ENDS = {"sep_token_id": 2, "cls_token_id": 1}
_CLASSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "n_inner": 24, **_SPECIAL},
    ),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {**_GROUPED, **_SPECIAL}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {"num_key_value_heads": 1, **_SPECIAL}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {**_GROUPED, **_SPECIAL}),
    "bert": (
        "BertConfig",
        "BertForMaskedLM",
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 0},
    ),
    "modernbert": (
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        {"global_attn_every_n_layers": 2, "local_attention": 8, **_SPECIAL, **_ENDS},
    ),
}


def tiny_host(family: str, *, seed: int = 0, **changes: Any) -> Any:
    """Returns a random model of a family, in evaluation mode; skips the test without transformers."""
    transformers = pytest.importorskip("transformers")
    config_class, model_class, sizes = _CLASSES[family]
    config = getattr(transformers, config_class)(**{**_SIZES, **sizes, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, model_class)(config).eval()


def tokens(num_sequences: int = 2, num_tokens: int = 7) -> Tensor:
    """Returns tokens [B, T] without the special ones."""
    return (torch.arange(num_sequences * num_tokens) * 7 % (VOCABULARY - 4) + 3).view(num_sequences, num_tokens)


@torch.no_grad()
def draw(fusion: Fusion, *, seed: int = 1, std: float = 0.3) -> None:
    """Moves a fusion's parameters away from their start."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in fusion.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.add_(drawn.to(parameter), alpha=std)


class PlainBlock(nn.Module):
    """A pre-norm feed-forward block of plain torch."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        added_BTD: Tensor = self.feed_forward(self.norm(x_BTD))
        return x_BTD + added_BTD


class PlainModel(nn.Module):
    """A model that knows nothing of transformers."""

    def __init__(self, depth: int = DEPTH, width: int = WIDTH, *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCABULARY, width)
            self.blocks = nn.ModuleList(PlainBlock(width) for _ in range(depth))
            self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits: Tensor = self.head(x_BTD)
        return logits

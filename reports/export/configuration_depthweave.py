"""An architecture as a Hugging Face configuration. Exports include this file; it needs only transformers."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class DepthweaveConfig(PretrainedConfig):
    """Has sizes under the names of transformers, and `fusion`, `sites` and `block` as in `architecture.yaml`."""

    model_type = "depthweave"

    def __init__(
        self,
        *,
        fusion: str = "none",
        sites: list[list[Any]] | None = None,
        vocab_size: int = 256,
        hidden_size: int = 64,
        intermediate_size: int = 256,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 2,
        max_position_embeddings: int = 128,
        block: str | dict[str, Any] = "gpt",
        **others: Any,
    ) -> None:
        self.fusion = fusion
        self.sites = [] if sites is None else sites
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.block = block
        # Follows from the block; caches and serving read it.
        shared = 1 if isinstance(block, str) else block.get("heads_per_kv", 1)
        others["num_key_value_heads"] = num_attention_heads // shared
        self.use_cache = others.pop("use_cache", True)
        # The head uses the embedding's own tensor, so there is no second tensor to tie to it.
        super().__init__(**{**others, "tie_word_embeddings": False})

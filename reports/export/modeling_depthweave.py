"""A decoder as a Hugging Face model, for `AutoModelForCausalLM` and `generate`.

An export carries this file with every part of Depthweave that it imports written out in it: it needs torch and
transformers alone.

Axes: B batch, T tokens, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from depthweave.reports.export.configuration_depthweave import DepthweaveConfig
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.rotary import rotary_table


class DepthweaveForCausalLM(PreTrainedModel, GenerationMixin):
    """The decoder behind the interface of transformers."""

    config_class = DepthweaveConfig
    # Weights are kept under the decoder's own names; this prefix is put before them on loading.
    base_model_prefix = "decoder"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["_Block"]  # noqa: RUF012  # as transformers declares it

    def __init__(self, config: DepthweaveConfig) -> None:
        super().__init__(config)
        architecture = Architecture.from_dict(
            {
                "fusion": config.fusion,
                "depth": config.num_hidden_layers,
                "sites": config.sites,
                "width": config.hidden_size,
                "heads": config.num_attention_heads,
                "feed_forward": config.intermediate_size,
                "vocabulary": config.vocab_size,
                "context": config.max_position_embeddings,
            }
        )
        # Loading makes models without storage, which the decoder fills itself.
        with torch.device("cpu"):
            self.decoder = Decoder(architecture)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fill what a file of weights does not hold: the decoder drew its weights when it was made."""
        if isinstance(module, Decoder):
            a = module.architecture
            for name, table_TK in zip(("_cos_TK", "_sin_TK"), rotary_table(a.context, a.width // a.heads), strict=True):
                module.get_buffer(name).copy_(table_TK)

    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.decoder.embedding = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits [B, T, V], or those of the last `logits_to_keep` tokens; with `labels` [B, T] the loss too.

        Prompts of a batch must be of one length, or filled up on the right: `ValueError` for filling on the left.
        """
        _check_mask(attention_mask)
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        cache = None if past_key_values is None else _Past(past_key_values)
        hidden_BTD = self.decoder.hidden(input_ids, cache=cache)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits_BTV = F.linear(hidden_BTD[:, kept], self.decoder.embedding.weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits_BTV[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())
        answer = CausalLMOutputWithPast(loss=loss, logits=logits_BTV, past_key_values=past_key_values)
        return answer.to_tuple() if return_dict is False else answer


class _Past:
    """The cache of transformers, as the decoder uses one."""

    def __init__(self, past: Cache) -> None:
        self._past = past
        self.num_tokens: int = past.get_seq_length()

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a block, the new ones appended."""
        keys_BHTK, values_BHTK = self._past.update(key_BHTK, value_BHTK, block - 1)
        return keys_BHTK, values_BHTK


def _check_mask(mask_BT: Tensor | None) -> None:
    if mask_BT is None or mask_BT.ndim != 2 or torch.compiler.is_compiling():
        return
    if bool((mask_BT[:, 1:] > mask_BT[:, :-1]).any()):
        raise ValueError(
            "attention_mask hides tokens before others: give prompts of one length, or one at a time; for scores of "
            'texts set tokenizer.padding_side = "right"'
        )

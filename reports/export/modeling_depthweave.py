"""A decoder as a Hugging Face model, for `AutoModelForCausalLM`, `generate`, `Trainer` and `pipeline`.

An export carries this file with every part of Depthweave that it imports written out in it: it needs torch and
transformers alone. What a caller passes and the decoder cannot do is refused, never left unheeded.

Axes: B batch, T tokens, H heads, K head width, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from depthweave.reports.export.configuration_depthweave import DepthweaveConfig
from depthweave.reports.export.token_layout import TokenLayout
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder, TokenEmbedding
from depthweave.spaces.rotary import RotaryTable, rotary_table

_OLDEST = (4, 57)
"""Version of transformers."""
_AS_POSITIONS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
"""Arguments that say of packed documents what `position_ids` say too."""

if tuple(int(item) for item in transformers.__version__.split(".")[:2]) < _OLDEST:
    raise ImportError(f"transformers {transformers.__version__}: this model needs 4.57 or later")
# Trainer asks this table whether labels are to be moved by one token, for label smoothing.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.setdefault("depthweave", "DepthweaveForCausalLM")


class DepthweaveForCausalLM(PreTrainedModel, GenerationMixin):
    """The decoder behind the interface of transformers."""

    config_class = DepthweaveConfig
    # Weights are kept under the decoder's own names; this prefix is put before them on loading.
    base_model_prefix = "decoder"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # `num_items_in_batch`: the loss of accumulated batches is that of one.
    accepts_loss_kwargs = True
    _supports_sdpa = True
    _no_split_modules = ["_Block", "_AttentionSite", "SiteWeights", "SiteMaps"]  # noqa: RUF012  # as transformers does
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012

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
        self.gradient_checkpointing = False
        # Loading makes models without storage, which the decoder fills itself.
        with torch.device("cpu"):
            self.decoder = Decoder(architecture)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fill what a file of weights does not hold: the decoder drew its weights when it was made."""
        if isinstance(module, RotaryTable):
            a = self.decoder.architecture
            tables = rotary_table(a.context, a.width // a.heads)
            for buffer_TK, table_TK in zip((module.cos_TK, module.sin_TK), tables, strict=True):
                buffer_TK.copy_(table_TK)

    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        if isinstance(value, nn.Embedding) and not isinstance(value, TokenEmbedding):
            value = TokenEmbedding(value.num_embeddings, value.embedding_dim, _weight=value.weight)
        self.decoder.embedding = value  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        token_type_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits [B, T, V], or those of the last `logits_to_keep` tokens; with `labels` [B, T] the loss too.

        The loss is the mean over the labels that are not -100, or their sum over `num_items_in_batch` where that is
        given. `position_ids` that begin again within a sequence are those of packed documents: none sees another.
        `attention_mask` may hide tokens on either side. Raises `ValueError` for what is not done.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        _check_one_kind(token_type_ids)
        keeps_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
        if labels is not None and not keeps_all:
            raise ValueError("labels need the logits of all tokens: leave out logits_to_keep")
        given = inputs_embeds if input_ids is None else input_ids
        assert given is not None
        cache = self._open_past(past_key_values, use_cache)
        seen = 0 if cache is None else cache.num_tokens
        # Not named above: later versions warn of a model that names it.
        _check_follows(others.pop("cache_position", None), start=seen, num_tokens=given.shape[1])
        self._refuse(others, output_attentions=output_attentions, positions=position_ids is not None)
        tokens = TokenLayout(
            shape=(given.shape[0], given.shape[1]),
            seen=seen,
            context=self.config.max_position_embeddings,
            attention_mask=attention_mask,
            position_ids=position_ids,
        )
        if tokens.packed and cache is not None:
            if use_cache or past_key_values is not None:
                raise ValueError(
                    "position_ids are of packed documents, which no cache goes on from: leave use_cache out"
                )
            cache = None
        states: list[Tensor] | None = [] if _asked(output_hidden_states, self.config.output_hidden_states) else None
        hidden_BTD = self.decoder.hidden_of(
            self.decoder.embedding(input_ids) if inputs_embeds is None else inputs_embeds,
            cache=cache,
            layout=tokens.layout,
            # Copied: the decoder may go on writing where a state is.
            watch=None if states is None else lambda state_BTD: states.append(state_BTD.clone()),
            **self._block_call(cache),
        )
        if states is not None:
            states.append(hidden_BTD)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits_BTV = self._head(hidden_BTD[:, kept])
        answer = CausalLMOutputWithPast(
            loss=None if labels is None else _loss(logits_BTV, labels, num_items=num_items_in_batch),
            logits=logits_BTV,
            past_key_values=None if cache is None else cache.past,
            hidden_states=None if states is None else tuple(states),
        )
        return answer if _asked(return_dict, getattr(self.config, "return_dict", True)) else answer.to_tuple()

    def _refuse(self, others: dict[str, Any], *, output_attentions: bool | None, positions: bool) -> None:
        """`ValueError` for what would be left unheeded."""
        if _asked(output_attentions, self.config.output_attentions):
            raise ValueError("output_attentions: the decoder's attention makes no weights to give: leave it out")
        unheeded = [
            name for name, value in others.items() if value is not None and not (positions and name in _AS_POSITIONS)
        ]
        if unheeded:
            hint = ": say documents by position_ids" if unheeded[0] in _AS_POSITIONS else ""
            raise ValueError(f"this model does not heed {', '.join(unheeded)}{hint or ': leave it out'}")

    def _open_past(self, past: Cache | None, use_cache: bool | None) -> _Past | None:
        """What the pass reads and extends."""
        recomputes = self.gradient_checkpointing and self.training
        if recomputes and (past is not None or use_cache):
            raise ValueError("gradient checkpointing has no cache: leave out past_key_values and use_cache")
        if past is not None and not isinstance(past, Cache):
            raise ValueError(f"past_key_values is a {type(past).__name__}: give a Cache, such as DynamicCache()")
        if past is None and _asked(use_cache, self.config.use_cache and not self.training):
            past = DynamicCache()
        return None if past is None else _Past(past)

    def _block_call(self, cache: _Past | None) -> dict[str, Any]:
        if not (self.gradient_checkpointing and self.training):
            return {}
        return {"call": lambda block, *given: self._gradient_checkpointing_func(block.__call__, *given)}

    def _head(self, hidden_BTD: Tensor) -> Tensor:
        embedding: Any = self.decoder.embedding
        if not hasattr(embedding, "head"):
            raise ValueError(
                f"a {type(embedding).__name__} is in the place of the embedding, which is the head too: adapt other "
                'modules; modules_to_save=["embedding"] trains it'
            )
        logits_BTV: Tensor = embedding.head(hidden_BTD)
        return logits_BTV

    @staticmethod
    def create_masks_for_generate(*, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
        """The mask as it is: transformers would make one of four dimensions for a cache of fixed size."""
        return attention_mask

    def _prepare_generated_length(
        self,
        generation_config: Any,
        has_default_max_length: bool,
        has_default_min_length: bool,
        model_input_name: str,
        input_ids_length: int,
        inputs_tensor: Tensor,
    ) -> Any:
        """As transformers has it, but no further than the context: there a text ends with what was written."""
        context = self.config.max_position_embeddings
        embedded = model_input_name == "inputs_embeds" and input_ids_length != inputs_tensor.shape[1]
        prompt = inputs_tensor.shape[1] if embedded else input_ids_length
        if prompt > context:
            raise ValueError(f"the prompt has {prompt} tokens, the context of this model {context}: shorten it")
        found = super()._prepare_generated_length(
            generation_config=generation_config,
            has_default_max_length=has_default_max_length,
            has_default_min_length=has_default_min_length,
            model_input_name=model_input_name,
            input_ids_length=input_ids_length,
            inputs_tensor=inputs_tensor,
        )
        # The last token is written and not read, but where tokens are looked up in the prompt.
        longest = context + (found.prompt_lookup_num_tokens is None) - (inputs_tensor.shape[1] if embedded else 0)
        if found.max_length > longest:
            logging.get_logger(__name__).warning_once(
                f"the context of {context} tokens ends before {found.max_length}: a text stops there"
            )
            found.max_length = longest
        return found


class _Past:
    """The cache of transformers, as the decoder uses one."""

    def __init__(self, past: Cache) -> None:
        self.past = past
        self.num_tokens = int(past.get_seq_length())

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a block, the new ones appended; without the empty places of a cache of fixed size."""
        end = self.num_tokens + key_BHTK.shape[2]
        # transformers 4 puts new tokens there in a cache of fixed size; later ones count them.
        places = {"cache_position": torch.arange(self.num_tokens, end, device=key_BHTK.device)}
        keys_BHTK, values_BHTK = self.past.update(key_BHTK, value_BHTK, block - 1, places)
        return keys_BHTK[:, :, :end], values_BHTK[:, :, :end]


def _asked(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def _check_one_kind(token_type_ids: Tensor | None) -> None:
    if token_type_ids is not None and not torch.compiler.is_compiling() and bool((token_type_ids != 0).any()):
        raise ValueError("token_type_ids names several kinds of tokens: this model has one, leave it out")


def _check_follows(cache_position: Tensor | None, *, start: int, num_tokens: int) -> None:
    if cache_position is None or torch.compiler.is_compiling():
        return
    expected_T = torch.arange(start, start + num_tokens, device=cache_position.device)
    if not torch.equal(cache_position.flatten().long(), expected_T):
        raise ValueError(f"cache_position must be {start} to {start + num_tokens - 1}: new tokens follow the cache")


def _loss(logits_BTV: Tensor, labels_BT: Tensor, *, num_items: Tensor | int | None) -> Tensor:
    """Cross-entropy of the next tokens, nats: the mean, or the sum over `num_items`."""
    logits = logits_BTV[:, :-1].float().flatten(0, 1)
    labels = labels_BT[:, 1:].flatten().to(logits.device)
    if num_items is None:
        return F.cross_entropy(logits, labels)
    count = num_items.to(logits.device) if isinstance(num_items, Tensor) else num_items
    return F.cross_entropy(logits, labels, reduction="sum") / count

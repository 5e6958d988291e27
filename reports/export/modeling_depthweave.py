"""A decoder as a Hugging Face model, for `AutoModelForCausalLM`, `generate`, `Trainer` and `pipeline`.

An export includes this file with the source of every Depthweave module that it imports, so it needs only torch and
transformers. Arguments that the decoder cannot use raise an error; none is silently ignored.

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

_MIN_TRANSFORMERS = (4, 57)
_AS_POSITIONS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
"""Arguments about packed documents that repeat what `position_ids` say."""

if tuple(int(item) for item in transformers.__version__.split(".")[:2]) < _MIN_TRANSFORMERS:
    raise ImportError(f"transformers {transformers.__version__}: this model needs 4.57 or later")
# Trainer looks here whether label smoothing must shift the labels by one token.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.setdefault("depthweave", "DepthweaveForCausalLM")


class DepthweaveForCausalLM(PreTrainedModel, GenerationMixin):
    """The decoder behind the interface of transformers."""

    config_class = DepthweaveConfig
    # Weight files have the decoder's own names; loading adds this prefix.
    base_model_prefix = "decoder"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # With `num_items_in_batch` the loss of accumulated batches equals that of one large batch.
    accepts_loss_kwargs = True
    _supports_sdpa = True
    _no_split_modules = ["Block", "AttentionSite", "SiteWeights", "SiteMaps", "_DynamicSite"]  # noqa: RUF012  # as transformers does
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
                # Configurations of earlier versions have none.
                "block": getattr(config, "block", "gpt"),
            }
        )
        self.gradient_checkpointing = False
        # Loading constructs models on the meta device, but the decoder must fill its own tensors.
        with torch.device("cpu"):
            self.decoder = Decoder(architecture)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fills the buffers that a weight file does not have. The decoder initialised its weights itself."""
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
        """Returns logits [B, T, V], or those of the last `logits_to_keep` tokens, and with `labels` [B, T] the loss.

        The loss is the mean over the labels that are not -100, or their sum over `num_items_in_batch`. `position_ids`
        that start again within a sequence mark packed documents, which do not attend to each other. `attention_mask`
        may hide tokens on either side. Raises `ValueError` for arguments that the decoder cannot use.
        """
        given = _check_inputs(input_ids, inputs_embeds)
        _check_one_token_type(token_type_ids)
        if labels is not None and not (isinstance(logits_to_keep, int) and logits_to_keep == 0):
            raise ValueError("labels need the logits of all tokens: leave out logits_to_keep")
        cache = self._open_cache(past_key_values, use_cache)
        seen = 0 if cache is None else cache.num_tokens
        # Not a named argument, because later versions warn of a model that has it.
        _check_follows(others.pop("cache_position", None), start=seen, num_tokens=given.shape[1])
        self._check_unused(others, output_attentions=output_attentions, positions=position_ids is not None)
        tokens = self._layout_of(given, seen=seen, attention_mask=attention_mask, position_ids=position_ids)
        if tokens.packed:
            _check_no_cache(use_cache, past_key_values)
            cache = None
        states: list[Tensor] | None = (
            [] if _or_default(output_hidden_states, self.config.output_hidden_states) else None
        )
        hidden_BTD = self.decoder.hidden_of(
            self.decoder.embedding(input_ids) if inputs_embeds is None else inputs_embeds,
            cache=cache,
            layout=tokens.layout,
            # A copy, because the decoder may overwrite a state.
            watch=None if states is None else lambda state_BTD: states.append(state_BTD.clone()),
            **self._block_call(cache),
        )
        if states is not None:
            states.append(hidden_BTD)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits_BTV = self._head(hidden_BTD[:, kept])
        output = CausalLMOutputWithPast(
            loss=None if labels is None else _loss(logits_BTV, labels, num_items=num_items_in_batch),
            logits=logits_BTV,
            past_key_values=None if cache is None else cache.past,
            hidden_states=None if states is None else tuple(states),
        )
        return output if _or_default(return_dict, getattr(self.config, "return_dict", True)) else output.to_tuple()

    def _layout_of(
        self, given: Tensor, *, seen: int, attention_mask: Tensor | None, position_ids: Tensor | None
    ) -> TokenLayout:
        return TokenLayout(
            shape=(given.shape[0], given.shape[1]),
            seen=seen,
            context=self.config.max_position_embeddings,
            attention_mask=attention_mask,
            position_ids=position_ids,
        )

    def _check_unused(self, others: dict[str, Any], *, output_attentions: bool | None, positions: bool) -> None:
        """Raises `ValueError` for arguments that would be ignored."""
        if _or_default(output_attentions, self.config.output_attentions):
            raise ValueError("output_attentions: the decoder's attention has no weights to return: leave it out")
        unused = [
            name for name, value in others.items() if value is not None and not (positions and name in _AS_POSITIONS)
        ]
        if unused:
            hint = ": give documents by position_ids" if unused[0] in _AS_POSITIONS else ""
            raise ValueError(f"this model does not support {', '.join(unused)}{hint or ': leave it out'}")

    def _open_cache(self, past: Cache | None, use_cache: bool | None) -> _DecoderCache | None:
        """Returns the cache that the pass reads and extends; `None` without one."""
        recomputes = self.gradient_checkpointing and self.training
        if recomputes and (past is not None or use_cache):
            raise ValueError("gradient checkpointing cannot use a cache: leave out past_key_values and use_cache")
        if past is not None and not isinstance(past, Cache):
            raise ValueError(f"past_key_values is a {type(past).__name__}: give a Cache, such as DynamicCache()")
        if past is None and _or_default(use_cache, self.config.use_cache and not self.training):
            past = DynamicCache()
        return None if past is None else _DecoderCache(past)

    def _block_call(self, cache: _DecoderCache | None) -> dict[str, Any]:
        if not (self.gradient_checkpointing and self.training):
            return {}
        return {"call": lambda block, *given: self._gradient_checkpointing_func(block.__call__, *given)}

    def _head(self, hidden_BTD: Tensor) -> Tensor:
        embedding: Any = self.decoder.embedding
        if not hasattr(embedding, "head"):
            raise ValueError(
                f"a {type(embedding).__name__} replaces the embedding, which is also the head: adapt other modules, or "
                'train it with modules_to_save=["embedding"]'
            )
        logits_BTV: Tensor = embedding.head(hidden_BTD)
        return logits_BTV

    @staticmethod
    def create_masks_for_generate(*, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
        """Returns the mask unchanged: transformers would make a mask of four dimensions for a cache of fixed size."""
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
        """Calls the method of transformers and limits the length to the context."""
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
        # The last generated token is not read, so it may exceed the context, except with prompt lookup.
        longest = context + (found.prompt_lookup_num_tokens is None) - (inputs_tensor.shape[1] if embedded else 0)
        if found.max_length > longest:
            logging.get_logger(__name__).warning_once(
                f"the context of {context} tokens is shorter than {found.max_length}: the text stops there"
            )
            found.max_length = longest
        return found


class _DecoderCache:
    """The cache of transformers with the interface of the decoder's cache."""

    def __init__(self, past: Cache) -> None:
        self.past = past
        self.num_tokens = int(past.get_seq_length())

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a block's keys and values with the new ones, without unused positions of a fixed-size cache."""
        end = self.num_tokens + key_BHTK.shape[2]
        # In a cache of fixed size transformers 4 writes new tokens at these positions; later versions count them.
        places = {"cache_position": torch.arange(self.num_tokens, end, device=key_BHTK.device)}
        keys_BHTK, values_BHTK = self.past.update(key_BHTK, value_BHTK, block - 1, places)
        return keys_BHTK[:, :, :end], values_BHTK[:, :, :end]


def _or_default(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def _check_inputs(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
    """Returns the one that is given."""
    if input_ids is not None and inputs_embeds is None:
        return input_ids
    if input_ids is None and inputs_embeds is not None:
        return inputs_embeds
    raise ValueError("give either input_ids or inputs_embeds")


def _check_no_cache(use_cache: bool | None, past_key_values: Cache | None) -> None:
    if use_cache or past_key_values is not None:
        raise ValueError("position_ids are of packed documents, which a cache cannot continue: leave use_cache out")


def _check_one_token_type(token_type_ids: Tensor | None) -> None:
    if token_type_ids is not None and not torch.compiler.is_compiling() and bool((token_type_ids != 0).any()):
        raise ValueError("token_type_ids has several token types, this model has one: leave it out")


def _check_follows(cache_position: Tensor | None, *, start: int, num_tokens: int) -> None:
    if cache_position is None or torch.compiler.is_compiling():
        return
    expected_T = torch.arange(start, start + num_tokens, device=cache_position.device)
    if not torch.equal(cache_position.flatten().long(), expected_T):
        raise ValueError(f"cache_position must be {start} to {start + num_tokens - 1}: new tokens follow the cache")


def _loss(logits_BTV: Tensor, labels_BT: Tensor, *, num_items: Tensor | int | None) -> Tensor:
    """Returns the cross-entropy of the next tokens in nats: the mean, or the sum divided by `num_items`."""
    logits = logits_BTV[:, :-1].float().flatten(0, 1)
    labels = labels_BT[:, 1:].flatten().to(logits.device)
    if num_items is None:
        return F.cross_entropy(logits, labels)
    count = num_items.to(logits.device) if isinstance(num_items, Tensor) else num_items
    return F.cross_entropy(logits, labels, reduction="sum") / count

"""A pretrained host with a head on the states of its layers, for `AutoModelForTokenClassification` and `pipeline`.

An export includes this file with the source of every Depthweave module that it imports. The host is a model of
transformers itself. Arguments that the host cannot use raise an error; none is silently ignored.

Axes: B batch, T tokens, D width, C classes.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES, MODEL_MAPPING

from depthweave.reports.export.configuration_depthweave_tagger import DepthweaveTaggerConfig
from depthweave.spaces.heads.head import HeadShape
from depthweave.spaces.heads.registry import make_head

_MIN_TRANSFORMERS = 5
_NO_LABEL = -100

if int(transformers.__version__.split(".")[0]) < _MIN_TRANSFORMERS:
    raise ImportError(f"transformers {transformers.__version__}: this model needs 5.0 or later")
# The pipeline looks here whether it knows the model.
MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES.setdefault("depthweave_tagger", "DepthweaveForTokenClassification")


class DepthweaveForTokenClassification(PreTrainedModel):
    """The host (`host`) and the head (`head`)."""

    config_class = DepthweaveTaggerConfig
    base_model_prefix = "host"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # With `num_items_in_batch` the loss of accumulated batches equals that of one large batch.
    accepts_loss_kwargs = True
    # Whether the host can is checked when the host is made.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: DepthweaveTaggerConfig) -> None:
        super().__init__(config)
        self.host = AutoModel.from_config(config.host, **_without_pooler(config.host))
        shape = HeadShape.from_dict(config.head)
        if shape.classes != config.num_labels:
            raise ValueError(
                f"id2label has {config.num_labels} labels, the head {shape.classes} classes: change head.classes too, "
                "and load with ignore_mismatched_sizes=True"
            )
        self._host_arguments = frozenset(inspect.signature(self.host.forward).parameters)
        self._no_split_modules = [*(self.host._no_split_modules or ()), "FurtherBlock", "AttentionSite"]
        # Loading makes models on the meta device, but the head fills its own tensors.
        with torch.device("cpu"):
            self.head = make_head(shape, seed=0)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """Leaves the head's weights as the head drew them. The host has a method of its own."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **others: Any,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """Returns logits [B, T, C], and with `labels` [B, T] the loss: the first piece of a word has its label, others
        -100. The loss is the mean over the labels that are not -100, or their sum over `num_items_in_batch`.

        `attention_mask` [B, T] hides padding. Token types may be given and are all 0. Other arguments go to the host.
        Raises `ValueError` for arguments that it does not have.
        """
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("give either input_ids or inputs_embeds")
        if attention_mask is None:
            attention_mask = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        if attention_mask.ndim != 2:
            raise ValueError(f"attention_mask has {attention_mask.ndim} dimensions: give one value a token")
        _check_one_token_type(token_type_ids)
        named = {"input_ids": input_ids, "inputs_embeds": inputs_embeds, **others}
        arguments = {name: value for name, value in named.items() if value is not None}
        self._check_known(arguments)
        output = self.host(attention_mask=attention_mask, output_hidden_states=True, **arguments)
        states = [output.hidden_states[source] for source in self.head.shape.sources]
        logits_BTC = self.head([state_BTD.to(self.head_device) for state_BTD in states], self._mask(attention_mask))
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        found = TokenClassifierOutput(
            loss=None if labels is None else _loss(logits_BTC, labels, num_items=num_items_in_batch),
            logits=logits_BTC,
            hidden_states=output.hidden_states if wants_states else None,
            attentions=getattr(output, "attentions", None),
        )
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return found if as_dict else found.to_tuple()

    @property
    def head_device(self) -> torch.device:
        """Where the head is; a large host may be on other devices."""
        device: torch.device = self.head.classifier.weight.device
        return device

    def _mask(self, attention_mask: Tensor) -> Tensor:
        return attention_mask.to(self.head_device) > 0

    def _check_known(self, arguments: dict[str, Any]) -> None:
        unknown = sorted({*arguments} - {*self._host_arguments, "output_attentions"})
        if unknown:
            raise ValueError(f"this model does not support {', '.join(unknown)}: leave it out")


def _check_one_token_type(token_type_ids: Tensor | None) -> None:
    """Raises `ValueError` for several types: the head was trained without, and hosts read even one type differently."""
    if token_type_ids is not None and not torch.compiler.is_compiling() and bool((token_type_ids != 0).any()):
        raise ValueError("token_type_ids has several token types, this model has one: leave it out")


def _without_pooler(config: Any) -> dict[str, Any]:
    """Returns the argument that leaves out a pooler, for hosts that know it: no state of a token depends on it."""
    known = inspect.signature(MODEL_MAPPING[type(config)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in known else {}


def _loss(logits_BTC: Tensor, labels_BT: Tensor, *, num_items: Tensor | int | None) -> Tensor:
    """Returns the cross-entropy in nats: the mean over labelled tokens, or the sum divided by `num_items`."""
    logits, labels = logits_BTC.float().flatten(0, 1), labels_BT.flatten().to(logits_BTC.device)
    if num_items is None:
        return F.cross_entropy(logits, labels, ignore_index=_NO_LABEL)
    count = num_items.to(logits.device) if isinstance(num_items, Tensor) else num_items
    return F.cross_entropy(logits, labels, ignore_index=_NO_LABEL, reduction="sum") / count

"""A tagger as a Hugging Face configuration: that of its host, and the shape of its head.

Exports include this file; it needs only transformers.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig


class DepthweaveTaggerConfig(PretrainedConfig):
    """Has `host`, the configuration of the pretrained model, and `head`, the fields of `HeadShape`."""

    model_type = "depthweave_tagger"
    # So that choices such as the attention's implementation reach the host.
    sub_configs = {"host": AutoConfig}  # noqa: RUF012  # as transformers does

    def __init__(
        self,
        *,
        host: dict[str, Any] | PretrainedConfig | None = None,
        head: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        # transformers makes a configuration without arguments to compare others with it.
        host = {"model_type": "bert"} if host is None else host
        self.host = AutoConfig.for_model(**host) if isinstance(host, dict) else host
        self.head = {} if head is None else head
        super().__init__(**others)

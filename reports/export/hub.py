"""Files for Hugging Face's transformers: configuration, tokenizer and code, beside the weights."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from depthweave.reports.export.bundle import bundle
from depthweave.reports.export.byte_tokenizer import END_OF_DOCUMENT, byte_tokenizer_json
from depthweave.reports.export.padding import PADDING, with_padding
from depthweave.reports.store.run_store import TOKENIZER_FILE
from depthweave.spaces.block_style import GPT

if TYPE_CHECKING:
    from depthweave.spaces import Architecture

_PACKAGE = "depthweave.reports.export"
_CONFIGURATION = "configuration_depthweave"
_MODELING = "modeling_depthweave"


def write_hub_files(folder: Path, *, architecture: Architecture, tokenizer_json: str | None) -> None:
    """Makes the folder a model for `AutoModelForCausalLM` and a tokenizer for `AutoTokenizer`, except for the weights.

    Without a `tokenizer_json` a token is a byte, and the byte tokenizer is written.
    """
    tokenizer_json = byte_tokenizer_json() if tokenizer_json is None else tokenizer_json
    end = _token(tokenizer_json, END_OF_DOCUMENT)
    tokenizer_json = with_padding(tokenizer_json)
    padding = _token(tokenizer_json, PADDING)
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    ends = {"eos_token_id": end, "pad_token_id": end if padding is None else padding}
    ends = {name: value for name, value in ends.items() if value is not None}
    a = architecture
    values = {
        "architectures": ["DepthweaveForCausalLM"],
        "auto_map": {
            "AutoConfig": f"{_CONFIGURATION}.DepthweaveConfig",
            "AutoModelForCausalLM": f"{_MODELING}.DepthweaveForCausalLM",
        },
        "model_type": "depthweave",
        "dtype": "float32",
        "fusion": a.fusion,
        "sites": a.to_dict()["sites"],
        "vocab_size": a.vocabulary,
        "hidden_size": a.width,
        "intermediate_size": a.feed_forward,
        "num_hidden_layers": a.depth,
        "num_attention_heads": a.heads,
        "max_position_embeddings": a.context,
        **({} if a.block == GPT else {"block": a.to_dict()["block"], "num_key_value_heads": a.kv_heads}),
        "tie_word_embeddings": False,
        **ends,
    }
    _write_json(folder / "config.json", values)
    if ends:
        _write_json(folder / "generation_config.json", ends)
    special = {} if end is None else {"eos_token": END_OF_DOCUMENT, "pad_token": END_OF_DOCUMENT}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": a.context,
        "clean_up_tokenization_spaces": False,
        # Without this, transformers 4 also passes token types, which the model does not have.
        "model_input_names": ["input_ids", "attention_mask"],
        **special,
        **({} if padding is None else {"pad_token": PADDING}),
    }
    _write_json(folder / "tokenizer_config.json", tokenizer_config)
    configuration = files(_PACKAGE) / f"{_CONFIGURATION}.py"
    (folder / f"{_CONFIGURATION}.py").write_text(configuration.read_text(encoding="utf-8"), encoding="utf-8")
    modeling = bundle(f"{_PACKAGE}.{_MODELING}", beside=frozenset({f"{_PACKAGE}.{_CONFIGURATION}"}))
    (folder / f"{_MODELING}.py").write_text(modeling, encoding="utf-8")


def _token(tokenizer_json: str, content: str) -> int | None:
    """Returns the number of a special token; `None` if the tokenizer does not have it."""
    try:
        added = json.loads(tokenizer_json)["added_tokens"]
        return next((int(item["id"]) for item in added if item["content"] == content), None)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{TOKENIZER_FILE} of the run cannot be read: restore it") from None


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

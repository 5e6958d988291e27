"""What Hugging Face's transformers reads: configuration, tokenizer and the code itself, beside the same weights."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from depthweave.reports.export.bundle import bundle
from depthweave.reports.export.byte_tokenizer import END_OF_DOCUMENT, byte_tokenizer_json
from depthweave.reports.store import TOKENIZER_FILE

if TYPE_CHECKING:
    from depthweave.spaces import Architecture

_HERE = "depthweave.reports.export"
_CONFIGURATION = "configuration_depthweave"
_MODELING = "modeling_depthweave"


def write_hub_files(folder: Path, *, architecture: Architecture, tokenizer_json: str | None) -> None:
    """The folder is a model for `AutoModelForCausalLM` and a tokenizer for `AutoTokenizer`, once it holds the weights.

    `tokenizer_json` is absent where a token is a byte: then that is written as a `tokenizer.json` too.
    """
    tokenizer_json = byte_tokenizer_json() if tokenizer_json is None else tokenizer_json
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    end = _end_of_document(tokenizer_json)
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
        "tie_word_embeddings": False,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    _write_json(folder / "config.json", {name: value for name, value in values.items() if value is not None})
    if end is not None:
        _write_json(folder / "generation_config.json", {"eos_token_id": end, "pad_token_id": end})
    ends = {} if end is None else {"eos_token": END_OF_DOCUMENT, "pad_token": END_OF_DOCUMENT}
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": a.context,
        "clean_up_tokenization_spaces": False,
        # A text that writes the end of a document out gets its characters, as in training.
        "split_special_tokens": True,
        **ends,
    }
    _write_json(folder / "tokenizer_config.json", told)
    configuration = files(_HERE) / f"{_CONFIGURATION}.py"
    (folder / f"{_CONFIGURATION}.py").write_text(configuration.read_text(encoding="utf-8"), encoding="utf-8")
    modeling = bundle(f"{_HERE}.{_MODELING}", beside=frozenset({f"{_HERE}.{_CONFIGURATION}"}))
    (folder / f"{_MODELING}.py").write_text(modeling, encoding="utf-8")


def _end_of_document(tokenizer_json: str) -> int | None:
    """The token that ends a document; `None` in a tokenizer that has none."""
    try:
        added = json.loads(tokenizer_json)["added_tokens"]
        return next((int(item["id"]) for item in added if item["content"] == END_OF_DOCUMENT), None)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{TOKENIZER_FILE} of the run cannot be read: restore it") from None


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

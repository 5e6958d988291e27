"""The tokenizer of an exported tagger: the host's own, so that words become the tokens that the head was trained on.

Training gives a word with a space before it to tokenizers that read a space as part of the word after it (GPT-2,
RoBERTa, Llama 3, Qwen). The exported tokenizer adds that space by a normaliser, which works for words and for texts.
`add_prefix_space` of transformers would not: it does nothing where the text is divided before the bytes are read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depthweave.reports.store.run_store import TOKENIZER_FILE
from depthweave.spaces.regular import read_regular_text

_SETTINGS_FILE = "tokenizer_config.json"
_SPECIAL_MAP_FILE = "special_tokens_map.json"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_USUAL_PADDING = ("[PAD]", "<pad>", "<|endoftext|>", "</s>", "<unk>")
"""For folders without settings."""
_PROBE = ("a", "of", "the", "one")


def write_tagger_tokenizer(folder: Path, *, host_folder: Path, max_tokens: int) -> None:
    """Writes `tokenizer.json` and its settings, for `AutoTokenizer` of any version.

    `max_tokens` is the longest sentence with its special tokens. Raises a one-line `ValueError` where the host's
    tokenizer cannot be read.
    """
    path = host_folder / TOKENIZER_FILE
    try:
        values = json.loads(read_regular_text(path))
        added = {str(item["content"]) for item in values["added_tokens"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: is no tokenizer that can be read ({str(error)[:80]}): restore the host") from None
    # transformers saves its last truncation and padding with the tokenizer.
    values |= {"truncation": None, "padding": None}
    tokenizer = _opened(values, path=path)
    if _spaces_lead(tokenizer):
        values["normalizer"] = _after_a_space(values.get("normalizer"))
    (folder / TOKENIZER_FILE).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    special = _special_tokens(host_folder, known=added)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": False,
        # Hosts that have token types take those of a single text by themselves.
        "model_input_names": ["input_ids", "attention_mask"],
        **special,
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / _SETTINGS_FILE).write_text(text, encoding="utf-8")


def _opened(values: dict[str, Any], *, path: Path) -> Any:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(json.dumps(values))
    except Exception as error:  # The library raises bare Exception.
        reason = " ".join(str(error).split())[:80]
        raise ValueError(f"{path}: is no tokenizer that can be read ({reason}): restore the host") from None


def _spaces_lead(tokenizer: Any) -> bool:
    """Whether words with a space before them give the tokens of a text, and words alone do not, as in training."""

    def pieces(words: str | list[str]) -> list[int]:
        found: list[int] = tokenizer.encode(
            words, is_pretokenized=isinstance(words, list), add_special_tokens=False
        ).ids
        return found

    text = " ".join(_PROBE)
    if pieces(list(_PROBE)) == pieces(text):
        return False
    return pieces([f" {word}" for word in _PROBE]) == pieces(f" {text}")


def _after_a_space(normalizer: dict[str, Any] | None) -> dict[str, Any]:
    """Returns a normaliser that adds a space before each word or text, then does what it did."""
    space = {"type": "Prepend", "prepend": " "}
    return space if normalizer is None else {"type": "Sequence", "normalizers": [space, normalizer]}


def _special_tokens(host_folder: Path, *, known: set[str]) -> dict[str, str]:
    """Returns the special tokens that the host's settings name and its tokenizer has, and one that fills sentences.

    The mask hides that token, so a host without one fills with the end of a text. A token of words would not do: the
    library would no longer read it as part of a text.
    """
    named: dict[str, Any] = {}
    for name in (_SPECIAL_MAP_FILE, _SETTINGS_FILE):
        if (host_folder / name).is_file():
            try:
                named |= json.loads(read_regular_text(host_folder / name))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{host_folder / name}: is no JSON ({str(error)[:60]}): restore the host") from None
    items = {name: named.get(name) for name in _SPECIAL_TOKENS}
    contents = {name: item.get("content") if isinstance(item, dict) else item for name, item in items.items()}
    special = {name: str(content) for name, content in contents.items() if content in known}
    usual = [special.get("eos_token"), special.get("unk_token"), *(item for item in _USUAL_PADDING if item in known)]
    padding = special.get("pad_token") or next((item for item in usual if item is not None), None)
    return special if padding is None else {**special, "pad_token": padding}

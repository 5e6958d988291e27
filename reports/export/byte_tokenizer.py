"""The byte tokenizer as a `tokenizer.json`, for libraries that read a tokenizer only from that file.

A token is a byte of UTF-8. Byte 255, which never occurs in UTF-8, ends a document. The file describes a byte-pair
encoding without merges. The byte-level alphabet (Radford et al., GPT-2, 2019) writes a visible
byte as the character with its number, and the other 68 bytes as the characters from 256 on, in order.
"""

from __future__ import annotations

import json

END_OF_DOCUMENT = "<|endofdocument|>"
"""The same as in trained tokenizers."""

_END = 255


def byte_tokenizer_json() -> str:
    """Returns the content of the file."""
    vocabulary = {character: number for number, character in enumerate(_alphabet()) if number != _END}
    vocabulary[END_OF_DOCUMENT] = _END
    end = {"id": _END, "content": END_OF_DOCUMENT, "special": True, "normalized": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model: dict[str, object] = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": [],
    }
    values = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**end, **flags}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _alphabet() -> list[str]:
    """Returns the character of each byte."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(number if number in visible else next(others)) for number in range(256)]

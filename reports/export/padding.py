"""A separate padding token, for libraries that leave padding out of the loss.

With the end of a document as padding, a collator would also leave out every document's end. The vocabulary cannot grow,
because the model has a row for each token. The padding token therefore replaces byte 254, which never occurs in UTF-8.
"""

from __future__ import annotations

import json
from typing import Any

PADDING = "<|padding|>"

_BYTE = "þ"
"""Byte 254 in the byte-level alphabet."""


def with_padding(tokenizer_json: str) -> str:
    """Returns a `tokenizer.json` with the padding token; unchanged if it has it already or has no free byte 254."""
    values: dict[str, Any] = json.loads(tokenizer_json)
    vocabulary, merges = values["model"]["vocab"], values["model"].get("merges") or []
    used = any(_BYTE in (pair if isinstance(pair, str) else "".join(pair)) for pair in merges)
    if PADDING in vocabulary or _BYTE not in vocabulary or used:
        return tokenizer_json
    number = vocabulary[_BYTE]
    values["model"]["vocab"] = {PADDING if token == _BYTE else token: place for token, place in vocabulary.items()}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [*values["added_tokens"], {"id": number, "content": PADDING, **flags}]
    values["added_tokens"] = sorted(added, key=lambda item: int(item["id"]))
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

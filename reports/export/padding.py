"""A token of its own that fills up the sequences of a batch, for libraries that take no loss of it.

Were it the end of a document, as before, a collator would leave out every end too. The vocabulary cannot grow, for the
model has a row a token: so it takes the place of the byte 254, which never occurs in UTF-8 and so in no text.
"""

from __future__ import annotations

import json
from typing import Any

PADDING = "<|padding|>"

_BYTE = "þ"
"""How the byte-level alphabet writes the byte 254."""


def with_padding(tokenizer_json: str) -> str:
    """The content of a `tokenizer.json` with the token; as it was where the tokenizer has no such byte, or has it."""
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

"""The names of what others are compared with: no fusion in a decoder, the classifier alone on a host."""

from __future__ import annotations

PLAIN_FUSION = "none"
"""A decoder without fusion."""
PLAIN_HEAD = "last"
"""The head that every token classifier of transformers has."""


def is_plain_name(fusion: str) -> bool:
    """Returns whether a fusion or head is one of them."""
    return fusion in (PLAIN_FUSION, PLAIN_HEAD)

"""The names of what others are compared with: no fusion in a decoder, the classifier alone on a host."""

from __future__ import annotations

PLAIN_FUSION = "none"
"""A decoder without fusion."""
PLAIN_HEAD = "last"
"""The head that every token classifier of transformers has."""
DEEPER_HEAD = "deeper"
"""The last layer alone too, with the same number of added parameters as the heads that read several layers."""
BASELINES = (PLAIN_FUSION, PLAIN_HEAD, DEEPER_HEAD)
"""What a confirmation trains beside each member of a front."""


def is_plain_name(fusion: str) -> bool:
    """Returns whether a fusion or head is one of them."""
    return fusion in (PLAIN_FUSION, PLAIN_HEAD)


def plain_first(fusion: str) -> tuple[bool, str]:
    """Returns a sort key: the plain one, then the others by name."""
    return not is_plain_name(fusion), fusion

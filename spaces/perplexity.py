"""Perplexity, from a loss in nats a token."""

from __future__ import annotations

import math


def perplexity_of(loss: float) -> float:
    """Returns exp of a loss in nats; infinite where that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf

"""Fusions and heads of which every wiring of a depth gives the same graph: names and tables leave their wiring out.

A list and no class variable, because tables of records load no torch. The contract tests compare it with the fusions.
"""

from __future__ import annotations

_WITH_ONE_WIRING = frozenset(
    ("none", "attnres_full", "hc2", "hc4", "dhc2", "dhc4", "mhc2", "mhc4", "gated2", "gated4", "last", "deeper"),
)


def has_one_wiring(fusion: str) -> bool:
    """Returns whether every wiring of a depth gives the same graph."""
    return fusion in _WITH_ONE_WIRING

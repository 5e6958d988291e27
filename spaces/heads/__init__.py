"""Heads of a token classifier: what gives the logits of each token from the states of a host's layers, one file each.

The contract tests check every head in `HEADS`. Names are imported at their first use: costs import the heads,
budgets import costs, and one of these modules imports budgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthweave.spaces.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from depthweave.spaces.heads.head import Head, HeadShape
    from depthweave.spaces.heads.head_budget import resolve_head
    from depthweave.spaces.heads.registry import HEADS, head_class, make_head

_HOMES = {
    "head": ("Head", "HeadShape"),
    "head_budget": ("resolve_head",),
    "registry": ("HEADS", "head_class", "make_head"),
}

__all__ = ["HEADS", "Head", "HeadShape", "head_class", "make_head", "resolve_head"]

__getattr__ = lazy_exports(__name__, _HOMES)

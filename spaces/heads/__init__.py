"""Heads of a token classifier: what gives the logits of each token from the states of a host's layers, one file each.

The contract tests check every head in `HEADS`.
"""

from __future__ import annotations

from depthweave.spaces.heads.head import Head, HeadShape
from depthweave.spaces.heads.head_budget import resolve_head
from depthweave.spaces.heads.registry import HEADS, head_class, make_head

__all__ = ["HEADS", "Head", "HeadShape", "head_class", "make_head", "resolve_head"]

"""The small heads that every contract test of heads runs over: at least one of each row of `HEADS`.

Axes: B batch, T tokens, D width, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from depthweave.spaces.heads import HEADS, Head, HeadShape, make_head

DEPTH, WIDTH, CLASSES = 6, 16, 5
ALL, SOME, FEW = tuple(range(7)), (0, 2, 4, 6), (1, 6)


def _shape(kind: str, sources: tuple[int, ...], **sizes: Any) -> HeadShape:
    plain = HeadShape(kind=kind, depth=DEPTH, sources=sources, width=WIDTH, classes=CLASSES)
    return replace(plain, **sizes)


SHAPES = {
    "last": _shape("last", (6,)),
    "deeper encoder": _shape("deeper", (6,), inner=24, blocks=2, heads=4),
    "deeper causal": _shape("deeper", (6,), inner=20, blocks=2, heads=2, causal=True),
    "mix all": _shape("mix", ALL),
    "mix causal": _shape("mix", SOME, causal=True),
    "concat all": _shape("concat", ALL, inner=9),
    "concat few": _shape("concat", FEW, inner=20),
    "dwatt all": _shape("dwatt", ALL, inner=7),
    "dwatt some": _shape("dwatt", SOME, inner=8),
    "dwatt unscaled": _shape("dwatt", FEW, inner=20, scaled=False),
    "dwa all": _shape("dwa", ALL),
    "dwa some": _shape("dwa", SOME),
}
"""All seven sources of `dwa` are a family, whose sum is computed in another way than that of few sources."""

assert {shape.kind for shape in SHAPES.values()} == set(HEADS)


def random_states(shape: HeadShape, *, tokens: int = 6, seed: int = 2) -> list[Tensor]:
    """Returns states [3, T, D] of the shape's sources, independent of each other."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, tokens, shape.width, generator=generator) for _ in shape.sources]


def padding_mask(*, tokens: int = 6) -> Tensor:
    """Returns a mask [3, T] of sentences of different lengths, one of them of full length, one padded on the left."""
    mask_BT = torch.ones(3, tokens, dtype=torch.bool)
    mask_BT[1, 4:] = False
    mask_BT[2, :2] = False
    return mask_BT


def random_targets(shape: HeadShape, mask_BT: Tensor) -> Tensor:
    """Returns classes [B, T], -100 at padding."""
    targets_BT = torch.randint(shape.classes, mask_BT.shape, generator=torch.Generator().manual_seed(4))
    return targets_BT.masked_fill(~mask_BT, -100)


@torch.no_grad()
def random_head(shape: HeadShape) -> Head:
    """Returns a head whose parameters are far from their start."""
    head = make_head(shape, seed=1)
    generator = torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.normal_(std=0.4, generator=generator)
    return head

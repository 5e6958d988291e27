"""The heads by name, one row each, and a head of a shape with weights of a seed."""

from __future__ import annotations

import torch

from depthweave.spaces.decoder import named_generator
from depthweave.spaces.heads.concat import ConcatHead
from depthweave.spaces.heads.deeper import DeeperHead
from depthweave.spaces.heads.dwa import DepthAverageHead
from depthweave.spaces.heads.dwatt import DepthAttentionHead
from depthweave.spaces.heads.head import Head, HeadShape
from depthweave.spaces.heads.last import LastHead
from depthweave.spaces.heads.mix import MixHead
from depthweave.spaces.unknown_names import unknown_name

HEADS: dict[str, type[Head]] = {
    "last": LastHead,
    "deeper": DeeperHead,
    "mix": MixHead,
    "concat": ConcatHead,
    "dwatt": DepthAttentionHead,
    "dwa": DepthAverageHead,
}


def head_class(kind: str) -> type[Head]:
    """Returns the head of that name; `ValueError` names the nearest known one."""
    if kind not in HEADS:
        raise ValueError(unknown_name("head", str(kind), HEADS))
    return HEADS[kind]


def make_head(shape: HeadShape, *, seed: int) -> Head:
    """Returns a head of that shape with weights drawn from `seed` only.

    The global random state is neither read nor changed. Heads of one seed, width and number of classes have the same
    classifier.
    """
    # Without storage, so that torch's own initialisation takes no time and draws nothing.
    with torch.device("meta"):
        head = head_class(shape.kind)(shape)
    head.to_empty(device="cpu")
    head.reset_parameters(named_generator(seed, "head"))
    return head

"""Weights of sites that are handed out by a call of the module that owns them.

Offloading (accelerate) keeps a module's weights elsewhere and brings them when the module is called: what is read past
the call is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CalledParameters(nn.ParameterDict):
    """Parameters by name, in a module that can be called as every other; subclasses say what a call gives."""

    # A ParameterDict refuses to be called.
    __call__ = nn.Module.__call__


class SiteWeights(CalledParameters):
    """The parameters of sites, by the number of their block."""

    def forward(self, blocks: Sequence[int], device: torch.device) -> list[Tensor]:
        """Those of the sites after `blocks`, on a device."""
        return [self[str(block)].to(device) for block in blocks]

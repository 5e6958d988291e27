"""Weights of sites, returned by a call of the module that owns them.

Offloading (accelerate) keeps a module's weights elsewhere and brings them when the module is called. A read outside
such a call finds no weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CalledParameters(nn.ParameterDict):
    """Parameters by name, in a module that can be called; subclasses define the result of a call."""

    # A ParameterDict refuses to be called.
    __call__ = nn.Module.__call__


class SiteWeights(CalledParameters):
    """The parameters of sites, by the number of their block."""

    def forward(self, blocks: Sequence[int], device: torch.device) -> list[Tensor]:
        """Returns the parameters of the sites after `blocks`, on a device."""
        return [self[str(block)].to(device) for block in blocks]

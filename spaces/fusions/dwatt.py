"""DWAtt: each site attends, token by token, over the depth of its sources.

Axes: B batch, T tokens, D width, S sources of a site, K key features, G inner width of the maps.

Source: ElNokrashy, AlKhamissi, Diab, "Depth-Wise Attention (DWAtt)", arXiv 2209.15168; the equations
are those of a re-implementation that cites the paper's numbers:

    keys    k_n = W_K p_n             p_n learned, 24 features, drawn from U[0, 1]; no input in them
    values  v_n = LN_n(f_n(z_n))      f_n(x) = W_n LN(gelu(U_n x)), inner width D / 2
    query   q = 1 + elu(z_own + f_Q(z_own))
    output  h = z_own + softmax_n(q . k_n) v_n

It mixes over depth and never over positions, so it is causal and adds nothing to the key-value cache.

Differs, for a decoder that is trained from scratch:
1. Scores are divided by sqrt(D). Unscaled they saturate at the start (largest weight about 0.8).
2. The gain of LN_n starts at zero, so a site starts as the identity. The keys do not start at zero: gain and keys both
   at zero would leave W_K and p_n without a gradient. So every parameter moves within two steps.
3. A softmax over cumulative states could only down-weight late blocks and never cancel the embedding. The paper's own
   value maps are kept, which can: every source has a gain of either sign.
4. A site that reads only its own block is dropped: it has nothing to choose from, and its query and keys would never
   get a gradient.

Cost: about (S + 1) D^2 parameters a site: meant for few sites (one after the last block, or a long period).
The head of a classifier (`spaces/heads/dwatt.py`) is one such site, with an inner width of its own.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.fusions.fusion import Fusion, KeptStates, Observe, Reader
from depthweave.spaces.wiring import Wiring

KEY_FEATURES = 24
"""Features of a depth position p_n, as in the paper."""


def _inner_width(width: int) -> int:
    """Inner width of the value and query maps: half the width, as in the paper."""
    return width // 2 or 1


class DepthWiseAttention(Fusion):
    """One `AttentionSite` a site (`sites.<block>`)."""

    paper: ClassVar[str] = "DWAtt, arXiv 2209.15168"
    summary: ClassVar[str] = "attention over depth with learned layer keys and value maps (DWAtt)"

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        inner = _inner_width(width)
        self.sites = nn.ModuleDict(
            {str(block): AttentionSite(len(sources), width, inner=inner) for block, sources in wiring}
        )

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _AttendingReader(self, KeptStates(self.wiring), observe)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for site in self.sites.values():
            assert isinstance(site, AttentionSite)
            site.reset_parameters(generator)

    def connection_parameters(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if name.endswith("positions_SK")]

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        return wiring.without_lone_sites()

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        return AttentionSite.num_parameters(
            wiring.num_connections, width, inner=_inner_width(width), sites=len(wiring.sites)
        )

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return AttentionSite.forward_flops(
            wiring.num_connections, width, inner=_inner_width(width), sites=len(wiring.sites)
        )


class _Map(nn.Module):
    """f(x) = W LN(gelu(U x)), with biases as in the paper."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, inner)
        self.norm = nn.LayerNorm(inner)
        self.out = nn.Linear(inner, width)

    def reset_parameters(self, generator: torch.Generator) -> None:
        for linear in (self.into, self.out):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5, generator=generator)
            nn.init.zeros_(linear.bias)
        self.norm.reset_parameters()

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden_BTD: Tensor = self.out(self.norm(F.gelu(self.into(x_BTD))))
        return hidden_BTD


class AttentionSite(nn.Module):
    """One site. `inner` is the inner width of all maps; the paper's scores are not `scaled` by 1 / sqrt(D)."""

    def __init__(self, num_sources: int, width: int, *, inner: int, scaled: bool = True) -> None:
        super().__init__()
        self.divisor = math.sqrt(width) if scaled else 1.0
        self.positions_SK = nn.Parameter(torch.empty(num_sources, KEY_FEATURES))
        self.key_KD = nn.Parameter(torch.empty(KEY_FEATURES, width))
        self.values = nn.ModuleList(_Map(width, inner) for _ in range(num_sources))
        self.value_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_sources))
        self.query = _Map(width, inner)

    @staticmethod
    def num_parameters(sources: int, width: int, *, inner: int, sites: int = 1) -> int:
        """Returns the parameters of so many sites with so many sources in all, in closed form."""
        a_map = 2 * inner * width + 3 * inner + width
        return (sources + sites) * a_map + 2 * sources * width + KEY_FEATURES * (sources + sites * width)

    @staticmethod
    def forward_flops(sources: int, width: int, *, inner: int, sites: int = 1) -> int:
        """Returns their operations a token: the maps, the scores and the weighted sum.

        The keys are computed once a pass and not once a token.
        """
        return (sources + sites) * 4 * inner * width + 4 * sources * width

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws the start, at which the site is the identity."""
        nn.init.uniform_(self.positions_SK, generator=generator)
        nn.init.normal_(self.key_KD, std=KEY_FEATURES**-0.5, generator=generator)
        for module in (*self.values, self.query):
            assert isinstance(module, _Map)
            module.reset_parameters(generator)
        for norm in self.value_norms:
            assert isinstance(norm, nn.LayerNorm)
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)

    def weights(self, own_BTD: Tensor) -> Tensor:
        """Returns the softmax over the sources [B, T, S], from the site's own block only."""
        query_BTD = 1 + F.elu(own_BTD + self.query(own_BTD))
        keys_DS = (self.positions_SK @ self.key_KD).T
        return torch.softmax(query_BTD @ keys_DS / self.divisor, dim=-1)

    def forward(self, states: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the site's output, given its sources with its own block last, and the weights [B, T, S]."""
        mixed_BTD = states[-1]
        weights_BTS = self.weights(mixed_BTD)
        shares = weights_BTS.split(1, dim=-1)
        for state, share_BT1, value, norm in zip(states, shares, self.values, self.value_norms, strict=True):
            mixed_BTD = torch.addcmul(mixed_BTD, share_BT1, norm(value(state)))
        return mixed_BTD, weights_BTS


class _AttendingReader:
    def __init__(self, fusion: DepthWiseAttention, states: KeptStates, observe: Observe | None) -> None:
        self._fusion, self._states, self._observe = fusion, states, observe

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        states = self._states.take(block, state_BTD)
        if not states:
            return state_BTD
        mixed_BTD: Tensor
        mixed_BTD, weights_BTS = self._fusion.sites[str(block)](states)
        if self._observe is not None:
            self._observe(block, weights_BTS)
        return mixed_BTD

"""MUDD: each site weighs earlier states token by token, apart for the query, key, value and residual of the next block.

Axes: B batch, T tokens, D width, S sources of a site, C ways, K hidden units (C S).

Source: Xiao, Meng, Li, Yuan, "MUDDFormer: Breaking Residual Bottlenecks in Transformers via Multiway Dynamic Dense
Connections", arXiv 2502.12170, and its release (github.com/Caiyun-AI/MUDDFormer):

    A_i = GELU(rms(X_i) W1) W2 + a_i       [C, S] for each token; rms has no gain
    Y_i^c = sum over j in S_i of A_i,cj X_j   the input of block i+1 for each way c

W1 is drawn from N(0, 1/D), W2 is zero and a_i is one-hot on X_i, so a site starts as the identity. The site after the
last block has the residual way alone. Query, key and value each have their own norm.

`mudd4_norm` has the release's two norms (`mudd_prenorm` and `mudd_postnorm` of its JAX part; the paper's PreDANorm and
PostDANorm), all rms:

    Y_i^c = X_i + sum_j A_i,cj N_j(X_j)        N_j with a gain, one for each state that a site reads
    Y_i^residual = X_i + P_i(sum_j A_i,cj N_j(X_j))   P_i with a gain, which starts at 0.001

There a_i starts at zero: a norm of zero is zero, so this is the identity too.

Differs:
1. The PyTorch part of the release draws a_i at random, since it only loads checkpoints.
2. Widths of feed-forward layers stay equal over depth; K is not rounded to 64 and not four times as large at the end.
3. A site that reads only its own block would be a scale, which every norm after it removes, and is dropped.
4. a_i has no weight decay (`connection_parameters`). W1 and W2 are trained like all matrices.
5. The release's norm in front of W1 has a gain in the normed variant. W1 can learn it, so it has none here.

Cost: D K + K^2 + K parameters and about 2 D K + 2 K^2 + 2 K D operations a token and site. Time goes into reading S
states.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.fusions.dynamic_sum import dynamic_sums
from depthweave.spaces.fusions.fusion import BlockInputs, Fusion, KeptStates, Observe, Reader
from depthweave.spaces.fusions.rms import RMS_EPS
from depthweave.spaces.wiring import Wiring

_POST_NORM_GAIN = 1e-3


class MultiwayDynamicDense(Fusion):
    """One `_DynamicSite` a site (`sites.<block>`); the base of all variants, with the residual way alone."""

    paper: ClassVar[str] = "MUDDFormer, arXiv 2502.12170"
    summary: ClassVar[str] = "weighted sum of earlier states, weights of each token (MUDDFormer, one way)"
    ways: ClassVar[tuple[str, ...]] = ("residual",)
    """The inputs of a block that are weighed apart, the residual last; the others read the newest state."""
    normed: ClassVar[bool] = False
    """Whether the states and the residual's sum are normed."""

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        self.sites = nn.ModuleDict(
            {
                str(block): _DynamicSite(len(self._ways(wiring, block)), len(sources), width, normed=self.normed)
                for block, sources in wiring
            }
        )
        read = _read_states(wiring) if self.normed else []
        self.state_norms = nn.ModuleDict({str(state): nn.RMSNorm(width, eps=RMS_EPS) for state in read})

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _MultiwayReader(self, KeptStates(self.wiring), observe)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for site in self.sites.values():
            assert isinstance(site, _DynamicSite)
            site.reset_parameters(generator)
        for norm in self.state_norms.values():
            assert isinstance(norm, nn.RMSNorm)
            norm.reset_parameters()

    def connection_parameters(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if name.endswith("static_CS")]

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        return wiring.without_lone_sites()

    @classmethod
    def own_norms(cls, wiring: Wiring, block: int) -> tuple[str, ...]:
        follows_site = any(site.block == block - 1 for site in wiring)
        return tuple(way for way in cls.ways if way in ("key", "value") and follows_site)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        hidden = cls._hidden_units(wiring)
        norms = sum(len(cls.own_norms(wiring, block)) for block in range(2, wiring.depth + 1))
        if cls.normed:
            norms += len(_read_states(wiring)) + len(wiring.sites)
        return sum(width * units + units**2 + units for units in hidden) + norms * width

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return sum(4 * width * units + 2 * units**2 for units in cls._hidden_units(wiring))

    @classmethod
    def _ways(cls, wiring: Wiring, block: int) -> tuple[str, ...]:
        """Returns the ways of the site after a block."""
        return cls.ways if block < wiring.depth else cls.ways[-1:]

    @classmethod
    def _hidden_units(cls, wiring: Wiring) -> list[int]:
        """Returns K of each site."""
        return [len(cls._ways(wiring, block)) * len(sources) for block, sources in wiring]


class MuddValueResidual(MultiwayDynamicDense):
    """The value and the residual are weighed apart; query and key read the newest state."""

    summary: ClassVar[str] = "MUDDFormer with two ways: value and residual"
    ways: ClassVar[tuple[str, ...]] = ("value", "residual")


class MuddFourWays(MultiwayDynamicDense):
    """Query, key, value and residual are weighed apart, as in the paper."""

    summary: ClassVar[str] = "MUDDFormer with its four ways: query, key, value and residual"
    ways: ClassVar[tuple[str, ...]] = ("query", "key", "value", "residual")


class MuddFourWaysNormed(MuddFourWays):
    """The same with the release's norms of states and of the residual's sum."""

    summary: ClassVar[str] = "MUDDFormer with four ways and its pre- and post-norm"
    normed: ClassVar[bool] = True


class _DynamicSite(nn.Module):
    def __init__(self, num_ways: int, num_sources: int, width: int, *, normed: bool) -> None:
        super().__init__()
        hidden = num_ways * num_sources
        # Plain parameters, not nn.Linear: a model-wide initialisation of linear layers would erase the identity.
        self.static_CS = nn.Parameter(torch.empty(num_ways, num_sources))
        self.into_DK = nn.Parameter(torch.empty(width, hidden))
        self.out_KK = nn.Parameter(torch.empty(hidden, hidden))
        self.post_norm = nn.RMSNorm(width, eps=RMS_EPS) if normed else None

    def reset_parameters(self, generator: torch.Generator) -> None:
        self.into_DK.normal_(std=len(self.into_DK) ** -0.5, generator=generator)
        self.out_KK.zero_()
        self.static_CS.zero_()
        if self.post_norm is None:
            self.static_CS[:, -1] = 1.0
        else:
            self.post_norm.weight.fill_(_POST_NORM_GAIN)

    def weights(self, own_BTD: Tensor) -> Tensor:
        """Returns the weights [B, T, C, S], from the site's own block only."""
        # Divided after the product: the normed state, as large as a state, would be kept for the backward pass.
        length_BT1 = torch.linalg.vector_norm(own_BTD, dim=-1, keepdim=True)
        rms_BT1 = length_BT1.div(math.sqrt(own_BTD.shape[-1])).square().add(RMS_EPS).sqrt()
        hidden_BTK = F.gelu((own_BTD @ self.into_DK) / rms_BT1)
        # Under autocast the small product stays in float32: a weight's error is one of a whole state.
        with torch.autocast(own_BTD.device.type, enabled=False):
            dynamic_BTK: Tensor = hidden_BTK.to(self.out_KK.dtype) @ self.out_KK
        weights_BTCS: Tensor = dynamic_BTK.unflatten(-1, self.static_CS.shape) + self.static_CS
        return weights_BTCS

    def forward(self, own_BTD: Tensor, states: list[Tensor], observe: Observe | None, block: int) -> list[Tensor]:
        """Returns the input [B, T, D] of each way, given the state of the site's own block and those of its sources.

        The caller norms the sources in the normed variant. `observe` sees the weights [B, T, S] as their mean over the
        ways, with the own state's 1 in the normed variant.
        """
        weights_BTCS = self.weights(own_BTD)
        if observe is not None:
            means_BTS = weights_BTCS.detach().mean(dim=-2)
            means_BTS[..., -1] += self.post_norm is not None
            observe(block, means_BTS)
        weights_BTCS = weights_BTCS.to(own_BTD.dtype)
        sums = dynamic_sums(weights_BTCS, states)
        if self.post_norm is None:
            return sums
        return [own_BTD + sum_BTD for sum_BTD in (*sums[:-1], self.post_norm(sums[-1]))]


class _MultiwayReader:
    def __init__(self, fusion: MultiwayDynamicDense, states: KeptStates, observe: Observe | None) -> None:
        self._fusion, self._states, self._observe = fusion, states, observe

    def advance(self, block: int, state_BTD: Tensor) -> Tensor | BlockInputs:
        norms = self._fusion.state_norms
        states = self._states.take(block, norms[str(block)](state_BTD) if str(block) in norms else state_BTD)
        if not states:
            return state_BTD
        sums = self._fusion.sites[str(block)](state_BTD, states, self._observe, block)
        residual_BTD: Tensor = sums[-1]
        if len(sums) == 1:
            return residual_BTD
        ways = dict(zip(self._fusion.ways, sums, strict=True))
        query_BTD, key_BTD, value_BTD = (ways.get(way, state_BTD) for way in ("query", "key", "value"))
        return BlockInputs(residual_BTD, query_BTD, key_BTD, value_BTD)


def _read_states(wiring: Wiring) -> list[int]:
    """Returns the states that some site reads."""
    return [state for state, last in enumerate(wiring.last_reads) if last >= 0]

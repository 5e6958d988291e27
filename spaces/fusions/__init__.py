"""How a site combines its sources: one file a fusion, one registry.

Specs may name every fusion in `FUSIONS`. The contract tests check it, and the documentation's table has a row for it.
"""

from __future__ import annotations

from depthweave.spaces.fusions.attnres import (
    AttentionResiduals,
    FullAttentionResiduals,
    ThreeWayAttentionResiduals,
)
from depthweave.spaces.fusions.concat import Concat
from depthweave.spaces.fusions.dwa import DepthWeightedAverage
from depthweave.spaces.fusions.dwatt import DepthWiseAttention
from depthweave.spaces.fusions.fusion import (
    BlockInputs,
    Carrier,
    Fusion,
    KeptStates,
    Observe,
    Reader,
    ValueReader,
)
from depthweave.spaces.fusions.gated import GatedResidual, GatedResidual4
from depthweave.spaces.fusions.hyper import (
    DynamicHyperConnections,
    DynamicHyperConnections4,
    HyperConnections,
    HyperConnections4,
)
from depthweave.spaces.fusions.mhc import ManifoldHyperConnections, ManifoldHyperConnections4
from depthweave.spaces.fusions.mudd import (
    MuddFourWays,
    MuddFourWaysNormed,
    MuddValueResidual,
    MultiwayDynamicDense,
)
from depthweave.spaces.fusions.none import NoFusion
from depthweave.spaces.fusions.value_residual import ValueResidual
from depthweave.spaces.unknown_names import unknown_name

FUSIONS: dict[str, type[Fusion]] = {
    "none": NoFusion,
    "dwa": DepthWeightedAverage,
    "dwatt": DepthWiseAttention,
    "concat": Concat,
    "mudd": MultiwayDynamicDense,
    "mudd2": MuddValueResidual,
    "mudd4": MuddFourWays,
    "mudd4_norm": MuddFourWaysNormed,
    "attnres": AttentionResiduals,
    "attnres_full": FullAttentionResiduals,
    "attnres3": ThreeWayAttentionResiduals,
    "hc2": HyperConnections,
    "hc4": HyperConnections4,
    "dhc2": DynamicHyperConnections,
    "dhc4": DynamicHyperConnections4,
    "mhc2": ManifoldHyperConnections,
    "mhc4": ManifoldHyperConnections4,
    "gated2": GatedResidual,
    "gated4": GatedResidual4,
    "value_residual": ValueResidual,
}


def fusion_class(name: str) -> type[Fusion]:
    """Returns the fusion of that name; `ValueError` names the nearest known one."""
    if name in FUSIONS:
        return FUSIONS[name]
    raise ValueError(unknown_name("fusion", name, FUSIONS))


__all__ = [
    "FUSIONS",
    "BlockInputs",
    "Carrier",
    "Fusion",
    "KeptStates",
    "Observe",
    "Reader",
    "ValueReader",
    "fusion_class",
]

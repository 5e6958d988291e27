"""How a site combines its sources: one file a fusion, one registry.

Specs may name every fusion in `FUSIONS`. The contract tests check it, and the documentation's table has a row for it.
"""

from __future__ import annotations

import re

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


_KNOWN_AS = {
    **dict.fromkeys(("denseformer", "depthweightedaverage"), "dwa"),
    **dict.fromkeys(("muddformer", "mudd1"), "mudd, mudd2 or mudd4"),
    **dict.fromkeys(("attentionresiduals", "attnresiduals", "attnresfull", "fullattnres"), "attnres or attnres_full"),
    **dict.fromkeys(("hc", "hyperconnections"), "hc2 or hc4 (dhc2 and dhc4 are dynamic)"),
    **dict.fromkeys(("dhc", "dynamichyperconnections"), "dhc2 or dhc4"),
    **dict.fromkeys(("mhc", "manifoldconstrainedhyperconnections"), "mhc2 or mhc4"),
    **dict.fromkeys(("gated", "gatedresidual", "gatedresiduals"), "gated2 or gated4"),
    **dict.fromkeys(("resformer", "valueresiduals"), "value_residual"),
    **dict.fromkeys(("unet", "x0", "densenet"), "dwa with a wiring, such as mirror, embed or 1x1"),
    **dict.fromkeys(("plain", "residual", "baseline", "transformer"), "none"),
}
"""What papers and other tools call them, without case and signs."""


def fusion_class(name: str) -> type[Fusion]:
    """Returns the fusion of that name; `ValueError` names the nearest known one."""
    if name in FUSIONS:
        return FUSIONS[name]
    known_as = _KNOWN_AS.get(re.sub("[^a-z0-9]", "", str(name).lower()))
    if known_as is not None:
        raise ValueError(f"fusion {name!r} is not known: it is called {known_as} here. Known: {', '.join(FUSIONS)}")
    raise ValueError(unknown_name("fusion", name, FUSIONS))


def fusion_family(name: str) -> str:
    """Returns the name that the variants of a fusion share, that of their file: `mudd` for `mudd4`."""
    return fusion_class(name).__module__.rpartition(".")[2]


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
    "fusion_family",
]

"""How a site combines its sources: one file a fusion, one registry.

Specs may name every fusion in `FUSIONS`. The contract tests check it, and the documentation's table has a row for it.
"""

from __future__ import annotations

from difflib import get_close_matches

from depthweave.spaces.fusions.concat import Concat
from depthweave.spaces.fusions.dwa import DepthWeightedAverage
from depthweave.spaces.fusions.dwatt import DepthWiseAttention
from depthweave.spaces.fusions.fusion import Fusion, KeptStates, Observe, Reader
from depthweave.spaces.fusions.none import NoFusion

FUSIONS: dict[str, type[Fusion]] = {
    "none": NoFusion,
    "dwa": DepthWeightedAverage,
    "dwatt": DepthWiseAttention,
    "concat": Concat,
}


def fusion_class(name: str) -> type[Fusion]:
    """Returns the fusion of that name; `ValueError` names the nearest known one."""
    if name in FUSIONS:
        return FUSIONS[name]
    near = get_close_matches(name, FUSIONS, n=1, cutoff=0.0)
    raise ValueError(f"fusion '{name}' is not known: did you mean '{near[0]}'? Known: {', '.join(FUSIONS)}")


__all__ = ["FUSIONS", "Fusion", "KeptStates", "Observe", "Reader", "fusion_class"]

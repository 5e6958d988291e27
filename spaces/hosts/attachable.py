"""Which fusions can be put between the layers of a host: those that only change what the next layer reads."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from depthweave.spaces.fusions import FUSIONS, Fusion, fusion_class
from depthweave.spaces.wiring import Wiring

_TINY_WIDTH = 8


def check_attachable(name: str, wiring: Wiring) -> None:
    """Raises `ValueError`, one line, if the fusion changes more than the states between layers, or is not known."""
    problem = _problem(name, wiring)
    if problem is not None:
        others = [other for other in FUSIONS if _problem(other, wiring) is None]
        raise ValueError(
            f"fusion {name!r} cannot be attached: it {problem}. With this wiring {', '.join(others)} can be"
        )


def make_fusion(name: str, wiring: Wiring, width: int, *, seed: int) -> Fusion:
    """Returns a fusion with its first weights, float32 on the CPU, which depend on the seed and nothing else."""
    # As in our own decoder, whose fusion has the same start for the same seed.
    digest = hashlib.sha256(f"{seed}/fusion".encode()).digest()
    with torch.device("meta"):
        fusion = fusion_class(name)(wiring, width)
    fusion.float().to_empty(device="cpu")
    fusion.reset_parameters(torch.Generator().manual_seed(int.from_bytes(digest[:7], "big")))
    return fusion


def _problem(name: str, wiring: Wiring) -> str | None:
    """Returns what keeps a fusion from being attached."""
    made = fusion_class(name)
    if made.carries_residual:
        return "replaces the residual inside the layers"
    if made.value_source:
        return "mixes values inside the attention of layers"
    # Whether a site gives several inputs depends on the wiring: the last site of MUDD gives one.
    reader = make_fusion(name, made.canonical_wiring(wiring), _TINY_WIDTH, seed=0).open()
    with torch.no_grad():
        for block in range(wiring.depth + 1):
            if not isinstance(reader.advance(block, torch.zeros(1, 2, _TINY_WIDTH)), Tensor):
                return "gives the query, key, value and residual of a layer an input each"
    return None

"""A trained tagger from the weights that a run keeps: those of a head, and the trained ones of its host."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from depthweave.spaces.heads import HeadShape
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.tag_data import HostWeights
from depthweave.trainers.tagging.tagging_state import TAG_RECIPES, TaggingState

_HEAD, _HOST = "head.", "host."


def kept_tagger(tensors: Mapping[str, Tensor], *, shape: HeadShape, weights: HostWeights, host: Host) -> TaggingState:
    """Returns the tagger on the CPU: tensors `head.NAME`, and `host.NAME` for each trained weight of the host.

    It computes what the trained one did; its optimiser and recipe are new. Raises a one-line `ValueError` where the
    tensors are those of another head or host.
    """
    state = TaggingState.start(
        shape, recipe=TAG_RECIPES[weights], host_sha256=host.sha256, weights=weights, host=host, device="cpu"
    )
    parts = {prefix: _part(tensors, prefix) for prefix in (_HEAD, _HOST)}
    if len(parts[_HEAD]) + len(parts[_HOST]) < len(tensors):
        other = next(name for name in tensors if not name.startswith((_HEAD, _HOST)))
        raise ValueError(f"weights of the tagger have {other!r:.60}: it is neither of the head nor of the host")
    try:
        state.head.load_state_dict(parts[_HEAD])
        state.load_host_weights(parts[_HOST])
    except (RuntimeError, LookupError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"weights of the tagger do not fit its head or its host ({reason})") from None
    return state


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

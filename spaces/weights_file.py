"""Checks a weights file against its architecture by the header, before any memory is allocated.

An `architecture.yaml` of a few lines can name a model of any size; the header of the weights has the true size.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import num_parameters

_BLOCK = "blocks."


class _Sizes(NamedTuple):
    """Sizes of a model, from a header or an architecture."""

    depth: int
    vocabulary: int
    width: int
    feed_forward: int
    parameters: int
    """The embedding's included."""


def check_weights(path: Path, architecture: Architecture, *, said_by: str = "architecture.yaml beside it") -> None:
    """Raises `ValueError` if the file holds the weights of another architecture, or of one with other sizes.

    Reads only its header. Raises `SafetensorError` or `OSError` if it is not a weights file.
    """
    with safe_open(str(path), framework="pt") as file:
        # Weights of another architecture may have the same shapes: the number of heads leaves no trace in them.
        written_for = (file.metadata() or {}).get("architecture_id", architecture.id)
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping
    if written_for != architecture.id:
        raise ValueError(
            f"{path}: holds the weights of architecture {written_for}, while {said_by} describes {architecture.id}"
        )
    held = _sizes_of(shapes)
    for name, theirs in held._asdict().items():
        if name == "parameters":
            # The sizes agree with the file by now. Torch names missing weights.
            ours = num_parameters(architecture) + architecture.vocabulary * architecture.width
            fits = ours <= 2 * theirs
        else:
            ours = getattr(architecture, name)
            fits = ours == theirs
        if not fits:
            raise ValueError(
                f"{path}: does not hold the weights of architecture {architecture.id}: {name} is {theirs:,} in it, and "
                f"{ours:,} in {said_by}"
            )


def _sizes_of(shapes: dict[str, tuple[int, ...]]) -> _Sizes:
    blocks = {name.split(".")[1] for name in shapes if name.startswith(_BLOCK)}
    vocabulary, width = (*shapes.get("embedding.weight", ()), 0, 0)[:2]
    feed_forward = (*shapes.get(f"{_BLOCK}0.feed_forward.into.weight", ()), 0)[0]
    return _Sizes(len(blocks), vocabulary, width, feed_forward, sum(map(math.prod, shapes.values())))

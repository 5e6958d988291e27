"""Architectures: a model's full shape, its canonical form and its stable id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from depthweave.spaces.block_style import GPT, BlockStyle, block_style_of
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.unknown_names import unknown_name
from depthweave.spaces.wiring import Site, Wiring

ID_LENGTH = 12
"""Hexadecimal digits of an id: 48 bits, so that a million architectures collide with a chance of 0.2 %."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model's full shape, canonical: two are equal if and only if they are the same graph with the same sizes.

    Sites that compute nothing new for this fusion are dropped, and a fusion without any site left is `none`.
    """

    fusion: str
    """Name in `FUSIONS`."""
    wiring: Wiring
    """Sites and their sources."""
    width: int
    """Size of a state; a multiple of twice `heads` (rotary positions rotate pairs)."""
    heads: int
    """Attention heads of a block."""
    feed_forward: int
    """Inner width of the feed-forward layers."""
    vocabulary: int
    """Number of tokens."""
    context: int
    """Longest sequence, tokens."""
    block: BlockStyle = GPT
    """Which layers a block has."""

    def __post_init__(self) -> None:
        for name in ("width", "heads", "feed_forward", "vocabulary", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"architecture.{name} is {getattr(self, name)}: it must be at least 1")
        if self.width % (2 * self.heads):
            raise ValueError(
                f"architecture.width is {self.width} with {self.heads} heads: it must be a multiple of "
                f"{2 * self.heads}, twice the number of heads"
            )
        if self.heads % self.block.heads_per_kv:
            raise ValueError(
                f"architecture.heads is {self.heads}: it must be a multiple of block.heads_per_kv, which is "
                f"{self.block.heads_per_kv}"
            )
        wiring = fusion_class(self.fusion).canonical_wiring(self.wiring)
        object.__setattr__(self, "wiring", wiring)
        if not wiring.sites:
            object.__setattr__(self, "fusion", "none")

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return self.wiring.depth

    @property
    def kv_heads(self) -> int:
        """Keys and values of a block, each shared by `block.heads_per_kv` heads."""
        return self.heads // self.block.heads_per_kv

    @cached_property
    def id(self) -> str:
        """Returns a short hash of fusion, wiring and sizes: the same across processes, machines and Python versions."""
        # Compact JSON with sorted keys, written by hand: a space computes a hundred thousand ids.
        text = (
            f'{{{self._block_json}"context":{self.context},"depth":{self.depth},"feed_forward":{self.feed_forward},'
            f'"fusion":"{self.fusion}","heads":{self.heads},"sites":{self.wiring.sites_json},'
            f'"vocabulary":{self.vocabulary},"width":{self.width}}}'
        )
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    @property
    def _block_json(self) -> str:
        """The block's style as the first item of the plain form; empty for `gpt`, whose ids are older than styles."""
        if self.block == GPT:
            return ""
        return f'"block":{json.dumps(asdict(self.block), sort_keys=True, separators=(",", ":"))},'

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers, strings, lists and, unless the block is `gpt`, its style, which `from_dict` reads."""
        return {
            "fusion": self.fusion,
            "depth": self.depth,
            "sites": [[site.block, list(site.sources)] for site in self.wiring],
            **self._sizes(),
            **({} if self.block == GPT else {"block": asdict(self.block)}),
        }

    def _sizes(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("width", "heads", "feed_forward", "vocabulary", "context")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Returns the architecture that `to_dict` wrote; `ValueError` names a missing or unknown field."""
        fields = ("fusion", "depth", "sites", "width", "heads", "feed_forward", "vocabulary", "context")
        for name in fields:
            if name not in values:
                raise ValueError(f"architecture.{name} is missing: the fields are {', '.join(fields)}")
        known = (*fields, "block")
        for name in values:
            if name not in known:
                raise ValueError(unknown_name("field", str(name), known, section="architecture."))
        sizes = {name: _whole(values[name], name=name) for name in fields if name not in ("fusion", "sites")}
        wiring = Wiring(sizes.pop("depth"), _sites(values["sites"]))
        block = block_style_of(values.get("block", GPT))
        return cls(fusion=str(values["fusion"]), wiring=wiring, block=block, **sizes)


def _sites(value: Any) -> tuple[Site, ...]:
    fault = ValueError(f"architecture.sites is {value!r:.80}: it must be a list of [block, [sources]], whole numbers")
    if not isinstance(value, list):
        raise fault
    sites = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], list):
            raise fault
        if any(isinstance(number, bool) or not isinstance(number, int) for number in (item[0], *item[1])):
            raise fault
        sites.append(Site(item[0], tuple(item[1])))
    return tuple(sites)


def _whole(value: Any, *, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"architecture.{name} is {value!r}: it must be a whole number")
    return value

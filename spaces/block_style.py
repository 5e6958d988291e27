"""Styles of transformer blocks: `gpt` as in the DenseFormer paper, and `llama`, which most models of today have.

`gpt`: LayerNorm, GELU between two linear layers, a key and a value for each head.
`llama`: RMSNorm, SwiGLU (Shazeer, arXiv 2002.05202), keys and values that several heads may share (Ainslie et al.,
"GQA", arXiv 2305.13245), and optional norms of queries and keys as in Qwen3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from depthweave.spaces.unknown_names import unknown_name

BLOCK_KINDS = ("gpt", "llama")
_MATRICES = {"gpt": 2, "llama": 3}
"""Matrices of the feed-forward layers. A space asks for them a million times, and this is no call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockStyle:
    """Which layers a block has; its sizes are elsewhere."""

    kind: str = "gpt"
    """One of `BLOCK_KINDS`."""
    heads_per_kv: int = 1
    """Heads that share a key and a value; the number of heads is a multiple. It stays when the width changes."""
    qk_norm: bool = False
    """Whether queries and keys are normed before they are rotated."""

    def __post_init__(self) -> None:
        if self.kind not in BLOCK_KINDS:
            raise ValueError(unknown_name("block", self.kind, BLOCK_KINDS))
        if isinstance(self.heads_per_kv, bool) or not isinstance(self.heads_per_kv, int) or self.heads_per_kv < 1:
            raise ValueError(f"block.heads_per_kv is {self.heads_per_kv!r}: give a whole number of at least 1")
        if not isinstance(self.qk_norm, bool):
            raise ValueError(f"block.qk_norm is {self.qk_norm!r}: give true or false")
        if self.kind == "gpt" and (self.heads_per_kv > 1 or self.qk_norm):
            raise ValueError("block: gpt has neither heads_per_kv nor qk_norm: leave them out, or take kind: llama")

    def unit(self, width: int) -> int:
        """Returns the parameters of one hidden unit of a block."""
        return _MATRICES[self.kind] * width

    def ratio(self, gpt_ratio: float) -> float:
        """Returns the ratio of feed-forward width to width that has as many parameters as `gpt_ratio` has in `gpt`."""
        return gpt_ratio * 2 / _MATRICES[self.kind]

    def feed_forward(self, *, gpt_ratio: int, width: int) -> int:
        """Returns the smallest feed-forward width of at least that ratio."""
        return -(-gpt_ratio * width * 2 // _MATRICES[self.kind])

    def squared_widths(self, gpt_ratio: float) -> float:
        """Returns the parameters of a block over the squared width, norms left out."""
        return 2 + 2 / self.heads_per_kv + 2 * gpt_ratio

    def kv_width(self, width: int) -> int:
        """Returns the width of all keys, or of all values."""
        return width // self.heads_per_kv

    def parameters(self, *, width: int, feed_forward: int, head_width: int) -> int:
        """Returns the parameters of a block."""
        kv_width = width // self.heads_per_kv
        matrices = width * (2 * width + 2 * kv_width + _MATRICES[self.kind] * feed_forward)
        return matrices + 2 * width + 2 * head_width * self.qk_norm

    def forward_flops(self, *, width: int, feed_forward: int, context: int) -> int:
        """Returns the operations a token of a block, in matrix products and attention."""
        kv_width = width // self.heads_per_kv
        matrices = width * (2 * width + 2 * kv_width + _MATRICES[self.kind] * feed_forward)
        return 2 * matrices + 4 * context * width

    def to_value(self) -> str | dict[str, Any]:
        """Returns the shortest form that `block_style_of` reads."""
        return self.kind if self == BlockStyle(kind=self.kind) else asdict(self)

    @property
    def text(self) -> str:
        """The style in words, such as `llama, 2 heads a key and value, query-key norm`."""
        shared = [f"{self.heads_per_kv} heads a key and value"] if self.heads_per_kv > 1 else []
        return ", ".join([self.kind, *shared, *(["query-key norm"] if self.qk_norm else [])])


GPT = BlockStyle()
_FIELDS = tuple(asdict(GPT))


def block_style_of(value: Any) -> BlockStyle:
    """Returns the style that a file names: a kind, or a mapping of `kind`, `heads_per_kv` and `qk_norm`.

    Raises `ValueError` in one line.
    """
    if isinstance(value, BlockStyle):
        return value
    if isinstance(value, str):
        return BlockStyle(kind=value)
    if not isinstance(value, Mapping):
        raise ValueError(f"block is {value!r:.80}: give {' or '.join(BLOCK_KINDS)}, or a mapping with kind")
    for name in value:
        if name not in _FIELDS:
            raise ValueError(unknown_name("field", str(name), _FIELDS, section="block."))
    if not isinstance(value.get("kind"), str):
        raise ValueError(f"block.kind is {value.get('kind')!r:.80}: give {' or '.join(BLOCK_KINDS)}")
    return BlockStyle(**value)


def whole_heads(width: int, *, head_width: int, style: BlockStyle) -> str:
    """Returns why the width has no whole number of heads, and of groups that share keys and values; empty if it has."""
    multiple = head_width * style.heads_per_kv
    if width % multiple == 0:
        return ""
    shared = "" if style.heads_per_kv == 1 else f" times block.heads_per_kv, {style.heads_per_kv}"
    below = math.floor(width / multiple) * multiple
    near = " or ".join(str(item) for item in (below, below + multiple) if item)
    return f"it must be a multiple of {multiple}, the width of a head{shared}: take {near}"

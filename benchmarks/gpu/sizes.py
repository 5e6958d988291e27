"""Sizes of the models and trainings of each part: for a GPU, and for a trial on a CPU in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from depthweave.spaces import Architecture, Wiring, strided_wiring


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model, and the batch that it is measured on."""

    depth: int
    width: int
    context: int
    batch: int
    vocabulary: int = 50_304
    """That of GPT-2, rounded up to a multiple of 64."""
    head_width: int = 64

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // self.head_width

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.batch * self.context

    def architecture(self, fusion: str = "none", wiring: Wiring | None = None) -> Architecture:
        """Ours of this shape, with feed-forward layers of four times the width."""
        return Architecture(
            fusion=fusion,
            wiring=wiring or Wiring(self.depth),
            width=self.width,
            heads=self.heads,
            feed_forward=4 * self.width,
            vocabulary=self.vocabulary,
            context=self.context,
        )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of all parts."""

    name: str
    check: Shape
    """Deep enough for depth averages in panels: with fewer than 11 blocks each site sums alone."""
    fusions: Shape
    """On a GPU that of the DenseFormer paper."""
    train: tuple[Shape, ...]
    compare: Shape
    compare_tokens: int
    """Tokens of each training of the comparison."""
    compare_seeds: tuple[int, ...]
    corpus_bytes: int
    timing_s: float
    """Longest time for the rounds of one pair of contenders."""
    contenders: int
    """Number of contenders of each mode of the part `fusions`, from the first on."""
    search_trials: int
    search_workers: int


FULL = Sizes(
    name="full",
    check=Shape(depth=12, width=256, context=128, batch=8, vocabulary=1024),
    fusions=Shape(depth=48, width=768, context=256, batch=64),
    train=(
        Shape(depth=12, width=768, context=1024, batch=32),
        Shape(depth=24, width=1024, context=1024, batch=16),
    ),
    compare=Shape(depth=12, width=512, context=512, batch=32, vocabulary=16_384),
    compare_tokens=30_000_000,
    compare_seeds=(0, 1),
    corpus_bytes=115_000_000,
    timing_s=5.0,
    contenders=100,
    search_trials=32,
    search_workers=8,
)
_TINY = Shape(depth=5, width=32, context=16, batch=2, vocabulary=512, head_width=16)
DRY = Sizes(
    name="dry",
    check=_TINY,
    fusions=_TINY,
    train=(_TINY,),
    compare=_TINY,
    compare_tokens=640,
    compare_seeds=(0,),
    corpus_bytes=200_000,
    timing_s=0.2,
    contenders=2,
    search_trials=4,
    search_workers=2,
)

PATTERNS: dict[str, tuple[int, int]] = {"1x1": (1, 1), "4x1": (4, 1), "4x5": (4, 5)}


def architecture_of(name: str, shape: Shape) -> Architecture:
    """Of `plain`, `dwa KxP`, or `dwatt` or `concat` after the last block."""
    fusion, _, pattern = name.partition(" ")
    if fusion == "plain":
        return shape.architecture()
    dilation, period = PATTERNS.get(pattern, (1, shape.depth))
    # Periods of the paper's 48 blocks; of few blocks one that leaves a site.
    period = min(period, shape.depth)
    return shape.architecture(fusion, strided_wiring(shape.depth, dilation=dilation, period=period))

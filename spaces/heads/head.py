"""The interface of every head: a module that gives the logits of each token from the states of a host's layers.

Axes: B batch, T tokens, D width, S sources, C classes.

A host is a transformer of any kind. State 0 is its embedding, state i the output of its layer i, as transformers gives
them with `output_hidden_states=True`. All heads end with the same linear classifier. They differ in the one state a
token that it reads.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.architecture import ID_LENGTH
from depthweave.spaces.decoder import ParameterGroups, parameter_groups_of
from depthweave.spaces.fusions import Observe
from depthweave.spaces.unknown_names import unknown_name

_CLASSIFIER_STD = 0.02
"""Standard deviation of a fresh classifier's weights, that of a fresh classifier of transformers."""


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """A head's full shape."""

    kind: str
    """Name in `HEADS`."""
    depth: int
    """Layers of the host."""
    sources: tuple[int, ...]
    """The states that it reads, ascending; the last is `depth`."""
    width: int
    """Size of a state."""
    classes: int
    """Number of classes of a token."""
    inner: int = 0
    """What a budget sets: the inner width of `dwatt`'s maps, the rank of `concat`, the feed-forward width of `deeper`.
    0 if there is nothing to set."""
    blocks: int = 0
    """Further blocks of `deeper`."""
    heads: int = 1
    """Attention heads of these blocks."""
    causal: bool = False
    """Whether a token of the host sees only earlier ones. Then its layers are taken to be pre-norm. Counts for `deeper`
    and `mix`, else `False`."""
    scaled: bool = True
    """Whether `dwatt` divides its scores by the square root of the width, which the paper does not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(map(int, self.sources)))
        for name in ("depth", "width", "classes", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"head.{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("inner", "blocks"):
            if getattr(self, name) < 0:
                raise ValueError(f"head.{name} is {getattr(self, name)}: it must be at least 0")
        if self.width % self.heads:
            raise ValueError(f"head.width is {self.width} with {self.heads} heads: it must be a multiple of that")
        found = list(self.sources)
        if found != sorted(set(found)) or not found or found[0] < 0 or found[-1] != self.depth:
            raise ValueError(
                f"head.sources are {found}: list states from 0 to {self.depth} once each, ascending, ending with "
                f"{self.depth}, the host's last"
            )

    @cached_property
    def id(self) -> str:
        """Returns a short hash of all fields: the same across processes, machines and Python versions."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers, strings and lists, which `from_dict` reads."""
        return {**asdict(self), "sources": list(self.sources)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HeadShape:
        """Returns the shape that `to_dict` wrote; `ValueError` names a missing, unknown or faulty field."""
        known = [field.name for field in fields(cls)]
        for field in fields(cls):
            if field.name not in values and field.default is MISSING:
                raise ValueError(f"head.{field.name} is missing: the fields are {', '.join(known)}")
        for name in values:
            if name not in known:
                raise ValueError(unknown_name("field", str(name), known, section="head."))
        return cls(**{name: _checked_field(name, value) for name, value in values.items()})


def _checked_field(name: str, value: Any) -> Any:
    if name == "kind":
        return str(value)
    if name in ("causal", "scaled"):
        if not isinstance(value, bool):
            raise ValueError(f"head.{name} is {value!r}: it must be true or false")
        return value
    numbers = value if name == "sources" else [value]
    if not isinstance(numbers, list) or any(isinstance(it, bool) or not isinstance(it, int) for it in numbers):
        kind = "a list of whole numbers" if name == "sources" else "a whole number"
        raise ValueError(f"head.{name} is {value!r:.80}: it must be {kind}")
    return tuple(numbers) if name == "sources" else value


class Head(nn.Module, ABC):
    """A linear classifier of one state a token, and what makes that state of the sources."""

    paper: ClassVar[str]
    """Authors' title and arXiv id; empty if there is none."""
    summary: ClassVar[str]
    """One line: which state the classifier reads."""
    starts_as_last: ClassVar[bool] = True
    """Whether a fresh head gives the logits of `last` with the same seed."""
    reads_earlier: ClassVar[bool] = True
    """Whether it reads several states, or the last one alone."""
    sized: ClassVar[bool] = False
    """Whether it has an inner size that meets a budget."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.check(shape)
        self.shape = shape
        self.classifier = nn.Linear(shape.width, shape.classes)

    @classmethod
    def check(cls, shape: HeadShape) -> None:
        """Raises `ValueError` if there is no such head of that shape."""
        if cls.reads_earlier and len(shape.sources) == 1:
            raise ValueError(
                f"head {shape.kind!r} reads state {shape.depth} alone: give at least two states (a smaller dilation), "
                f"or take the head 'last'"
            )
        if not cls.reads_earlier and len(shape.sources) > 1:
            raise ValueError(
                f"head.sources are {list(shape.sources)}: the head {shape.kind!r} reads state {shape.depth} alone"
            )
        if cls.sized and shape.inner < 1:
            raise ValueError(f"head.inner is {shape.inner}: it must be at least 1 for the head {shape.kind!r}")

    def forward(self, states: Sequence[Tensor], mask_BT: Tensor, *, observe: Observe | None = None) -> Tensor:
        """Returns logits [B, T, C], given the states [B, T, D] of `shape.sources` in their order.

        The mask is True at real tokens, which padding never changes. States of another precision are converted to that
        of the weights. `observe` is called once, with the depth and the weights [..., S] of the sources, by heads that
        weigh sources.
        """
        if len(states) != len(self.shape.sources):
            raise ValueError(f"there are {len(states)} states: the head reads the {len(self.shape.sources)} sources")
        dtype = self.classifier.weight.dtype
        mixed_BTD = self.mixed([state_BTD.to(dtype) for state_BTD in states], mask_BT, observe)
        logits_BTC: Tensor = self.classifier(mixed_BTD)
        return logits_BTC

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws the start: first the classifier, the same for all heads, and then the head's own weights."""
        nn.init.normal_(self.classifier.weight, std=_CLASSIFIER_STD, generator=generator)
        nn.init.zeros_(self.classifier.bias)
        self.reset_mixing(generator)

    def parameter_groups(self) -> ParameterGroups:
        """Returns every parameter in exactly one group."""
        return parameter_groups_of(self, self.connection_parameters())

    @classmethod
    def num_parameters(cls, shape: HeadShape) -> int:
        """Returns the number of parameters, the classifier's included, in closed form."""
        return (shape.width + 1) * shape.classes + cls.mixing_parameters(shape)

    @classmethod
    def forward_flops(cls, shape: HeadShape, *, tokens: int = 0) -> int:
        """Returns the operations a token, in closed form: 2 a multiply-add of a matrix product or a depth average.

        `tokens` is the length of the sentences. With 0 the scores of attention, which grow with it, are not counted.
        """
        return 2 * shape.width * shape.classes + cls.mixing_flops(shape, tokens)

    @abstractmethod
    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        """Returns what the classifier reads [B, T, D]."""

    @abstractmethod
    def reset_mixing(self, generator: torch.Generator) -> None:
        """Draws the start of all weights but the classifier's."""

    @abstractmethod
    def connection_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters that weigh whole states. They have no decay and their own learning-rate factor."""

    @classmethod
    @abstractmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        """Returns the number of parameters without the classifier's."""

    @classmethod
    @abstractmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        """Returns the operations a token without the classifier's."""

"""Architectures of a head on a host: the host's facts, the head's shape, and both as one `Architecture`.

A search treats them as it treats decoders. The fields of a decoder are filled from the host and the head: `fusion` is
the head's name, `wiring` has one site after the host's last layer with the states that the head reads, `feed_forward`
is what the budget sets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from depthweave.spaces.architecture import ID_LENGTH, Architecture
from depthweave.spaces.heads.head import HeadShape
from depthweave.spaces.heads.registry import head_class
from depthweave.spaces.plain_names import PLAIN_FUSION, PLAIN_HEAD
from depthweave.spaces.unknown_names import unknown_name
from depthweave.spaces.wiring import Site, Wiring


@dataclass(frozen=True, kw_only=True, slots=True)
class HostShape:
    """What a search knows of a host."""

    sha256: str
    """Hash of its configuration and weights."""
    weights: str
    """Which of its weights are trained: `frozen`, `full` or `lora`."""
    depth: int
    """Number of layers."""
    width: int
    """Size of a state."""
    heads: int
    """Attention heads of a layer."""
    causal: bool
    """Whether a token sees earlier ones alone."""
    vocabulary: int
    """Number of tokens."""
    parameters: int
    """All parameters, the token embedding included."""
    layer_parameters: int
    """Entries of the matrices that multiply each token: half of a token's operations without attention's scores."""

    def __post_init__(self) -> None:
        for name in ("depth", "width", "heads", "vocabulary", "parameters", "layer_parameters"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"host.{name} is {value!r:.40}: it must be a whole number of at least 1")

    def forward_flops(self, *, tokens: int) -> int:
        """Returns the operations a token in a sentence of so many tokens."""
        return 2 * self.layer_parameters + 4 * tokens * self.width * self.depth

    @classmethod
    def from_dict(cls, values: Any) -> HostShape:
        """Returns the shape whose fields these are; `ValueError` names a missing or unknown one."""
        known = [item.name for item in dataclasses.fields(cls)]
        if not isinstance(values, dict):
            raise ValueError(f"architecture.host is {values!r:.40}: it must have the fields {', '.join(known)}")
        for name in known:
            if name not in values:
                raise ValueError(f"host.{name} is missing: the fields are {', '.join(known)}")
        for name in values:
            if name not in known:
                raise ValueError(unknown_name("field", str(name), known, section="host."))
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class HostedArchitecture(Architecture):
    """A head on a host; made by `hosted`, which fills the fields of a decoder."""

    host: HostShape
    head: HeadShape

    def __post_init__(self) -> None:
        if (self.head.depth, self.head.width) != (self.host.depth, self.host.width):
            raise ValueError(
                f"head is for {self.head.depth} layers of width {self.head.width}: the host has {self.host.depth} of "
                f"width {self.host.width}"
            )

    @cached_property
    def id(self) -> str:
        """Returns a short hash of host, head and context: the same across processes, machines and Python versions."""
        values = {"host": dataclasses.asdict(self.host), "head": self.head.to_dict(), "context": self.context}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers, strings and lists, which `architecture_from_dict` reads."""
        return {
            "fusion": self.fusion,
            "host": dataclasses.asdict(self.host),
            "head": self.head.to_dict(),
            "context": self.context,
        }


def hosted(head: HeadShape, *, host: HostShape, context: int) -> HostedArchitecture:
    """Returns the architecture of a head on a host, for sentences of at most `context` tokens."""
    lone = len(head.sources) == 1
    return HostedArchitecture(
        fusion=head.kind,
        wiring=Wiring(head.depth, () if lone else (Site(head.depth, head.sources),)),
        width=host.width,
        heads=host.heads,
        feed_forward=max(1, head.inner),
        vocabulary=host.vocabulary,
        context=context,
        host=host,
        head=head,
    )


def architecture_from_dict(values: dict[str, Any]) -> Architecture:
    """Returns the architecture that `to_dict` wrote, of a decoder or of a head on a host.

    `ValueError` names a missing or unknown field.
    """
    if "host" not in values:
        return Architecture.from_dict(values)
    known = ("fusion", "host", "head", "context")
    for name in known:
        if name not in values:
            raise ValueError(f"architecture.{name} is missing: the fields are {', '.join(known)}")
    for name in values:
        if name not in known:
            raise ValueError(unknown_name("field", str(name), known, section="architecture."))
    head, context = values["head"], values["context"]
    if not isinstance(head, dict):
        raise ValueError(f"architecture.head is {head!r:.40}: it must be the fields of a head")
    if isinstance(context, bool) or not isinstance(context, int) or context < 1:
        raise ValueError(f"architecture.context is {context!r:.40}: it must be a whole number of at least 1")
    head_class(str(head.get("kind")))
    return hosted(HeadShape.from_dict(head), host=HostShape.from_dict(values["host"]), context=context)


def is_plain(architecture: Architecture) -> bool:
    """Returns whether it is what others are compared with: a decoder without fusion, or the classifier alone."""
    return architecture.fusion == (PLAIN_HEAD if isinstance(architecture, HostedArchitecture) else PLAIN_FUSION)

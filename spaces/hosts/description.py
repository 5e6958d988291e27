"""What is said of an attached fusion in a saved model: enough to attach it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.wiring import Site, Wiring

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class AttachedFusion:
    """A fusion, its wiring and where it is attached."""

    fusion: str
    """Name in `FUSIONS`."""
    wiring: Wiring
    """Canonical for the fusion."""
    width: int
    """Size of a state."""
    width_given: bool = False
    """Whether the width was given, and not found in the host."""
    rule: str | None = None
    """The text that the wiring was read from."""
    layers: str | tuple[str, ...] | None = None
    """Path of the list of layers, or of each layer, where they were given."""

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, as JSON keeps them."""
        values: dict[str, Any] = {
            "version": _VERSION,
            "fusion": self.fusion,
            "depth": self.wiring.depth,
            "width": self.width,
            "sites": [[block, list(sources)] for block, sources in self.wiring],
        }
        if self.width_given:
            values["width_given"] = True
        if self.rule is not None:
            values["rule"] = self.rule
        if self.layers is not None:
            values["layers"] = self.layers if isinstance(self.layers, str) else list(self.layers)
        return values


def read_description(values: Any, *, where: str) -> AttachedFusion:
    """Returns the description in plain values. Raises `ValueError`, one line that begins with `where`."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: is {values!r:.60}: it has fusion, depth, width and sites of an attached fusion")
    version = values.get("version")
    if version != _VERSION:
        raise ValueError(f"{where}: version is {version!r:.20}: this Depthweave reads version {_VERSION}")
    numbers = {name: values.get(name) for name in ("depth", "width")}
    for name, number in numbers.items():
        if type(number) is not int or number < 1:
            raise ValueError(f"{where}: {name} is {number!r:.40}: it must be a whole number of at least 1")
    try:
        fusion = fusion_class(values.get("fusion", ""))
        wiring = Wiring(values["depth"], _sites(values.get("sites")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    if fusion.canonical_wiring(wiring) != wiring:
        raise ValueError(f"{where}: has sites that change nothing for {values['fusion']}: the description was changed")
    return AttachedFusion(
        fusion=values["fusion"],
        wiring=wiring,
        width=values["width"],
        width_given=values.get("width_given") is True,
        rule=_text(values.get("rule")),
        layers=_paths(values.get("layers"), where=where),
    )


def _sites(values: Any) -> tuple[Site, ...]:
    if not isinstance(values, list):
        raise ValueError(f"sites is {values!r:.40}: it must be a list of [block, [sources]]")
    for item in values:
        whole = isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[1], (list, tuple))
        if not whole or any(type(number) is not int for number in (item[0], *item[1])):
            raise ValueError(f"sites has {item!r:.60}: each is [block, [sources]], whole numbers")
    return tuple(Site(block, tuple(sources)) for block, sources in values)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _paths(value: Any, *, where: str) -> str | tuple[str, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError(f"{where}: layers is {value!r:.60}: it must be the path of a list of layers, or of each layer")

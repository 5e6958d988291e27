"""The section `space` of a spec: the axes of the architectures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from depthweave.search.spec.part import SHOWN_CHARACTERS, Part, Whole
from depthweave.spaces.block_style import block_style_of
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.widths import Sizing
from depthweave.spaces.wiring_grammar import WHOLE_GRAMMAR
from depthweave.spaces.wiring_text import parse_rule


def _period(value: Any) -> Any:
    if value == "depth" or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{value!r:.{SHOWN_CHARACTERS}} is not a period: give whole numbers of at least 1, or depth")


def _wiring(value: Any) -> Any:
    return value if value == WHOLE_GRAMMAR else parse_rule(value, others=(WHOLE_GRAMMAR,)).text


def _block(value: Any) -> Any:
    return block_style_of(value).to_value()


PeriodEntry = Annotated[int | Literal["depth"], BeforeValidator(_period)]
_Wiring = Annotated[str, BeforeValidator(_wiring)]


class SpaceSpec(Part):
    """The axes of the space; see `depthweave.spaces.space.Axes`."""

    fusions: tuple[str, ...] = ("none", "dwa", "dwatt", "concat")
    wirings: tuple[_Wiring, ...] = ()
    """Wiring rules beside the product of dilations and periods, such as `first:2`, or `all`. Where they are given and
    neither dilations nor periods are, these are empty."""
    dilations: tuple[Whole, ...] = (1, 2, 4)
    periods: tuple[PeriodEntry, ...] = (1, 2, 4, "depth")
    depths: tuple[Whole, ...] = (6, 12)
    budgets: tuple[Whole, ...] = (300_000,)
    """Parameter budgets, without the token embedding."""
    head_width: Whole = Field(default=32, ge=2, multiple_of=2)
    """Width of an attention head; even, because rotary positions rotate pairs."""
    width: Whole | None = Field(default=None, ge=1)
    """Size of a state, a multiple of `head_width`; follows from depth and budget where absent."""
    sizing: Sizing = "ratio"
    """How sizes follow from depth and budget: `ratio`, by the plain transformer's feed-forward ratio, or `nearest`, the
    rule of earlier versions."""
    block: Annotated[str | dict[str, Any], BeforeValidator(_block)] = "gpt"
    """Which layers every block has: `gpt`, `llama`, or a mapping of `kind`, `heads_per_kv` and `qk_norm`."""
    sparse: SparseAxes | None = None
    """Sparse graphs that the search may propose beside the combinations; none where absent."""

    @field_validator("fusions")
    @classmethod
    def _known_fusions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            fusion_class(name)
        return names

    @model_validator(mode="before")
    @classmethod
    def _wirings_alone(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("wirings"), str):
            # One wiring needs no brackets.
            values = {**values, "wirings": (values["wirings"],)}
        if (
            not isinstance(values, dict)
            or not values.get("wirings")
            or values.get("dilations")
            or values.get("periods")
        ):
            return values
        return {**values, "dilations": (), "periods": ()}

    @field_validator("fusions", "wirings", "dilations", "periods", "depths", "budgets")
    @classmethod
    def _axis(cls, values: tuple[int | str, ...], info: ValidationInfo) -> tuple[int | str, ...]:
        is_optional = info.field_name == "wirings" or (
            info.field_name in ("dilations", "periods") and info.data.get("wirings")
        )
        if not values and not is_optional:
            raise ValueError("the list is empty: give at least one value")
        if info.field_name == "periods" and bool(values) != bool(info.data.get("dilations", values)):
            raise ValueError("one of dilations and periods is empty: give values in both, or in none")
        if len(set(values)) < len(values):
            raise ValueError(f"{list(values)} has a repeated value: list each once")
        for value in values:
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{value} is below 1: give a whole number of at least 1")
        return values

    @field_validator("width")
    @classmethod
    def _whole_heads(cls, width: int | None, info: ValidationInfo) -> int | None:
        head_width = info.data.get("head_width")
        if width is not None and head_width is not None and width % head_width:
            raise ValueError(f"{width} is not a multiple of head_width, which is {head_width}: change one of them")
        return width

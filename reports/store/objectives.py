"""The objectives that a search may minimise, and everything that the other modules know about them.

An objective is one row of `OBJECTIVES`. Its value is a column of `Record`, or a function of the columns. Specs,
searches, tables, figures, pages, model cards and comparisons read the row; none of them lists objectives by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from depthweave.spaces.unknown_names import unknown_name

Format = Literal["number", "ratio", "bytes", "count"]
"""How a value is written: "3.914", "1.08×", "412 MiB", "1.23 M"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """One number of a trial to be minimised."""

    name: str
    """What a spec, a condition of `--where` and a JSON key call it; a column of `Record` where `source` is `None`."""
    title: str
    """What axes, tables of the page and sentences call it."""
    short: str
    """What the text beside a point under the pointer calls it."""
    column_heading: str
    """Column heading of a table in a terminal."""
    meaning: str
    """What a model card says of the number."""
    format: Format
    unit: str = ""
    """Follows a number or a count: "bit/byte". A ratio is to the reference, and bytes have their own units."""
    direction: Literal["minimize"] = "minimize"
    """All objectives are minimised. A quantity to maximise takes a `source` that returns its negative or reciprocal."""
    tolerance: float
    """Relative difference below which two values are as good as equal, unless a spec says otherwise: what two
    measurements of a time or two trainings of one size differ by; of bytes and counts, how well a budget is met."""
    cost: bool
    """Whether the value is known before training. All objectives but the losses are costs."""
    of_loss: Literal["exponential", "proportional", "itself"] | None = None
    """How the value follows from the validation loss, nat/token; `itself` where a task records this value as the loss;
    `None` for a cost. It gives the value at the mean loss of several seeds, and the interval over them."""
    timing: Literal["forward", "step", "decode"] | None = None
    """What a clock has to time for it; `None` where nothing is timed."""
    measured: bool = False
    """Whether it is measured on the device, so that another kind of device gives another value."""
    compared_on: tuple[str, ...] = ()
    """The facts (`comparison.comparability`) in which two runs must agree for their values to be compared."""
    source: Callable[[Any], float | None] | None = None
    """The value as a function of a record, which returns `None` where a column that it reads is absent; `None` for the
    column `name`. The function of a cost may read only what is known before training: the architecture, its counted
    costs and its measurement."""
    select_rule: Literal["fastest", "smallest"] | None = None
    """The rule of `--select` that takes the lowest value of it."""
    extra_columns: tuple[str, ...] = ()
    """Further columns of `Record` that `depthweave show --json` prints after it."""

    @property
    def timed(self) -> bool:
        """Whether a clock gives the value. `Record` then has its 95 % interval, `NAME_low` and `NAME_high`."""
        return self.timing is not None and self.source is None

    @property
    def interval_columns(self) -> tuple[str, ...]:
        """The columns of `Record` that hold the interval of its measurement; empty where it has none."""
        return (f"{self.name}_low", f"{self.name}_high") if self.timed else ()

    @property
    def measured_columns(self) -> tuple[str, ...]:
        """The columns of `Record` that a measurement fills for it."""
        if not self.measured or self.source is not None:
            return ()
        seconds = (f"{self.name}_s", f"reference_{self.name}_s") if self.timed else ()
        return (self.name, *self.interval_columns, *seconds)

    def of(self, record: Any) -> Any:
        """Returns the value of a record, or of any object that has the columns it takes; `None` where it is absent."""
        return getattr(record, self.name) if self.source is None else self.source(record)

    def at_loss(self, loss: float, *, value: float, mean: float) -> float:
        """Returns the value of a quality objective at `loss`, where it is `value` at the loss `mean`."""
        if self.of_loss == "proportional":
            return value * (loss / mean)
        return math.exp(loss) if self.of_loss == "exponential" else loss


_LOSS, _CLOCK, _COUNT = 0.005, 0.02, 0.01
"""Tolerances: 0.005 nat/token of the loss is 0.5 % of the perplexity."""

_SAME_TEXT = ("corpus", "context", "evaluation tokens")
_SAME_SHAPE = ("batch", "context", "precision", "compiled")
_SAME_CLOCK = ("device", "hardware", "threads", "reference", *_SAME_SHAPE)
_SAME_ALLOCATOR = ("device", "allocator", *_SAME_SHAPE)

OBJECTIVES: dict[str, Objective] = {
    item.name: item
    for item in (
        Objective(
            name="perplexity",
            title="validation perplexity",
            short="perplexity",
            column_heading="perplexity",
            meaning="validation perplexity, per token",
            format="number",
            tolerance=_LOSS,
            cost=False,
            of_loss="exponential",
            # It is per token, and so depends on the tokenizer. Bits per byte compare tokenizers.
            compared_on=("tokenizer", *_SAME_TEXT),
        ),
        Objective(
            name="bits_per_byte",
            title="validation loss",
            short="bits per byte",
            column_heading="bit/byte",
            meaning="validation bits per byte of text",
            format="number",
            unit="bit/byte",
            # At a loss of 2 nat/token the same 0.005.
            tolerance=_LOSS / 2,
            cost=False,
            of_loss="proportional",
            compared_on=_SAME_TEXT,
        ),
        # For every task but language modelling; the task says what it measures.
        Objective(
            name="error",
            title="validation error",
            short="validation error",
            column_heading="error",
            meaning="validation error, as the task defines it",
            format="number",
            tolerance=_LOSS,
            cost=False,
            of_loss="itself",
            compared_on=("tokenizer", *_SAME_TEXT, "draws"),
        ),
        Objective(
            name="latency",
            title="forward latency",
            short="latency",
            column_heading="latency",
            meaning="forward latency, relative to the run's reference",
            format="ratio",
            tolerance=_CLOCK,
            cost=True,
            timing="forward",
            measured=True,
            compared_on=_SAME_CLOCK,
            select_rule="fastest",
            extra_columns=("trial_latency",),
        ),
        Objective(
            name="step_latency",
            title="training-step latency",
            short="step latency",
            column_heading="step",
            meaning="training-step latency, relative to the run's reference",
            format="ratio",
            tolerance=_CLOCK,
            cost=True,
            timing="step",
            measured=True,
            compared_on=_SAME_CLOCK,
        ),
        Objective(
            name="decode_latency",
            title="decoding latency",
            short="decoding latency",
            column_heading="decode",
            meaning="latency of a decoded token, relative to the run's reference",
            format="ratio",
            tolerance=_CLOCK,
            cost=True,
            timing="decode",
            measured=True,
            compared_on=_SAME_CLOCK,
        ),
        Objective(
            name="memory_bytes",
            title="memory of a training step",
            short="step memory",
            column_heading="memory",
            meaning="peak memory of a training step",
            format="bytes",
            tolerance=_COUNT,
            cost=True,
            measured=True,
            compared_on=_SAME_ALLOCATOR,
            select_rule="smallest",
        ),
        Objective(
            name="forward_memory_bytes",
            title="memory of a forward pass",
            short="forward memory",
            column_heading="fwd memory",
            meaning="peak memory of a forward pass",
            format="bytes",
            tolerance=_COUNT,
            cost=True,
            measured=True,
            compared_on=_SAME_ALLOCATOR,
        ),
        Objective(
            name="parameters",
            title="parameters without embedding",
            short="parameters",
            column_heading="params",
            meaning="parameters without the token embedding",
            format="count",
            tolerance=_COUNT,
            cost=True,
            select_rule="smallest",
        ),
        Objective(
            name="forward_flops",
            title="operations of a forward pass",
            short="operations",
            column_heading="fwd flop",
            meaning="operations of a forward pass",
            format="count",
            unit="flop/token",
            tolerance=_COUNT,
            cost=True,
            # Attention's operations grow with the context.
            compared_on=("context",),
        ),
    )
}

QUALITY = "perplexity"
"""The quality of language modelling, with which a run is reported whichever objectives its search had."""
_OWN_COLUMN = "parameters"
"""Tables show it beside the architecture, whether it is an objective or not."""


def objective(name: str) -> Objective:
    """Returns the objective of that name; raises `ValueError` with the nearest known name where there is none."""
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    raise ValueError(unknown_name("objective", name, OBJECTIVES))


def column_value(record: Any, name: str) -> Any:
    """Returns the objective or the column of that name of a record; `None` where it is absent."""
    known = OBJECTIVES.get(name)
    return getattr(record, name) if known is None else known.of(record)


def quality_names(objectives: Sequence[str]) -> list[str]:
    """Returns the objectives that are known only after training."""
    return [name for name in objectives if not OBJECTIVES[name].cost]


def cost_names(objectives: Sequence[str]) -> list[str]:
    """Returns the objectives that are known before training."""
    return [name for name in objectives if OBJECTIVES[name].cost]


def searched_quality(objectives: Sequence[str]) -> str:
    """Returns the quality that figures draw against each cost: perplexity if the search minimised it, else the first.

    A search of costs alone has perplexity too.
    """
    qualities = quality_names(objectives)
    return qualities[0] if qualities and QUALITY not in qualities else QUALITY


def reported_quality(objectives: Sequence[str]) -> str:
    """Returns the quality that tables and sentences begin with: perplexity, or the first quality of another task.

    A search of bits per byte is reported in perplexity too: on the one text of a run both rank architectures alike.
    """
    others = [name for name in quality_names(objectives) if OBJECTIVES[name].of_loss == "itself"]
    return others[0] if others and QUALITY not in objectives else QUALITY


def table_columns(objectives: Sequence[str]) -> list[str]:
    """Returns the objectives that a table of the front has columns for: the quality first, parameters left out."""
    return [name for name in dict.fromkeys((reported_quality(objectives), *objectives)) if name != _OWN_COLUMN]

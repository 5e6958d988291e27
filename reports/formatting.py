"""Texts for numbers, units and architectures, shared by tables, figures, page and model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from depthweave.reports.store.objectives import OBJECTIVES, QUALITY, Format
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import wiring_name
from depthweave.spaces.block_style import GPT, BlockStyle

STATE_WORDS = {
    "complete": "complete",
    "pruned": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
}
"""What a reader sees for each `Record.state`."""

ESTIMATE = "~"
"""Mark of a loss that no training gave (`analysis.seeds.averaged`)."""
ESTIMATE_TEXT = "~: without fresh seeds; estimated for them from the search's seed"
"""What the mark means."""


class _Written(NamedTuple):
    """How the values of a column are written."""

    format: Format
    unit: str = ""
    title: str = ""


_OTHER_COLUMNS = {
    "loss": _Written("number", "nat/token", "validation loss"),
    "trial_latency": _Written("ratio", title="forward latency while other trials ran"),
    "embedding_parameters": _Written("count"),
}
"""Columns with a unit that are no objectives."""


class Axis(NamedTuple):
    """An axis: values are divided by `divisor`, and `title` has the resulting unit."""

    title: str
    divisor: float


def axis_of(column: str, values: Iterable[float]) -> Axis:
    """Returns the axis of a record column, in the unit that fits the largest of `values`."""
    title, written = title_of(column), _written(column)
    largest = max((abs(value) for value in values), default=0.0)
    if written.format == "ratio":
        return Axis(f"{title} (× reference)", 1.0)
    if written.format == "bytes":
        divisor, prefix = _binary(largest)
        return Axis(f"{title} ({prefix}B)", divisor)
    if written.format == "count":
        divisor, prefix = _decimal(largest)
        unit = f"{prefix}{written.unit}"
        return Axis(f"{title} ({unit})" if unit else title, divisor)
    return Axis(f"{title} ({written.unit})" if written.unit else title, 1.0)


def show(column: str, value: float | None) -> str:
    """Returns a record's value with its unit as text: "3.914", "1.08×", "412 MiB", "1.23 M"; "-" for `None`."""
    if value is None:
        return "-"
    written = _written(column)
    if written.format == "ratio":
        return f"{value:.2f}×"
    if written.format == "bytes":
        return bytes_text(value)
    if written.format == "count":
        divisor, prefix = _decimal(abs(value))
        return f"{_digits(value / divisor)} {prefix}{written.unit}".rstrip()
    if isinstance(value, int):
        return f"{value:,}"
    if written.unit:
        return f"{value:.3f} {written.unit}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def show_quality(column: str, value: float | None, *, estimated: bool) -> str:
    """Returns the text of `show`, with a mark where it is of the loss, and that is an estimate."""
    written = OBJECTIVES.get(column)
    mark = ESTIMATE if estimated and value is not None and written is not None and written.of_loss else ""
    return mark + show(column, value)


def title_of(column: str) -> str:
    """Returns the title of a column without its unit."""
    return _written(column).title or column.replace("_", " ")


def quality_word(quality: str) -> str:
    """Returns how sentences name a quality objective: "perplexity", "validation error"."""
    return quality if quality == QUALITY else title_of(quality)


def _written(column: str) -> _Written:
    if column in OBJECTIVES:
        item = OBJECTIVES[column]
        return _Written(item.format, item.unit, item.title)
    if column in _OTHER_COLUMNS:
        return _OTHER_COLUMNS[column]
    measured = next((item for item in OBJECTIVES.values() if column in item.interval_columns), None)
    return _Written("number") if measured is None else _Written(measured.format, measured.unit)


def bytes_text(value: float) -> str:
    """Returns bytes in a binary unit that fits: "412 MiB"."""
    divisor, prefix = _binary(abs(value))
    return f"{_digits(value / divisor)} {prefix}B"


def parts_text(num_bytes: Sequence[int]) -> str:
    """Returns the parts of a text with their shares: "8.8 MiB to train on (93 %), 383 KiB to validate on (4 %)"."""
    whole = max(1, sum(num_bytes))
    uses = ("to train on", "to validate on", "to test on")
    parts = [
        f"{bytes_text(size)} {use} ({100 * size / whole:.2g} %)"
        for size, use in zip(num_bytes, uses, strict=True)
        if size
    ]
    return ", ".join(parts)


def count_text(value: float) -> str:
    """Returns a count with a decimal prefix: "1.23 M", "640"."""
    divisor, prefix = _decimal(abs(value))
    return f"{_digits(value / divisor)} {prefix}".rstrip() if prefix else f"{value:.0f}"


def duration_text(seconds: float) -> str:
    """Returns a duration as text: "42 s", "5 min 12 s", "3 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 or seconds == whole else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def plural(number: int, noun: str) -> str:
    """Returns a count with its noun: "1 trial", "12 trials", "1,200 architectures"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def listed(parts: Sequence[str]) -> str:
    """Returns the parts as text: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def block_of(record: Record) -> BlockStyle:
    """Returns the style of the record's blocks."""
    return BlockStyle(kind=record.block, heads_per_kv=record.heads_per_kv, qk_norm=record.qk_norm)


def blocks_text(depth: int, style: BlockStyle) -> str:
    """Returns "12 blocks", with the style unless it is `gpt`: "12 blocks (llama, query-key norm)"."""
    return plural(depth, "block") + ("" if style == GPT else f" ({style.text})")


def fusion_word(records: Iterable[Record]) -> str:
    """Returns the word for what the records' `fusion` is."""
    return "head" if any(it.head is not None for it in records) else "fusion"


def short_name(record: Record) -> str:
    """Returns fusion and wiring: "dwa 4×1", "dwa first:2", "none"."""
    return f"{record.fusion} {wiring_name(record)}".strip()


def full_name(record: Record) -> str:
    """Returns fusion, wiring and depth: "dwa 4×1, 12 blocks", with the style of the blocks unless it is `gpt`."""
    return f"{short_name(record)}, {blocks_text(record.depth, block_of(record))}"


def _digits(value: float) -> str:
    """Returns three significant digits without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _binary(largest: float) -> tuple[float, str]:
    for exponent, prefix in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if largest >= 1024**exponent:
            return float(1024**exponent), prefix
    return 1.0, ""


def _decimal(largest: float) -> tuple[float, str]:
    for exponent, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if largest >= 10**exponent:
            return float(10**exponent), prefix
    return 1.0, ""

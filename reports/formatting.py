"""Numbers, units and architectures in the words that tables, figures, page and model card share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from depthweave.reports.store.records import Record

STATE_WORDS = {
    "complete": "complete",
    "pruned": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
}
"""What a reader sees for each `Record.state`."""

_TITLES = {
    "perplexity": "validation perplexity",
    "loss": "validation loss",
    "error": "validation error",
    "bits_per_byte": "validation loss",
    "latency": "forward latency",
    "step_latency": "training-step latency",
    "decode_latency": "decoding latency",
    "trial_latency": "forward latency, others beside it",
    "memory_bytes": "memory of a training step",
    "forward_memory_bytes": "memory of a forward pass",
    "parameters": "parameters without embedding",
    "forward_flops": "operations of a forward pass",
}
_UNITS = {"loss": "nat/token", "bits_per_byte": "bit/byte"}
_RELATIVE = ("latency", "step_latency", "decode_latency", "trial_latency", "latency_low", "latency_high")
_BYTES = ("memory_bytes", "forward_memory_bytes")
_COUNTS = {"parameters": "", "embedding_parameters": "", "forward_flops": "flop/token"}


class Axis(NamedTuple):
    """How a column is drawn: its values are divided by `divisor`, and `title` says in which unit they then are."""

    title: str
    divisor: float


def axis_of(column: str, values: Iterable[float]) -> Axis:
    """The axis of a record column, in the unit that suits the largest of `values`."""
    title = _TITLES.get(column, column.replace("_", " "))
    largest = max((abs(value) for value in values), default=0.0)
    if column in _RELATIVE:
        return Axis(f"{title} (× reference)", 1.0)
    if column in _BYTES:
        divisor, prefix = _binary(largest)
        return Axis(f"{title} ({prefix}B)", divisor)
    if column in _COUNTS:
        divisor, prefix = _decimal(largest)
        unit = " ".join(part for part in (prefix, _COUNTS[column]) if part).replace(" flop", "flop")
        return Axis(f"{title} ({unit})" if unit else title, divisor)
    return Axis(f"{title} ({_UNITS[column]})" if column in _UNITS else title, 1.0)


def show(column: str, value: float | None) -> str:
    """A record's value with its unit, for a person: "3.914", "1.08×", "412 MiB", "1.23 M"; "-" where absent."""
    if value is None:
        return "-"
    if column in _RELATIVE:
        return f"{value:.2f}×"
    if column in _BYTES:
        return bytes_text(value)
    if column in _COUNTS:
        divisor, prefix = _decimal(abs(value))
        unit = f"{prefix}{_COUNTS[column]}"
        return f"{_digits(value / divisor)} {unit}".rstrip()
    if isinstance(value, int):
        return f"{value:,}"
    if column in _UNITS:
        return f"{value:.3f} {_UNITS[column]}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def title_of(column: str) -> str:
    """What a column is called where its unit stands elsewhere."""
    return _TITLES.get(column, column.replace("_", " "))


def bytes_text(value: float) -> str:
    """Bytes in the binary unit that suits them."""
    divisor, prefix = _binary(abs(value))
    return f"{_digits(value / divisor)} {prefix}B"


def parts_text(num_bytes: Sequence[int]) -> str:
    """The parts of a text with their shares: "8.8 MiB to train on (93 %), 383 KiB to validate on (4 %), ..."."""
    whole = max(1, sum(num_bytes))
    uses = ("to train on", "to validate on", "to test on")
    told = [
        f"{bytes_text(size)} {use} ({100 * size / whole:.2g} %)"
        for size, use in zip(num_bytes, uses, strict=True)
        if size
    ]
    return ", ".join(told)


def count_text(value: float) -> str:
    """A count with a decimal prefix: "1.23 M", "640"."""
    divisor, prefix = _decimal(abs(value))
    return f"{_digits(value / divisor)} {prefix}".rstrip() if prefix else f"{value:.0f}"


def duration_text(seconds: float) -> str:
    """Seconds as a person says them: "42 s", "5 min 12 s", "3 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 or seconds == whole else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def plural(number: int, noun: str) -> str:
    """ "1 trial", "12 trials", "1,200 architectures"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def pattern_of(record: Record) -> str:
    """The rule that made the wiring, dilation × period: "4×1"; empty where there is no fusion."""
    if record.fusion == "none" or record.dilation is None or record.period is None:
        return ""
    return f"{record.dilation}×{record.period}"


def short_name(record: Record) -> str:
    """Fusion and pattern: "dwa 4×1", "none"."""
    return f"{record.fusion} {pattern_of(record)}".strip()


def full_name(record: Record) -> str:
    """Fusion, pattern and depth: "dwa 4×1, 12 blocks"."""
    return f"{short_name(record)}, {plural(record.depth, 'block')}"


def _digits(value: float) -> str:
    """Three significant digits and no exponent."""
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

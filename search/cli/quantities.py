"""Numbers with a unit on the command line: `30m` of time, `500k` tokens."""

from __future__ import annotations

from collections.abc import Mapping

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TOKENS = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def parse_seconds(text: str, *, option: str) -> float:
    """Returns the seconds that `text` means; raises `ValueError`, which names the option, if it is not a time."""
    try:
        return _parse(text, _SECONDS)
    except ValueError:
        raise ValueError(f"{option} {text}: give seconds, or a number with s, m, h or d") from None


def parse_tokens(text: str, *, option: str) -> int:
    """Returns the number of tokens that `text` means; raises `ValueError`, which names the option, if below 1."""
    try:
        tokens = round(_parse(text.lower(), _TOKENS))
    except (ValueError, OverflowError):
        raise ValueError(f"{option} {text}: give a number, such as 500k or 20M") from None
    if tokens < 1:
        raise ValueError(f"{option} {text}: give at least one token")
    return tokens


def _parse(text: str, units: Mapping[str, int]) -> float:
    factor = units.get(text[-1:])
    return float(text) if factor is None else float(text[:-1]) * factor

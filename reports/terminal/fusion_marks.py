"""The mark of each fusion in plots of a terminal: one character, readable without colour.

Fusions of a family have similar outlines. A fusion outside the table gets a spare mark, by the other names of the run.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

_MARKS = {
    "none": "○",
    "dwa": "●",
    "dwatt": "▲",
    "concat": "■",
    "mudd": "▼",
    "mudd2": "▽",
    "mudd4": "◥",
    "mudd4_norm": "◤",
    "attnres": "◇",
    "attnres_full": "◆",
    "attnres3": "◈",
    "hc2": "□",
    "hc4": "▣",
    "dhc2": "◧",
    "dhc4": "◨",
    "mhc2": "◩",
    "mhc4": "◪",
    "gated2": "△",
    "gated4": "◭",
    "value_residual": "◎",
}
_HEAD_MARKS = {"last": "○", "deeper": "◇", "mix": "▼"}
"""Of heads that are no fusions. No run has them beside fusions that are no heads."""
_SPARE_MARKS = "◐◑◒◓◉★☆" + string.ascii_lowercase


def marks_of(fusions: Iterable[str]) -> dict[str, str]:
    """Returns the mark of each of a run's fusions. Any two differ, unless over 33 are outside the table."""
    names = sorted(set(fusions))
    found = {name: known for name in names if (known := _HEAD_MARKS.get(name) or _MARKS.get(name))}
    others = [name for name in names if name not in found]
    return found | {name: _SPARE_MARKS[place % len(_SPARE_MARKS)] for place, name in enumerate(others)}

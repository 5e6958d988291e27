"""Optuna's journal with a sum in every line: a bit that flips in it is found, also where the line stays JSON.

Optuna overlooks the key, and so does `optuna-dashboard`. Lines of earlier versions have none and are not checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from optuna.storages.journal import JournalFileBackend

SUM = "sum"
_DIGITS = 16


class ChecksummedJournal(JournalFileBackend):
    """Writes lines that hold the sum of the rest of them."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs([{**log, SUM: _sum_of(log)} for log in logs])


def has_valid_checksum(entry: Mapping[str, Any]) -> bool:
    """Whether a line's values are as they were written; true where it has no sum."""
    return SUM not in entry or entry[SUM] == _sum_of({name: entry[name] for name in entry if name != SUM})


def _sum_of(log: Mapping[str, Any]) -> str:
    # As it will be read: the keys of JSON are texts.
    text = json.dumps(json.loads(json.dumps(log)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

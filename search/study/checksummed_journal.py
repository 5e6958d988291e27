"""Optuna's journal with a checksum in every line, which detects a flipped bit even where the line remains valid JSON.

Optuna and `optuna-dashboard` ignore the additional key. Lines of earlier versions have no checksum and are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.storages.journal import JournalFileBackend

from depthweave.spaces.checksums import checksum_of_values

CHECKSUM_KEY = "sum"
_DIGITS = 16


class ChecksummedJournal(JournalFileBackend):
    """Adds to every line the checksum of its other values."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs([{**log, CHECKSUM_KEY: _checksum(log)} for log in logs])


def has_valid_checksum(entry: Mapping[str, Any]) -> bool:
    """Returns whether a line's values match its checksum; true for a line without one."""
    return CHECKSUM_KEY not in entry or entry[CHECKSUM_KEY] == _checksum(
        {name: entry[name] for name in entry if name != CHECKSUM_KEY}
    )


def _checksum(log: Mapping[str, Any]) -> str:
    return checksum_of_values(log)[:_DIGITS]

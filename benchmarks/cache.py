"""Runs of a benchmark, kept one a line so that none is repeated; formats of seeds and values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
Run = dict[str, Any]


class Cache:
    """The runs of one benchmark, a JSON line each."""

    def __init__(self, name: str, *, folder: Path = FOLDER) -> None:
        self._path = folder / f"{name}.jsonl"

    def runs(self) -> list[Run]:
        """Returns the kept runs."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        # A line that a crash cut short has no line end; its run is repeated.
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def keep(self, run: Run) -> None:
        """Adds one with a single write, so that lines of two processes do not mix."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")

    def forget(self, which: Callable[[Run], bool]) -> None:
        """Drops the runs for which this is true; nothing else may write meanwhile."""
        kept = [run for run in self.runs() if not which(run)]
        self._path.write_text("".join(json.dumps(run) + "\n" for run in kept), encoding="utf-8")


def seed_range(text: str) -> list[int]:
    """Returns the seeds of `0-9`, both ends included, or of `7`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def rounded(*values: float | None) -> list[float | None]:
    """Returns values with four decimals; absent and infinite values become null in JSON."""
    return [None if value is None or math.isinf(value) else round(value, 4) for value in values]

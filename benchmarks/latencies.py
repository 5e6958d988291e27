"""Latencies of many architectures, a portion at a time, each kept at once: a kill loses one portion."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from depthweave.spaces import Architecture
from depthweave.trainers import Recipe, hardware, measure_in_turn

IN_TURN = 8
LIMIT_S = 15.0
"""Longest time for each architecture."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Latencies:
    """Forward latencies relative to a reference, one line an architecture."""

    path: Path
    reference: Architecture
    recipe: Recipe

    def measure(self, architectures: Sequence[Architecture], *, only: int | None = None, limit_s: float) -> None:
        """Measures what is missing, at most `only` of them, and keeps every portion at once."""
        known = read(self.path)
        left = [item for item in architectures if item.id not in known][:only]
        for start in range(0, len(left), IN_TURN):
            known |= {line["architecture_id"]: line for line in self._measured(left[start : start + IN_TURN], limit_s)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Written under another name first: a kill leaves the file unchanged.
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(json.dumps(line) + "\n" for line in known.values()), encoding="utf-8")
            partial.replace(self.path)
            noise = max(line["noise_frac"] for line in known.values())
            print(f"{len(known)} measured; the reference's own times vary by {noise:.1%} at most", flush=True)

    def _measured(self, architectures: Sequence[Architecture], limit_s: float) -> Iterator[dict[str, Any]]:
        cpu = torch.device("cpu")
        found = measure_in_turn(
            architectures,
            reference=self.reference,
            recipe=self.recipe,
            device=cpu,
            time_limit_s=limit_s,
            kinds=("forward",),
        )
        for architecture, one in zip(architectures, found, strict=True):
            yield {
                "architecture_id": architecture.id,
                "latency": one.latency,
                "latency_low": one.latency_low,
                "latency_high": one.latency_high,
                "memory_bytes": one.memory_bytes,
                "forward_memory_bytes": one.forward_memory_bytes,
                "rounds": one.rounds,
                "noise_frac": one.noise_frac,
                "hardware": hardware(cpu),
                "torch": version("torch"),
            }


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Returns what was measured, by architecture id."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["architecture_id"]: line for line in lines}

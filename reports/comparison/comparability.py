"""What may be compared between two runs, objective by objective, and why the rest may not.

A number means something only together with what it was measured on: a perplexity with its text and tokenizer, a
latency with its machine. Each objective names the facts that have to be the same in both runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.formatting import full_name, plural, show, title_of
from depthweave.reports.store.records import Record

Facts = Mapping[str, tuple[str, ...]]
"""Fact to what a run has of it, as a person reads it: one value, or several where the run itself is mixed."""

_TEXT = ("corpus", "context", "evaluation tokens")
_SHAPE = ("batch", "context", "precision", "compiled")
_CLOCK = ("device", "hardware", "threads", "reference", *_SHAPE)
_BASIS: Mapping[str, tuple[str, ...]] = {
    # Per token, and so of one tokenizer; bits per byte are for comparing tokenizers.
    "perplexity": ("tokenizer", *_TEXT),
    "bits_per_byte": _TEXT,
    "error": ("tokenizer", *_TEXT),
    "latency": _CLOCK,
    "step_latency": _CLOCK,
    "decode_latency": _CLOCK,
    "memory_bytes": ("device", "allocator", *_SHAPE),
    "forward_memory_bytes": ("device", "allocator", *_SHAPE),
    "parameters": (),
    # Attention's operations grow with the context.
    "forward_flops": ("context",),
}


class Refusal(NamedTuple):
    """Why one objective of two runs may not be compared."""

    objective: str
    reason: str


def facts_of(records: Sequence[Record]) -> Facts:
    """What the run's complete trials were trained and measured on; at least one has to be complete."""
    finished = [record for record in records if record.state == "complete"]
    seen: dict[str, set[str]] = {}

    def note(fact: str, value: object) -> None:
        seen.setdefault(fact, set()).add("unknown" if value is None else str(value))

    for record in finished:
        recipe = json.loads(record.recipe)
        note("corpus", f"{record.corpus} {record.corpus_sha256[:8]}")
        note("tokenizer", record.tokenizer)
        note("context", recipe.get("context"))
        note("evaluation tokens", recipe.get("evaluation_tokens"))
        note("batch", recipe.get("batch"))
        note("precision", recipe.get("precision"))
        note("compiled", "compiled" if recipe.get("compile") else "not compiled")
        note("device", record.device)
        note("hardware", record.hardware)
        note("threads", plural(record.threads, "thread"))
        # Counted bytes of a CPU are the same on every one; an accelerator's allocator is its own.
        note("allocator", "counted tensors" if record.device == "cpu" else record.hardware)
        if record.reference:
            parameters = show("parameters", record.parameters)
            note("reference", f"{full_name(record)}, {parameters} ({record.architecture_id})")
    seen.setdefault("reference", {"none complete"})
    return {fact: tuple(sorted(values)) for fact, values in seen.items()}


def why_not_comparable(objective: str, *, first: Facts, second: Facts) -> str:
    """One phrase that names the first facts in which the two runs differ; empty where they may be compared."""
    faults = []
    for fact in _BASIS[objective]:
        mine, other = first[fact], second[fact]
        if len(mine) > 1 or len(other) > 1:
            several = mine if len(mine) > 1 else other
            faults.append(f"several kinds of {fact} within one run ({', '.join(several)})")
        elif mine != other:
            faults.append(f"other {fact} ({mine[0]} against {other[0]})")
    return "; ".join(faults)


def refusals(objectives: Sequence[str], *, first: Facts, second: Facts) -> list[Refusal]:
    """Of these objectives those that may not be compared between the two runs, with the reason."""
    found = [Refusal(name, why_not_comparable(name, first=first, second=second)) for name in objectives]
    return [item for item in found if item.reason]


def refusal_sentence(refused: Refusal) -> str:
    """For a reader: what is not mixed, and why."""
    return f"{title_of(refused.objective).capitalize()} is not compared: {refused.reason}."

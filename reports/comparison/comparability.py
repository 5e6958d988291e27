"""Which objectives can be compared between two runs, and why the others cannot.

A value has a meaning only together with the conditions of its measurement: a perplexity with its text and tokenizer, a
latency with its machine. Each objective names the facts that must be equal in both runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.formatting import block_of, full_name, plural, show, title_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record

Facts = Mapping[str, tuple[str, ...]]
"""The values of each fact in a run, as texts: one, or several if trials of the run differ."""


class Refusal(NamedTuple):
    """Why one objective cannot be compared between two runs."""

    objective: str
    reason: str


def facts_of(records: Sequence[Record]) -> Facts:
    """Returns the conditions of the run's complete trials. There must be at least one."""
    finished = [record for record in records if record.state == "complete"]
    seen: dict[str, set[str]] = {}

    def note(fact: str, value: object) -> None:
        seen.setdefault(fact, set()).add("unknown" if value is None else str(value))

    for record in finished:
        recipe = json.loads(record.recipe)
        note("corpus", f"{record.corpus} {record.corpus_sha256[:8]}")
        note("block", block_of(record).text)
        note("tokenizer", record.tokenizer)
        note("context", recipe.get("context"))
        note("evaluation tokens", recipe.get("evaluation_tokens"))
        note("draws", _draws_of(record))
        note("batch", recipe.get("batch"))
        note("precision", recipe.get("precision"))
        note("compiled", "compiled" if recipe.get("compile") else "not compiled")
        note("device", record.device)
        note("hardware", record.hardware)
        note("threads", plural(record.threads, "thread"))
        # Bytes counted on a CPU are the same on every CPU. Each kind of accelerator has its own allocator.
        note("allocator", "counted tensors" if record.device == "cpu" else record.hardware)
        if record.reference:
            parameters = show("parameters", record.parameters)
            note("reference", f"{full_name(record)}, {parameters} ({record.architecture_id})")
    seen.setdefault("reference", {"none complete"})
    return {fact: tuple(sorted(values)) for fact, values in seen.items()}


def _draws_of(record: Record) -> str | None:
    """Returns the trainings of a trial over few sentences: "3 of 50, 3 of 400"; `None` for other tasks."""
    if record.entity_scores is None:
        return None
    draws: dict[int, set[int]] = {}
    for row in record.entity_scores:
        draws.setdefault(row.shots, set()).add(row.draw)
    return ", ".join(f"{len(own)} of {shots}" for shots, own in sorted(draws.items()))


def why_not_comparable(objective: str, *, first: Facts, second: Facts) -> str:
    """Returns a phrase that names the facts in which the two runs differ; empty if the objective can be compared."""
    differences = []
    for fact in OBJECTIVES[objective].compared_on:
        mine, other = first[fact], second[fact]
        if len(mine) > 1 or len(other) > 1:
            several = mine if len(mine) > 1 else other
            differences.append(f"several values of {fact} within one run ({', '.join(several)})")
        elif mine != other:
            differences.append(f"different {fact} ({mine[0]} and {other[0]})")
    return "; ".join(differences)


def refusals(objectives: Sequence[str], *, first: Facts, second: Facts) -> list[Refusal]:
    """Returns those of the objectives that cannot be compared between the two runs, with the reason."""
    found = [Refusal(name, why_not_comparable(name, first=first, second=second)) for name in objectives]
    return [item for item in found if item.reason]


def refusal_sentence(refused: Refusal) -> str:
    """Returns a sentence for the reader: which objective is not compared and why."""
    return f"{title_of(refused.objective).capitalize()} is not compared: {refused.reason}."

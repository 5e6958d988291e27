"""How a run's numbers came about, in the words of its records: recipe, corpus, machine, what each number means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.analysis.verdicts import MIN_SEEDS
from depthweave.reports.formatting import title_of
from depthweave.reports.store.objectives import quality_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_info import RunInfo
from depthweave.reports.store.tolerance import tolerance_text

_MAX_LISTED = 4


def method_notes(records: Sequence[Record], *, info: RunInfo) -> list[tuple[str, str]]:
    """Terms and what they mean in this run, in reading order; a run without records gives those known before."""
    notes = [
        ("Objectives", ", ".join(title_of(name) for name in info.objectives) + "; all are minimised."),
        (
            "Twins",
            "A member of the front that another matches within tolerance in every objective stands under it, as its "
            f"twin: {tolerance_text(info.objectives, info.tolerance_of)}. Of several that match each other a settled "
            "one goes first, then the simplest.",
        ),
        (
            "Front",
            "The complete trials that no other complete trial matches in every objective and beats in one. Trials "
            "that were stopped early, diverged or failed never stand on it.",
        ),
    ]
    if info.quality and quality_of(info.objectives) != "perplexity":
        notes.insert(0, ("Task", f"{info.task}; a model is judged by its {info.quality}."))
    if not records:
        return notes
    tokens = sorted({it.tokens for it in records if it.state == "complete"})
    trained = f"Every complete trial saw {tokens[0]:,} tokens" if len(tokens) == 1 else "Tokens differ between trials"
    notes += [
        (
            "Seeds",
            _values(it.seed for it in records) + ". Of one seed, every architecture sees the same data in the "
            "same order. Differences of a few hundredths of a nat may be noise between seeds.",
        ),
        *_confirmation(records),
        ("Training", f"{trained}: equal tokens, not equal time. The recipe: {_recipe(records)}."),
        (
            "Connection weights",
            "An optimiser group of their own, without weight decay and with their own learning-rate factor, the same "
            "for every fusion.",
        ),
        ("Corpus", f"{_values(it.corpus for it in records)}, sha256 {_values(it.corpus_sha256 for it in records)}."),
        ("Tokens", f"{_values(it.tokenizer for it in records)}; perplexity is per token, and so depends on it."),
        (
            "Latency",
            "Forward time of one batch relative to the reference, the two run in turn in one process, median of the "
            f"ratios. {_measured_alone(records)} Another machine gives other ratios.",
        ),
        (
            "Memory",
            "Peak bytes of tensors in one training step: the allocator's on an accelerator, counted on a processor.",
        ),
        (
            "Hardware",
            f"{_values(it.hardware for it in records)} ({_values(it.device for it in records)}), threads a trial: "
            f"{_values(it.threads for it in records)}.",
        ),
        ("Software", f"{_values(it.software for it in records)}."),
        (
            "Limits",
            "One corpus, small models, short trainings: an order found here need not carry over to larger ones. Of "
            "what was tried often the best is flattered most.",
        ),
        ("Run", f"{info.run_id}, begun {info.created_at:%Y-%m-%d %H:%M %Z}."),
    ]
    return notes


def _confirmation(records: Sequence[Record]) -> list[tuple[str, str]]:
    """How the front was confirmed; nothing where it was not."""
    if not confirming(records):
        return []
    told = (
        "The front's members and the plain architectures of their depths and budgets were trained again with fresh "
        "seeds, the same for all, and measured once more alone and in turn. The search chose by its own seed, which "
        "flatters what it chose: that seed is shown and counts for nothing. An architecture stands at its mean loss "
        "over fresh seeds. Differences are taken seed by seed within a depth and budget, and between means (Welch) "
        "across them, where seeds have no common effect; each pair has its own variance. What the choice of the "
        "validation text adds is estimated from the losses on its parts. Intervals are Student's t, 95 %, two-sided."
    )
    apart = (
        f"Settled takes at least {MIN_SEEDS} fresh seeds, none diverged. A difference: its interval excludes zero. A "
        "place on the front: every rival is told apart from it in some objective that it is ahead in; the percentage "
        "is how sure that is of the rival most likely to dominate it. A choice under limits: its loss is told apart "
        "from that of each other with several fresh seeds within them. A latency is as sure as its interval."
    )
    return [("Confirmation", told), ("Told apart", apart)]


def _measured_alone(records: Sequence[Record]) -> str:
    """How many latencies were measured with nothing beside."""
    alone = sum(it.trial_latency is not None for it in records)
    if not alone:
        return "They are as the trials saw them, other trials possibly beside."
    return (
        f"Those of {alone} architectures that may stand on the front were measured once more at the end of the search, "
        "in turn and with nothing beside; the others are as their trials saw them."
    )


def _values(values: Iterable[object]) -> str:
    """The distinct values in order of appearance, the first four of them."""
    distinct = [str(value) for value in dict.fromkeys(values)]
    more = f" and {len(distinct) - _MAX_LISTED} more" if len(distinct) > _MAX_LISTED else ""
    return ", ".join(distinct[:_MAX_LISTED]) + more


def _recipe(records: Sequence[Record]) -> str:
    """The recipe's fields that all trials share, as "name value"; a seed varies and is told elsewhere."""
    recipes = []
    for text in dict.fromkeys(it.recipe for it in records):
        try:
            recipes.append(json.loads(text))
        except ValueError:
            return text
    if not all(isinstance(recipe, dict) for recipe in recipes):
        return records[0].recipe
    first = recipes[0]
    shared = {name: value for name, value in first.items() if all(it.get(name) == value for it in recipes)}
    shared.pop("seed", None)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shared.items())

"""Notes on the method of a run, from its records: recipe, corpus, machine and the meaning of each number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from depthweave.reports.analysis.learning_rates import rates_sentences
from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.analysis.source_runs import outcome_sentence
from depthweave.reports.analysis.verdicts import MIN_SEEDS
from depthweave.reports.formatting import title_of
from depthweave.reports.store.learning_rates import read_rate_trainings
from depthweave.reports.store.objectives import QUALITY, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_info import RunInfo
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.tolerance import tolerance_text
from depthweave.reports.store.warm_start import read_warm_start

_MAX_LISTED = 4
_NOISE = "Differences of a few hundredths of a nat may be noise between seeds."
_OTHER_NOISE = "Small differences may be noise between seeds."


def method_notes(records: Sequence[Record], *, info: RunInfo) -> list[tuple[str, str]]:
    """Returns terms and their meaning in this run, in reading order; without records only the general ones."""
    notes = [
        ("Objectives", ", ".join(title_of(name) for name in info.objectives) + "; all are minimised."),
        (
            "Twins",
            "A member of the front that is ahead of another by no more than the tolerance in each objective is its "
            "twin and is listed under it, however far it is behind in others. The tolerances are "
            f"{tolerance_text(info.objectives, info.tolerance_of)}. Of members that are twins of each other, settled "
            "ones come first, then the simplest.",
        ),
        (
            "Front",
            "The complete trials that no other complete trial matches in every objective and beats in one. Trials "
            "that were stopped early, diverged or failed are never on it.",
        ),
    ]
    if info.quality and reported_quality(info.objectives) != QUALITY:
        notes.insert(0, ("Task", f"{info.task}; a model is judged by its {info.quality}."))
    if not records:
        return notes
    return [
        *notes,
        *_training_notes(records, is_likelihood=reported_quality(info.objectives) == QUALITY),
        *_measurement_notes(records),
        ("Run", f"{info.run_id}, started {info.created_at:%Y-%m-%d %H:%M %Z}."),
    ]


def beginning_notes(store: RunStore) -> tuple[list[tuple[str, str]], list[str]]:
    """Returns what the search did before its first trial, and a line for each file of it that cannot be read.

    It chose learning rates, and took records over from other runs or learned from them.
    """
    notes, problems = [], []
    for title, sentences in (("Learning rates", _rates_sentences), ("Warm start", _source_sentences)):
        try:
            text = " ".join(f"{sentence[0].upper()}{sentence[1:]}" for sentence in sentences(store))
        except ValueError as error:
            problems.append(str(error))
        else:
            notes += [(title, text)] if text else []
    return notes, problems


def _rates_sentences(store: RunStore) -> list[str]:
    found = read_rate_trainings(store)
    return [] if found is None else rates_sentences(found)


def _source_sentences(store: RunStore) -> list[str]:
    return [outcome_sentence(source) for source in read_warm_start(store).sources]


def _training_notes(records: Sequence[Record], *, is_likelihood: bool) -> list[tuple[str, str]]:
    tokens = sorted({it.tokens for it in records if it.state == "complete"})
    same = len(tokens) == 1
    trained = f"Every complete trial saw {tokens[0]:,} tokens" if same else "Trials saw different numbers of tokens"
    return [
        (
            "Seeds",
            _values(it.seed for it in records) + ". With one seed, every architecture sees the same data in the same "
            f"order. {_NOISE if is_likelihood else _OTHER_NOISE}",
        ),
        *_confirmation(records),
        ("Training", f"{trained}: equal tokens, not equal time. The recipe: {_recipe(records)}."),
        (
            "Connection weights",
            "They are a separate optimiser group, without weight decay and with their own learning-rate factor. The "
            "group is the same for every fusion.",
        ),
        ("Corpus", f"{_values(it.corpus for it in records)}, sha256 {_values(it.corpus_sha256 for it in records)}."),
        (
            "Tokens",
            f"{_values(it.tokenizer for it in records)}"
            + ("; perplexity is per token, so it depends on the tokenizer." if is_likelihood else "."),
        ),
    ]


def _measurement_notes(records: Sequence[Record]) -> list[tuple[str, str]]:
    return [
        (
            "Latency",
            "Forward time of one batch relative to the reference: the median of ratios, measured alternately in one "
            f"process. {_isolated_measurements(records)} Other machines give other ratios.",
        ),
        (
            "Memory",
            "Peak bytes of tensors in one training step. An accelerator's allocator reports them; on a CPU they are "
            "counted.",
        ),
        (
            "Hardware",
            f"{_values(it.hardware for it in records)} ({_values(it.device for it in records)}), threads a trial: "
            f"{_values(it.threads for it in records)}.",
        ),
        ("Software", f"{_values(it.software for it in records)}."),
        (
            "Limits",
            "One corpus, small models and short trainings: an order found here may not hold for larger ones. The best "
            "of many trials looks better than it is, and the more trials, the more so.",
        ),
    ]


def _confirmation(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Returns how the front was confirmed; nothing if it was not."""
    if not confirming(records):
        return []
    confirmation = (
        "The front's members and the plain architectures of their depths and budgets were trained again with fresh "
        "seeds, the same for all, and measured again one after another with nothing else running. The search's own "
        "seed is shown but not counted, because choosing by it makes the chosen look better than they are. The loss of "
        "an architecture is its mean over fresh seeds. One without any has an estimate, marked ~: the loss of the "
        "search's seed, moved as the confirmed architectures of its depth and budget moved. Differences are paired by "
        "seed within a depth and budget, and "
        "between means (Welch) across them, where seeds have no common effect. Each pair has its own variance. The "
        "uncertainty from the choice of the validation text is estimated from the losses on its parts. Intervals are "
        "Student's t, 95 %, two-sided."
    )
    settled = (
        f"All of these need at least {MIN_SEEDS} fresh seeds, none of them diverged. A difference is settled if its "
        "interval excludes zero. A place on the front is settled if the architecture is distinguishable from every "
        "rival in some objective in which it is ahead; the percentage is the probability of this for the most likely "
        "rival. A choice under limits is settled if its loss is distinguishable from that of each other architecture "
        "with several fresh seeds within the limits. A latency is as certain as its interval."
    )
    return [("Confirmation", confirmation), ("Settled", settled)]


def _isolated_measurements(records: Sequence[Record]) -> str:
    """Returns how many latencies were measured with nothing else running."""
    isolated = sum(it.trial_latency is not None for it in records)
    if not isolated:
        return "The trials measured it, possibly while other trials ran on the machine."
    return (
        f"At the end of the search it was measured again for {isolated} architectures that may be on the front, one "
        "after another with nothing else running. For the others it is the trial's own measurement."
    )


def _values(values: Iterable[object]) -> str:
    """Returns the first four distinct values in order of appearance, and the number of others."""
    distinct = [str(value) for value in dict.fromkeys(values)]
    more = f" and {len(distinct) - _MAX_LISTED} more" if len(distinct) > _MAX_LISTED else ""
    return ", ".join(distinct[:_MAX_LISTED]) + more


def _recipe(records: Sequence[Record]) -> str:
    """Returns the recipe's fields that all trials share, as "name value", without the seed."""
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
    rates = sorted({it["learning_rate"] for it in recipes if isinstance(it.get("learning_rate"), float)})
    if len(rates) > 1:
        shared["learning_rate"] = f"{rates[0]:g} to {rates[-1]:g}"
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shared.items())

"""A run in sentences: its counts, and an answer that claims only what the records support.

A difference is settled with at least five fresh seeds of both architectures, none of them the search's, where its 95 %
interval excludes zero: `verdicts` has the rule, and `contrast` the interval.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from depthweave.reports.analysis.fresh_losses import contrast_of, fresh_losses_of
from depthweave.reports.analysis.front import end_of, value_of
from depthweave.reports.analysis.held_out import held_out_sentence
from depthweave.reports.analysis.intervals import Interval
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION, averaged, confirming, estimated_ids
from depthweave.reports.analysis.verdicts import MIN_SEEDS, is_settled_difference
from depthweave.reports.formatting import (
    duration_text,
    full_name,
    listed,
    parts_text,
    plural,
    show,
    show_quality,
    title_of,
)
from depthweave.reports.store.objectives import QUALITY, reported_quality
from depthweave.reports.store.records import STATES, Record
from depthweave.reports.store.run_info import RunInfo
from depthweave.spaces.plain_names import is_plain_name


class Summary(NamedTuple):
    """Counts and times of a run."""

    num_by_state: dict[str, int]
    """In the order of `STATES`."""
    num_architectures: int
    seeds: list[int]
    begin: datetime | None
    end: datetime | None
    worker_s: float
    """Sum of the wall times of all trials."""
    tokens: int
    spared_frac: float
    """Tokens spared by stopping trials, as a share of those of all trials without stopping."""


def summarise(records: Sequence[Record]) -> Summary:
    """Returns the counts and times of these records."""
    states = Counter(record.state for record in records)
    whole = max((record.tokens for record in records if record.state == "complete"), default=0)
    stopped = [record for record in records if record.state == "pruned"]
    planned = whole * (states["complete"] + len(stopped))
    spared = sum(max(0, whole - record.tokens) for record in stopped)
    return Summary(
        num_by_state={state: states[state] for state in STATES},
        num_architectures=len({record.architecture_id for record in records}),
        seeds=sorted({record.seed for record in records}),
        begin=min((record.started_at for record in records), default=None),
        end=max((record.finished_at for record in records), default=None),
        worker_s=sum(record.wall_s for record in records),
        tokens=sum(record.tokens for record in records),
        spared_frac=spared / planned if planned else 0.0,
    )


def outcome_sentence(summary: Summary, *, info: RunInfo) -> str:
    """Returns a paragraph on the space, the corpus, the time, and the trials that were stopped."""
    finished = sum(summary.num_by_state.values())
    text = (
        f"{plural(finished, 'trial')} of {plural(summary.num_architectures, 'architecture')}, from a space of "
        f"{info.distinct:,} distinct ones ({info.combinations:,} combinations), on the corpus {info.corpus}"
    )
    if info.corpus_bytes:
        text += f" of {parts_text(info.corpus_bytes)}"
    if summary.begin is None or summary.end is None:
        return f"No trial has finished yet, from a space of {info.distinct:,} distinct architectures."
    elapsed = (summary.end - summary.begin).total_seconds()
    text += f", in {duration_text(elapsed)} ({duration_text(summary.worker_s)} of workers' time). "
    states = summary.num_by_state
    parts = [f"{states['complete']:,} ran to the end"]
    if states["pruned"]:
        parts.append(
            f"{states['pruned']:,} were stopped early, which spared {100 * summary.spared_frac:.0f} % of the tokens"
        )
    parts += [f"{states[name]:,} {name}" for name in ("diverged", "failed") if states[name]]
    return text + f"{listed(parts).capitalize()}."


def num_unfinished(records: Sequence[Record], *, begun: Iterable[int]) -> int:
    """Returns how many of the search's trials have begun and have no record yet."""
    recorded = {record.trial for record in records}
    return sum(trial < FIRST_CONFIRMATION and trial not in recorded for trial in begun)


def unfinished_sentence(records: Sequence[Record], *, begun: Iterable[int]) -> str:
    """Returns a sentence on the trials that have begun and have no record yet; empty where there are none."""
    num = num_unfinished(records, begun=begun)
    if not num:
        return ""
    verbs = "has begun and not ended: it is" if num == 1 else "have begun and not ended: they are"
    return f" {num:,} more {verbs} paused, interrupted or running, and not counted here."


def answer_sentence(records: Sequence[Record], *, info: RunInfo) -> list[str]:
    """Returns sentences on the result, the last one on whether it is settled."""
    quality = reported_quality(info.objectives)
    if quality != QUALITY:
        return _lowest_sentence(records, quality=quality)
    trained = [it for it in records if it.state == "complete" and value_of(it, "perplexity") is not None]
    finished = averaged(trained)
    if not finished:
        return ["No trial is complete yet: there is no answer yet."]
    best = min(finished, key=lambda it: (it.perplexity or math.inf, it.trial))
    references = [it for it in finished if it.architecture_id == info.reference_id or it.reference]
    estimated = estimated_ids(trained)
    lead = f"The lowest perplexity is {_perplexity(best, estimated)}: {_named(best)}."
    if not references:
        return [lead, "The reference is not complete, so there is nothing to compare with."]
    # Preferably with the same seed: then the data and their order are the same too.
    reference = min(references, key=lambda it: (it.seed != best.seed, it.perplexity or math.inf))
    if best.architecture_id == reference.architecture_id:
        plain = (
            f"No architecture has a lower perplexity than the reference: {show('perplexity', reference.perplexity)}, "
        )
        return [plain + f"{_named(reference)}.", *_seed_caveat(trained)]
    sentences = [lead, _against(best, reference), *_no_slower(finished, best, reference, estimated=estimated)]
    rival = _best_plain(finished, reference)
    gain = _gain_at_equal_latency(records, finished, rival)
    if rival.architecture_id != reference.architecture_id:
        # The architecture to beat. Whether the difference to it is settled follows.
        named = f"The best plain architecture is {_named(rival)}: {show('perplexity', rival.perplexity)}"
        sentences.append(f"{named}; {gain}." if gain else f"{named}.")
    elif gain:
        sentences.append(f"Against the reference: {gain}.")
    other = reference if rival.architecture_id == best.architecture_id else rival
    sentences += held_out_sentence(records, best=best, other=other)
    return [*sentences, _certainty_text(records, best, other)]


def _lowest_sentence(records: Sequence[Record], *, quality: str) -> list[str]:
    """Returns the best architecture of a task without perplexity, and the reference beside it."""
    trained = [it for it in records if it.state == "complete" and value_of(it, quality) is not None]
    finished = averaged(trained)
    values = {it.trial: value for it in finished if (value := value_of(it, quality)) is not None}
    if not finished:
        return ["No trial is complete yet: nothing can be said."]
    best = min(finished, key=lambda it: (values[it.trial], it.trial))
    lowest = show_quality(quality, values[best.trial], estimated=best.architecture_id in estimated_ids(trained))
    sentences = [f"The lowest {title_of(quality)} is {lowest}: {_named(best)}."]
    reference = next((it for it in finished if it.reference), None)
    if reference is None or reference is best:
        return sentences
    reached = show(quality, values[reference.trial])
    sentences.append(f"The reference ({_named(reference, bracket=False)}) has {reached}.")
    if not confirming(records):
        return sentences
    sentences += held_out_sentence(records, best=best, other=reference)
    return [*sentences, _certainty_text(records, best, reference, what="error", unit="")]


class FreshDifference(NamedTuple):
    """The loss of one architecture less that of another, nat/token, over their fresh seeds."""

    interval: Interval
    num_diverged: int
    """Number of trainings of either that diverged."""

    @property
    def settled(self) -> bool:
        """Whether there are enough seeds and the interval excludes zero."""
        return is_settled_difference(self.interval, num_diverged=self.num_diverged)


def fresh_difference(records: Sequence[Record], *, first: str, second: str) -> FreshDifference | None:
    """Returns the loss of architecture `first` less that of `second`; `None` where either lacks two fresh seeds."""
    fresh_losses = fresh_losses_of(records)
    if first not in fresh_losses or second not in fresh_losses:
        return None
    contrast = contrast_of(fresh_losses[first], fresh_losses[second])
    diverged = sum(it.state == "diverged" and it.architecture_id in (first, second) for it in records)
    return None if contrast is None else FreshDifference(contrast.interval, diverged)


def _named(record: Record, *, bracket: bool = True) -> str:
    name = f"{full_name(record)}, {show('parameters', record.parameters)} parameters"
    return f"{name} (id {record.architecture_id})" if bracket else f"{name}, id {record.architecture_id}"


def _against(best: Record, reference: Record) -> str:
    assert best.perplexity is not None
    assert reference.perplexity is not None
    less = 1 - best.perplexity / reference.perplexity
    text = (
        f"The reference ({_named(reference, bracket=False)}) has {show('perplexity', reference.perplexity)}: "
        f"the former is {100 * less:.1f} % lower"
    )
    costs = []
    if best.latency is not None:
        costs.append(f"{show('latency', best.latency)} the forward latency{_interval(best)}")
    if best.memory_bytes and reference.memory_bytes:
        costs.append(f"{best.memory_bytes / reference.memory_bytes:.2f}× the memory of a training step")
    text += f", at {listed(costs)}." if costs else "."
    differ = [name for name in ("budget", "depth") if getattr(best, name) != getattr(reference, name)]
    if differ:
        text += f" The two differ in {listed(differ)} too, so the fusion is not the only cause."
    return text


def _interval(record: Record) -> str:
    low, high = value_of(record, "latency_low"), value_of(record, "latency_high")
    return f" (95 % interval {low:.2f} to {high:.2f})" if low is not None and high is not None else ""


def _perplexity(record: Record, estimated: set[str]) -> str:
    return show_quality("perplexity", record.perplexity, estimated=record.architecture_id in estimated)


def _no_slower(finished: Sequence[Record], best: Record, reference: Record, *, estimated: set[str]) -> list[str]:
    """Returns a sentence on the best architecture whose interval is not above the reference, if there is one."""

    def upper(record: Record) -> float:
        return end_of(record, "latency", "high") or math.inf

    quick = [it for it in finished if it.architecture_id != reference.architecture_id and upper(it) <= 1.0]
    if not quick or upper(best) <= 1.0:
        return []
    chosen = min(quick, key=lambda it: (it.perplexity or math.inf, it.trial))
    lead = f"Of those no slower than the reference, {_named(chosen)} is lowest: "
    return [lead + f"{_perplexity(chosen, estimated)} at {show('latency', chosen.latency)}."]


def _best_plain(finished: Sequence[Record], reference: Record) -> Record:
    plain = [it for it in finished if is_plain_name(it.fusion)]
    return min(plain, key=lambda it: (it.perplexity or math.inf, it.trial), default=reference)


def _gain_at_equal_latency(records: Sequence[Record], finished: Sequence[Record], plain: Record) -> str:
    """Returns how much lower a fusion's perplexity is at a latency that is not above that of `plain`, or may not be."""
    near = [it for it in finished if not is_plain_name(it.fusion) and not _slower(it, plain)]
    chosen = min(near, key=lambda it: (it.perplexity or math.inf, it.trial), default=None)
    if chosen is None or chosen.perplexity is None or plain.perplexity is None:
        return ""
    if chosen.perplexity >= plain.perplexity:
        return "of the fusions that are not slower, within the intervals of latency, none has a lower perplexity"
    difference = fresh_difference(records, first=chosen.architecture_id, second=plain.architecture_id)
    settled = "settled" if difference and difference.settled else "not settled"
    seeds = plural(difference.interval.num if difference else 0, "fresh seed")
    latency = "a lower latency than its" if _slower(plain, chosen) else "a latency not distinguishable from its"
    return (
        f"at {latency} ({show('latency', chosen.latency)} and "
        f"{show('latency', plain.latency)}), {full_name(chosen)} has "
        f"{100 * (1 - chosen.perplexity / plain.perplexity):.1f} % less perplexity ({settled}, {seeds})"
    )


def _slower(first: Record, second: Record) -> bool:
    """Returns whether the whole interval of the first latency is above that of the second, or one of them is absent."""
    low, high = end_of(first, "latency", "low"), end_of(second, "latency", "high")
    return low is None or high is None or low > high


def _certainty_text(
    records: Sequence[Record], best: Record, plain: Record, *, what: str = "loss", unit: str = " nat/token"
) -> str:
    difference = fresh_difference(records, first=best.architecture_id, second=plain.architecture_id)
    if difference is None:
        if confirming(records):
            return "The two have fewer than two fresh seeds each: their difference is not settled."
        return "One seed, by which the best was chosen: not settled. Confirm with fresh seeds."
    interval = difference.interval
    text = f"Over {interval.num} fresh seeds the {what} differs by {interval.mean:+.3f}{unit}"
    text += f" (95 % interval {interval.low:+.3f} to {interval.high:+.3f})"
    if difference.num_diverged:
        return f"{text}; {plural(difference.num_diverged, 'seed')} diverged: not settled."
    if interval.num < MIN_SEEDS:
        return f"{text}; fewer than {MIN_SEEDS} fresh seeds: not settled."
    if not difference.settled:
        return f"{text}, which includes zero: not settled."
    return f"{text}: settled. The seed by which the search chose it does not count."


def _seed_caveat(trained: Sequence[Record]) -> list[str]:
    return [] if confirming(trained) else ["One seed each: not settled."]

"""Sentences about the learning rates that a run chose before its trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from depthweave.reports.formatting import count_text, listed, plural
from depthweave.reports.store.learning_rates import RateGroup, RateTrainings


def rates_sentences(found: RateTrainings) -> list[str]:
    """Returns which rates were chosen, and by which trainings; then a sentence for each doubt about a choice."""
    num_tokens = len(found.trainings) * found.tokens
    return [
        f"The learning rate of each fusion and depth was chosen by {plural(len(found.trainings), 'training')} of "
        f"{found.steps:,} steps with another seed ({count_text(num_tokens)} tokens, which no trial counts): "
        f"{_chosen_text(found)}.",
        *_doubts(found),
    ]


def _chosen_text(found: RateTrainings) -> str:
    """Returns "0.004 for none (6 blocks); 0.008 for dwa (4 and 6 blocks)"."""
    by_rate: dict[float, list[RateGroup]] = {}
    for group, rate in found.chosen().items():
        by_rate.setdefault(rate, []).append(group)
    return "; ".join(f"{rate:g} for {group_text(groups)}" for rate, groups in sorted(by_rate.items()))


def _doubts(found: RateTrainings) -> Iterator[str]:
    ends = found.at_an_end()
    for end, other in (("highest", "higher"), ("lowest", "lower")):
        groups = [group for group, own in ends.items() if own == end]
        if groups:
            which = "all" if len(groups) == len(found.chosen()) else group_text(groups)
            yield f"The {end} rate that was tried is the best for {which}: {other} ones may be better."
    failed = found.without_loss()
    if failed:
        reason = next(item.reason for item in found.trainings if item.group in failed)
        yield f"No training has a loss for {group_text(failed)} ({reason}): the lowest rate is used."


def group_text(groups: Sequence[RateGroup]) -> str:
    """Returns "dwa (4 and 6 blocks), none (6 blocks)"."""
    depths: dict[str, list[int]] = {}
    for group in sorted(groups):
        depths.setdefault(group.family, []).append(group.depth)
    return ", ".join(f"{family} ({listed([str(depth) for depth in own])} blocks)" for family, own in depths.items())

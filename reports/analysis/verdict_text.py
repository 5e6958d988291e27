"""The results of a confirmation in the words of page, table and figures; empty for a run without one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.analysis.verdicts import MIN_SEEDS, Verdict
from depthweave.reports.formatting import duration_text, plural, show
from depthweave.reports.store.records import Record


def confirmation_sentence(records: Sequence[Record]) -> str:
    """Returns a sentence on the trainings of the confirmation; empty where there was none."""
    further = confirming(records)
    if not further:
        return ""
    seeds = sorted({item.seed for item in further})
    architectures = len({item.architecture_id for item in further})
    return (
        f" {plural(len(further), 'further training')} of {plural(architectures, 'architecture')} with "
        f"{plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))}) confirmed the front, in "
        f"{duration_text(sum(item.wall_s for item in further))} of workers' time."
    )


def settled_sentences(members: Sequence[Record], *, verdicts: Mapping[str, Verdict]) -> list[str]:
    """Returns a sentence on how many members of the front are settled; none in a run without a confirmation."""
    if not verdicts or not members:
        return []
    num_settled = sum(verdicts[item.architecture_id].settled for item in members)
    are = "is" if num_settled == 1 else "are"
    return [
        f"Of the {plural(len(members), 'member')} of the front, {num_settled} {are} settled there: over at least "
        f"{MIN_SEEDS} fresh seeds, distinguishable from every rival in some objective."
    ]


def interval_text(verdict: Verdict) -> str:
    """Returns the 95 % interval of the quality over fresh seeds, "3.89 to 3.95"; empty with fewer than two seeds."""
    low, high = verdict.quality_low, verdict.quality_high
    return "" if low is None or high is None else f"{show(verdict.quality, low)} to {show(verdict.quality, high)}"


def difference_text(verdict: Verdict) -> tuple[str, str]:
    """Returns the loss against the plain architecture of the same depth and budget, and its interval if any."""
    difference = verdict.difference
    if difference is None:
        return "-", ""
    interval = "" if difference.low is None else f"{difference.low:+.3f} to {difference.high:+.3f}"
    return f"{difference.mean:+.3f}", interval


def probability_text(verdict: Verdict) -> str:
    """Returns the probability of being on the front, rounded down: "94 %", "97.5 %", "> 99 %"."""
    percent = 100 * verdict.front_probability
    if percent > 99:
        return "> 99 %"
    if percent >= 95:
        # A decimal more, because the threshold for settled is 97.5 %.
        return f"{math.floor(10 * percent) / 10:.1f} %"
    return "< 1 %" if percent < 1 else f"{math.floor(percent)} %"


def why_not_settled(verdict: Verdict) -> str:
    """Returns the reason in one phrase; empty where the place is settled."""
    if verdict.settled:
        return ""
    if verdict.num_diverged:
        return f"diverged with {plural(verdict.num_diverged, 'seed')}"
    if verdict.loss.num < MIN_SEEDS:
        return f"{plural(verdict.loss.num, 'fresh seed')} of the {MIN_SEEDS} needed"
    return f"{verdict.rival_name} may dominate it ({math.ceil(100 * (1 - verdict.front_probability))} %)"

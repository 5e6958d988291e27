"""What a confirmation found, in the words of page, table and figures. A run without one gets no word of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.analysis.verdicts import MIN_SEEDS, Verdict
from depthweave.reports.formatting import duration_text, plural, show
from depthweave.reports.store.records import Record


def confirmation_sentence(records: Sequence[Record]) -> str:
    """What the confirmation took, to stand after what the search took; empty where there was none."""
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
    """How many of the front's members are settled there; nothing in a run that has one seed."""
    if not verdicts or not members:
        return []
    num_settled = sum(verdicts[item.architecture_id].settled for item in members)
    are = "is" if num_settled == 1 else "are"
    return [
        f"Of the {plural(len(members), 'member')} of the front, {num_settled} {are} settled there: over at least "
        f"{MIN_SEEDS} fresh seeds, told apart from every rival in some objective."
    ]


def interval_text(verdict: Verdict) -> str:
    """The 95 % interval of a perplexity over fresh seeds: "3.89 to 3.95"; empty with fewer than two."""
    low, high = verdict.perplexity_low, verdict.perplexity_high
    return "" if low is None or high is None else f"{show('perplexity', low)} to {show('perplexity', high)}"


def difference_text(verdict: Verdict) -> tuple[str, str]:
    """The loss against the plain architecture of the same depth and budget, and its interval where there is one."""
    found = verdict.difference
    if found is None:
        return "-", ""
    return f"{found.mean:+.3f}", "" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"


def probability_text(verdict: Verdict) -> str:
    """How sure its place on the front is, rounded down and never to certainty: "94 %", "97.5 %", "> 99 %"."""
    percent = 100 * verdict.front_probability
    if percent > 99:
        return "> 99 %"
    if percent >= 95:
        # Here it is decided whether a place is settled.
        return f"{math.floor(10 * percent) / 10:.1f} %"
    return "< 1 %" if percent < 1 else f"{math.floor(percent)} %"


def why_not_settled(verdict: Verdict) -> str:
    """One phrase; empty where the place is settled."""
    if verdict.settled:
        return ""
    if verdict.num_diverged:
        return f"diverged with {plural(verdict.num_diverged, 'seed')}"
    if verdict.loss.num < MIN_SEEDS:
        return f"{plural(verdict.loss.num, 'fresh seed')} of the {MIN_SEEDS} needed"
    return f"{verdict.rival_name} may dominate it ({math.ceil(100 * (1 - verdict.front_probability))} %)"

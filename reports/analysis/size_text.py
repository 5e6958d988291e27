"""What a run with several budgets says about its sizes, in the words of page and terminal."""

from __future__ import annotations

from collections import Counter

from depthweave.reports.analysis.intervals import Interval
from depthweave.reports.analysis.size_trend import REACH, SIZE_VERDICTS
from depthweave.reports.analysis.sizes import SizedPattern, SizeRanks, Sizes
from depthweave.reports.analysis.training_tokens import range_phrase, ratio_text
from depthweave.reports.analysis.verdicts import MIN_SEEDS
from depthweave.reports.formatting import count_text, listed, plural

RULE_TEXT = (
    "Each value is the loss minus that of the plain architecture of the same depth and budget, nat/token, with its "
    f"95 % interval. The line is fitted to a pattern's differences over the doublings of the parameters. Worse: at the "
    f"largest size the interval is above zero. Carries over: it is below zero there, and so is that of the line at "
    f"{REACH} times this size. Fades: it is below zero at the smallest size, the line rises, and at {REACH} times the "
    f"largest size its interval is not below zero. Each needs {MIN_SEEDS} fresh seeds at each size, none diverged, and "
    "three or more sizes on one line. Two sizes cannot show whether the line holds. Of many patterns a few are judged "
    "wrongly by chance."
)


def sizes_sentences(sizes: Sizes) -> list[str]:
    """Returns what is known, what is claimed at most, and how long the models were trained."""
    counts = Counter(it.verdict for it in sizes.patterns)
    named = listed([count_text(own) for own in sizes.parameters])
    if not sizes.patterns:
        first = f"The run has sizes of {named} parameters, but no pattern was trained to its end at two of them."
        return [first, _training_sentence(sizes)]
    found = listed([f"{counts[own]} {_plural_verdict(own, counts[own])}" for own in SIZE_VERDICTS if counts[own]])
    first = f"Of {plural(len(sizes.patterns), 'pattern')} at several of the sizes {named}, {found}."
    reasons = Counter(it.why for it in sizes.patterns if it.why)
    if reasons:
        listed_reasons = "; ".join(f"{why} ({number})" for why, number in reasons.most_common())
        first += f" Not settled because of: {listed_reasons}."
    if sizes.num_single:
        first += f" {plural(sizes.num_single, 'further pattern')} had one size only."
    claim = f"Nothing is claimed beyond {count_text(sizes.reach)} parameters, {REACH} times the largest size."
    return [first, claim, _training_sentence(sizes)]


def size_heading(sizes: Sizes, index: int) -> str:
    """Returns a size with its tokens a parameter: "300 k (1.0 tokens a parameter)"."""
    return f"{count_text(sizes.parameters[index])} ({ratio_text(sizes.tokens_per_parameter[index])} tokens a parameter)"


def first_patterns(sizes: Sizes, num: int) -> list[SizedPattern]:
    """Returns at most `num` patterns, the first of each verdict, so that a long list of one hides no other."""
    places = [0] * len(sizes.patterns)
    seen: Counter[str] = Counter()
    for index, pattern in enumerate(sizes.patterns):
        places[index] = seen[pattern.verdict]
        seen[pattern.verdict] += 1
    chosen = sorted(sorted(range(len(places)), key=lambda index: (places[index], index))[:num])
    return [sizes.patterns[index] for index in chosen]


def pattern_title(pattern: SizedPattern) -> str:
    """Returns "dwa 4×1, 12 blocks"; without the depth where it differs between sizes."""
    return pattern.name if pattern.depth is None else f"{pattern.name}, {plural(pattern.depth, 'block')}"


def interval_texts(interval: Interval | None) -> tuple[str, str]:
    """Returns a mean and its interval, "-0.0120" and "-0.0150 to -0.0090"; both empty for `None`."""
    if interval is None:
        return "", ""
    return f"{interval.mean:+.4f}", "" if interval.low is None else f"{interval.low:+.4f} to {interval.high:+.4f}"


def ranks_title(ranks: SizeRanks) -> str:
    """Returns "dwa, 12 blocks", or "all patterns, 12 blocks"."""
    name = ranks.fusion or "all patterns"
    return name if ranks.depth is None else f"{name}, {plural(ranks.depth, 'block')}"


def ranks_text(ranks: SizeRanks) -> tuple[str, str]:
    """Returns tau and its interval."""
    tau = "-" if ranks.tau is None else f"{ranks.tau:+.2f}"
    return tau, "" if ranks.low is None else f"{ranks.low:+.2f} to {ranks.high:+.2f}"


def _training_sentence(sizes: Sizes) -> str:
    return (
        f"The models saw {range_phrase(sizes.tokens_per_parameter)}. At equal tokens a larger model has seen fewer for "
        "each parameter, so a change by size may be one by training."
    )


def _plural_verdict(verdict: str, number: int) -> str:
    """Returns the verdict as the end of "1 ..." or "3 ..."."""
    words = {
        "carries over": ("carries over", "carry over"),
        "fades": ("fades", "fade"),
        "worse": ("is worse than plain", "are worse than plain"),
        "not settled": ("is not settled", "are not settled"),
    }
    return words[verdict][number != 1]

"""Verdicts: the intervals of each architecture's loss, and its probability of being on the front, after a confirmation.

Only fresh seeds count, because the search chose by its own seed, whose losses are biased downwards. The loss against
the plain architecture of the same depth and budget is a `contrast`, and so is each loss against a rival's
(`front_membership`). So the statements on a difference and on a place on the front cannot contradict each other.

A place, a difference or a choice is settled with at least five fresh seeds, none of them diverged, where the two-sided
95 % interval of each difference that it depends on excludes zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.contrast import TWO_SIDED, stack_contrasts
from depthweave.reports.analysis.fresh_losses import FreshLosses, contrast_of, fresh_losses_of
from depthweave.reports.analysis.front import complete
from depthweave.reports.analysis.front_membership import contrasts_of, front_memberships
from depthweave.reports.analysis.held_out import HeldOut, held_out_of
from depthweave.reports.analysis.intervals import Interval, mean_interval
from depthweave.reports.analysis.seeds import size_of
from depthweave.reports.formatting import full_name
from depthweave.reports.store.objectives import OBJECTIVES, QUALITY, reported_quality
from depthweave.reports.store.records import Record
from depthweave.spaces.plain_names import is_plain_name

MIN_SEEDS = 5
"""With fewer fresh seeds nothing is settled."""
MIN_PROBABILITY = TWO_SIDED


class VerdictColumn(NamedTuple):
    """A column beside those of a record, in `front.parquet`, `metrics.json` and `depthweave show --json`."""

    kind: type
    unit: str
    meaning: str


VERDICT_COLUMNS = {
    "num_seeds": VerdictColumn(
        int, "seeds", "fresh seeds with which the architecture was trained to the end, the search's own left out"
    ),
    "mean_perplexity": VerdictColumn(
        float, "", "perplexity of the mean loss over these seeds; without any, an estimate from the search's own seed"
    ),
    "perplexity_low": VerdictColumn(float, "", "lower end of its 95 % interval over seeds"),
    "perplexity_high": VerdictColumn(float, "", "upper end of its 95 % interval over seeds"),
    "mean_test_perplexity": VerdictColumn(float, "", "perplexity on the test part, of the mean loss over these seeds"),
    "test_perplexity_low": VerdictColumn(float, "", "lower end of its 95 % interval over seeds"),
    "test_perplexity_high": VerdictColumn(float, "", "upper end of its 95 % interval over seeds"),
    "mean_error": VerdictColumn(
        float, "", "mean error over these seeds, or an estimate as above, of a task that is judged by an error"
    ),
    "error_low": VerdictColumn(float, "", "lower end of its 95 % interval over seeds"),
    "error_high": VerdictColumn(float, "", "upper end of its 95 % interval over seeds"),
    "mean_test_error": VerdictColumn(float, "", "mean error on the test part over these seeds, likewise"),
    "test_error_low": VerdictColumn(float, "", "lower end of its 95 % interval over seeds"),
    "test_error_high": VerdictColumn(float, "", "upper end of its 95 % interval over seeds"),
    "plain_id": VerdictColumn(str, "", "the plain architecture of the same depth and budget"),
    "plain_difference": VerdictColumn(
        float, "nat/token", "loss less the plain one's, mean over the fresh seeds of both"
    ),
    "plain_difference_low": VerdictColumn(float, "nat/token", "lower end of its 95 % interval, seeds and text"),
    "plain_difference_high": VerdictColumn(float, "nat/token", "upper end of its 95 % interval, seeds and text"),
    "front_probability": VerdictColumn(float, "", "that the rival most likely to dominate it does not"),
    "rival_id": VerdictColumn(str, "", "the architecture that is that rival"),
    "settled": VerdictColumn(bool, "", "whether its place on the front is settled"),
}


class Verdict(NamedTuple):
    """The results of a run's fresh seeds for one architecture."""

    loss: Interval
    """Validation loss, nat/token, as if it had all fresh seeds of its depth and budget (`seeds.averaged`)."""
    num_diverged: int
    """Number of seeds with which its training diverged."""
    plain_id: str | None
    """The plain architecture of its depth and budget; `None` where that is itself, or not complete."""
    difference: Interval | None
    """Loss less the plain one's over the fresh seeds of both, nat/token; `None` where either has none."""
    front_probability: float
    """Probability that the rival most likely to dominate it in all objectives does not."""
    rival_id: str | None
    """Architecture id of that rival; `None` where there is none."""
    rival_name: str
    """Its name for a reader; empty where there is none."""
    test: HeldOut | None = None
    """Quality on the test part over its fresh seeds; `None` where it was not evaluated there."""
    quality: str = QUALITY
    """The quality that follows from the loss: perplexity, or `error`, which is the loss itself."""

    @property
    def quality_mean(self) -> float:
        """The quality at the mean loss."""
        return self._at(self.loss.mean)

    @property
    def quality_low(self) -> float | None:
        """Lower end of its 95 % interval; `None` with one seed."""
        return None if self.loss.low is None else self._at(self.loss.low)

    @property
    def quality_high(self) -> float | None:
        """Upper end of its 95 % interval; `None` with one seed."""
        return None if self.loss.high is None else self._at(self.loss.high)

    @property
    def perplexity_low(self) -> float | None:
        """The same where the quality is a perplexity."""
        return self.quality_low if self.quality == QUALITY else None

    @property
    def perplexity_high(self) -> float | None:
        """The same where the quality is a perplexity."""
        return self.quality_high if self.quality == QUALITY else None

    def _at(self, loss: float) -> float:
        return OBJECTIVES[self.quality].at_loss(loss, value=loss, mean=loss)

    @property
    def settled(self) -> bool:
        """Whether its place on the front is settled."""
        enough = self.loss.num >= MIN_SEEDS and not self.num_diverged
        return enough and self.front_probability >= MIN_PROBABILITY


def verdict_values(verdict: Verdict | None) -> dict[str, Any]:
    """Returns the values of `VERDICT_COLUMNS`; all are `None` without a verdict."""
    if verdict is None:
        return dict.fromkeys(VERDICT_COLUMNS)
    difference, test, own = verdict.difference, verdict.test, verdict.quality
    qualities: dict[str, float | None] = {}
    for name in (QUALITY, "error"):
        is_own, has_test = name == own, test is not None and test.quality == name
        qualities |= {
            f"mean_{name}": verdict.quality_mean if is_own else None,
            f"{name}_low": verdict.quality_low if is_own else None,
            f"{name}_high": verdict.quality_high if is_own else None,
            f"mean_test_{name}": test.mean if test is not None and has_test else None,
            f"test_{name}_low": test.low if test is not None and has_test else None,
            f"test_{name}_high": test.high if test is not None and has_test else None,
        }
    return {
        "num_seeds": verdict.loss.num,
        **qualities,
        "plain_id": verdict.plain_id,
        "plain_difference": None if difference is None else difference.mean,
        "plain_difference_low": None if difference is None else difference.low,
        "plain_difference_high": None if difference is None else difference.high,
        "front_probability": verdict.front_probability,
        "rival_id": verdict.rival_id,
        "settled": verdict.settled,
    }


def verdicts_of(
    records: Sequence[Record], *, objectives: Sequence[str], tolerances: Mapping[str, float] | None = None
) -> dict[str, Verdict]:
    """Returns architecture id to verdict for all that can be on a front; empty where none has two fresh seeds."""
    fresh_losses = fresh_losses_of(records)
    if max((len(own.losses) for own in fresh_losses.values()), default=0) < 2:
        return {}
    points = [item for item in complete(records, objectives=objectives) if item.loss is not None]
    ids = [item.architecture_id for item in points]
    known = {own: fresh_losses[own] for own in ids if own in fresh_losses}
    if max((len(own.losses) for own in known.values()), default=0) < 2:
        return {}
    diverged = Counter(item.architecture_id for item in records if item.state == "diverged")
    plain = {size_of(item): item.architecture_id for item in points if is_plain_name(item.fusion)}
    held_out = held_out_of(records)
    verdicts = {}
    memberships = front_memberships(points, fresh_losses=known, objectives=objectives, tolerances=tolerances)
    for point, membership in zip(points, memberships, strict=True):
        own, plain_id = point.architecture_id, plain.get(size_of(point))
        verdicts[own] = Verdict(
            loss=_over_seeds(point, known.get(own)),
            num_diverged=diverged[own],
            plain_id=None if plain_id == own else plain_id,
            difference=None if plain_id in (own, None) else _difference(known.get(own), known.get(plain_id)),
            front_probability=membership.probability,
            rival_id=None if membership.rival is None else points[membership.rival].architecture_id,
            rival_name="" if membership.rival is None else full_name(points[membership.rival]),
            test=held_out.get(own),
            quality=reported_quality(objectives),
        )
    return verdicts


def is_settled_difference(difference: Interval, *, num_diverged: int) -> bool:
    """Returns whether there are enough seeds, none diverged, and the interval excludes zero."""
    low, high = difference.low, difference.high
    if low is None or high is None or difference.num < MIN_SEEDS or num_diverged:
        return False
    return low > 0 or high < 0


def distinguishable(records: Sequence[Record], *, ids: Sequence[str]) -> NDArray[np.bool_]:
    """Returns whether the 95 % interval of two architectures' difference in loss excludes zero, `[ids, ids]`."""
    different = np.zeros((len(ids), len(ids)), dtype=np.bool_)
    contrasts = contrasts_of(ids, fresh_losses=fresh_losses_of(records))
    if contrasts:
        below = stack_contrasts(list(contrasts.values())).below
        first, second = [pair[0] for pair in contrasts], [pair[1] for pair in contrasts]
        different[first, second] = different[second, first] = (below <= 1 - TWO_SIDED) | (below >= TWO_SIDED)
    return different


def _over_seeds(point: Record, own: FreshLosses | None) -> Interval:
    assert point.loss is not None
    losses = [] if own is None else list(own.losses.values())
    half_width = mean_interval(losses).half_width if losses else None
    return Interval(len(losses), point.loss, half_width)


def _difference(mine: FreshLosses | None, plain: FreshLosses | None) -> Interval | None:
    """Returns the difference over fresh seeds, without an interval where the two share only one seed."""
    if mine is None or plain is None:
        return None
    contrast = contrast_of(mine, plain)
    if contrast is not None:
        return contrast.interval
    shared = mine.losses.keys() & plain.losses.keys()
    return mean_interval([mine.losses[seed] - plain.losses[seed] for seed in shared]) if shared else None

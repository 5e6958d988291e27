"""How sure a run is of each architecture's place on the front, once some were trained with several seeds.

Losses are taken apart into architecture, seed and noise (`pairing`), the noise normal with one variance for all. Under
flat priors the posterior is sampled with a fixed generator, and a latency is drawn from the normal of its own 95 %
interval; the probability of standing on the front is the share of draws in which no other architecture dominates. One
variance for all is an assumption, and the price of saying anything with three seeds. An architecture that has one seed
takes part with the whole noise of that.

A place is settled where that probability is at least 95 %, over at least three seeds of which none diverged.

Source: the posterior of a linear model under flat priors (Gelman et al., "Bayesian Data Analysis", chapter 14).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import moocore
import numpy as np
from numpy.typing import NDArray

from depthweave.reports.front import complete, points_of
from depthweave.reports.intervals import Interval, mean_interval
from depthweave.reports.objectives import OBJECTIVES
from depthweave.reports.pairing import fit_blocks
from depthweave.reports.records import Record
from depthweave.reports.seeds import losses_by_seed

MIN_SEEDS = 3
"""Fewer seeds settle nothing."""
MIN_PROBABILITY = 0.95
_NUM_DRAWS = 2_000
"""A probability of 0.95 is then known to 0.005."""
_NORMAL_95 = 1.96


class VerdictColumn(NamedTuple):
    """A column beside those of a record, in `front.parquet`, `metrics.json` and `depthweave show --json`."""

    kind: type
    unit: str
    meaning: str


VERDICT_COLUMNS = {
    "num_seeds": VerdictColumn(int, "seeds", "seeds with which the architecture was trained to the end"),
    "mean_perplexity": VerdictColumn(float, "", "perplexity of the mean loss over these seeds"),
    "perplexity_low": VerdictColumn(float, "", "lower end of its 95 % interval over seeds"),
    "perplexity_high": VerdictColumn(float, "", "upper end of its 95 % interval over seeds"),
    "plain_id": VerdictColumn(str, "", "the plain architecture of the same depth and budget"),
    "plain_difference": VerdictColumn(float, "nat/token", "loss less the plain one's, mean over the seeds of both"),
    "plain_difference_low": VerdictColumn(float, "nat/token", "lower end of its 95 % interval"),
    "plain_difference_high": VerdictColumn(float, "nat/token", "upper end of its 95 % interval"),
    "front_probability": VerdictColumn(float, "", "probability of standing on the front of all objectives"),
    "settled": VerdictColumn(bool, "", "whether its place on the front is settled"),
}


class Verdict(NamedTuple):
    """What a run's seeds say of one architecture."""

    loss: Interval
    """Validation loss over its seeds, nat/token; where it lacks some of the run's, as if it had them (`seeds`)."""
    num_diverged: int
    """Seeds with which its training diverged."""
    plain_id: str | None
    """The plain architecture of its depth and budget; `None` where that is itself, or not complete."""
    difference: Interval | None
    """Loss less the plain one's over the seeds of both, nat/token; `None` without a plain one or a common seed."""
    front_probability: float
    """Of standing on the front of all objectives."""

    @property
    def perplexity_low(self) -> float | None:
        """Lower end of the 95 % interval; `None` with one seed."""
        return None if self.loss.low is None else math.exp(self.loss.low)

    @property
    def perplexity_high(self) -> float | None:
        """Upper end of the 95 % interval; `None` with one seed."""
        return None if self.loss.high is None else math.exp(self.loss.high)

    @property
    def settled(self) -> bool:
        """Whether its place on the front is beyond reasonable doubt."""
        enough = self.loss.num >= MIN_SEEDS and not self.num_diverged
        return enough and self.front_probability >= MIN_PROBABILITY


def verdict_values(verdict: Verdict | None) -> dict[str, Any]:
    """The values of `VERDICT_COLUMNS`; all `None` in a run that has one seed."""
    if verdict is None:
        return dict.fromkeys(VERDICT_COLUMNS)
    difference = verdict.difference
    return {
        "num_seeds": verdict.loss.num,
        "mean_perplexity": math.exp(verdict.loss.mean),
        "perplexity_low": verdict.perplexity_low,
        "perplexity_high": verdict.perplexity_high,
        "plain_id": verdict.plain_id,
        "plain_difference": None if difference is None else difference.mean,
        "plain_difference_low": None if difference is None else difference.low,
        "plain_difference_high": None if difference is None else difference.high,
        "front_probability": verdict.front_probability,
        "settled": verdict.settled,
    }


def verdicts_of(records: Sequence[Record], *, objectives: Sequence[str]) -> dict[str, Verdict]:
    """Architecture id to verdict, of all that can stand on a front; empty where none has several seeds."""
    losses = losses_by_seed(records)
    if max((len(item) for item in losses.values()), default=0) < 2:
        return {}
    points = [item for item in complete(records, objectives=objectives) if item.architecture_id in losses]
    shares = _front_probabilities(points, losses=losses, objectives=objectives)
    diverged = Counter(item.architecture_id for item in records if item.state == "diverged")
    plain = {(item.depth, item.budget): item.architecture_id for item in points if item.fusion == "none"}
    verdicts = {}
    for point, share in zip(points, shares, strict=True):
        own, plain_id = point.architecture_id, plain.get((point.depth, point.budget))
        verdicts[own] = Verdict(
            loss=_at(point, mean_interval(list(losses[own].values()))),
            num_diverged=diverged[own],
            plain_id=None if plain_id == own else plain_id,
            difference=None if plain_id in (own, None) else _difference(losses[own], losses[plain_id]),
            front_probability=share,
        )
    return verdicts


def told_apart(records: Sequence[Record], *, ids: Sequence[str]) -> NDArray[np.bool_]:
    """Whether two architectures' losses differ with a probability of at least 95 %, `[ids, ids]`, by the posterior.

    The architectures are complete, and some has several seeds: else there is nothing to judge noise by.
    """
    losses = losses_by_seed(records)
    loss_NP = _loss_draws([losses[own] for own in ids], rng=np.random.default_rng(0))
    lower_PP = np.array([(loss_NP[:, [column]] < loss_NP).mean(axis=0) for column in range(len(ids))])
    return np.asarray(np.maximum(lower_PP, lower_PP.T) >= MIN_PROBABILITY, dtype=np.bool_)


def _at(point: Record, over_seeds: Interval) -> Interval:
    assert point.loss is not None
    return over_seeds._replace(mean=point.loss)


def _difference(mine: Mapping[int, float], plain: Mapping[int, float]) -> Interval | None:
    shared = sorted(mine.keys() & plain.keys())
    return mean_interval([mine[seed] - plain[seed] for seed in shared]) if shared else None


def _front_probabilities(
    points: Sequence[Record], *, losses: Mapping[str, Mapping[int, float]], objectives: Sequence[str]
) -> list[float]:
    """Axes: N draws, P points, O objectives."""
    rng = np.random.default_rng(0)
    loss_NP = _loss_draws([losses[item.architecture_id] for item in points], rng=rng)
    values_NPO = np.broadcast_to(
        points_of(points, objectives=objectives), (_NUM_DRAWS, len(points), len(objectives))
    ).copy()
    for column, name in enumerate(objectives):
        if not OBJECTIVES[name].cost:
            # Perplexity and bits per byte rise with the loss, and a front knows only what is above what.
            values_NPO[:, :, column] = loss_NP
        elif name == "latency":
            sd_P = np.array([_latency_sd(item) for item in points])
            values_NPO[:, :, column] += rng.standard_normal(loss_NP.shape) * sd_P
    rivals = np.flatnonzero(_sometimes_on_front(values_NPO))
    on_front_P = np.zeros(len(points))
    for values_PO in values_NPO[:, rivals]:
        on_front_P[rivals] += moocore.is_nondominated(values_PO, keep_weakly=True)
    return [float(share) for share in on_front_P / _NUM_DRAWS]


def _sometimes_on_front(values_NPO: NDArray[np.float64]) -> NDArray[np.bool_]:
    """False for points that some other dominates in every draw: they beat nobody whom that one does not beat."""
    best_PO, worst_PO = values_NPO.min(axis=0), values_NPO.max(axis=0)
    firm_PO = worst_PO[moocore.is_nondominated(worst_PO, keep_weakly=False)]
    return np.array([not ((firm_PO < best_O).all(axis=1)).any() for best_O in best_PO], dtype=np.bool_)


def _latency_sd(record: Record) -> float:
    if record.latency_low is None or record.latency_high is None:
        return 0.0
    return max(0.0, record.latency_high - record.latency_low) / (2 * _NORMAL_95)


def _loss_draws(losses: Sequence[Mapping[int, float]], *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws of the architectures' true losses `[draws, architectures]`, up to what is common to all of a draw."""
    blocks = fit_blocks(losses)
    assert blocks is not None
    num = len(blocks.rows)
    sd_N = np.sqrt(blocks.residual / rng.chisquare(blocks.degrees, size=_NUM_DRAWS))
    noise_NP = rng.standard_normal((_NUM_DRAWS, len(blocks.fitted)))
    drawn_NP = blocks.fitted + sd_N[:, None] * (noise_NP @ np.linalg.cholesky(blocks.covariance).T)
    effect_of = {seed: drawn_NP[:, num + place] for place, seed in enumerate(blocks.seeds[1:])}
    draws = np.empty((_NUM_DRAWS, len(losses)))
    draws[:, blocks.rows] = drawn_NP[:, :num]
    for row, own in enumerate(losses):
        if len(own) == 1:
            ((seed, loss),) = own.items()
            draws[:, row] = loss - effect_of.get(seed, 0.0) + sd_N * rng.standard_normal(_NUM_DRAWS)
    return draws

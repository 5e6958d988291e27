"""Every interval and verdict of a confirmation, simulated: how often it covers the truth behind the draws.

The noises are measured ones (`docs/log/statistics.md`, 2026-11-26). The standard deviation over seeds of a difference
is 0.0012 (two dwa) to 0.0156 (dwatt against plain) nat/token within a size. That of a loss is 0.01 to 0.03 across
sizes. The text alone adds 0.0015 to 0.009 with 16,384 tokens in 16 parts.

Axes: N draws, A architectures, S seeds, G parts of the text.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from depthweave.reports.analysis.contrast import Contrast, Variance, paired_contrast, unpaired_contrast
from depthweave.reports.analysis.fresh_losses import FreshLosses, variance_by_parts
from depthweave.reports.analysis.front_membership import FrontMembership, front_memberships
from depthweave.reports.analysis.intervals import mean_interval
from depthweave.reports.analysis.seeds import size_of
from depthweave.reports.analysis.student_t import student_point
from depthweave.reports.analysis.verdicts import MIN_PROBABILITY, distinguishable, verdicts_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from tests.reports.confirmed import PAIR, seeded
from tests.reports.synthetic import make_record

NUM_DRAWS = 4_000
QUIET, MIDDLE, NOISY = 0.0012, 0.0065, 0.0156
"""Standard deviations of a difference over seeds."""
SLACK = 3 * math.sqrt(0.05 * 0.95 / NUM_DRAWS)
"""Three standard errors of a share of 5 %."""
_POINT = make_record()
Draws = NDArray[np.float64]


def _covers(found: Contrast, truth: float) -> float:
    return float(np.mean(np.abs(found.mean - truth) <= found.half_width))


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 8])
@pytest.mark.parametrize("noise", [QUIET, MIDDLE, NOISY])
def test_paired_interval_covers(noise: float, num_seeds: int) -> None:
    rng = np.random.default_rng(num_seeds)
    found = paired_contrast(0.006 + noise * rng.standard_normal((NUM_DRAWS, num_seeds)))
    assert 0.93 <= _covers(found, 0.006) <= 0.97


@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize(("noise", "text"), [(QUIET, 0.0015), (MIDDLE, 0.002), (NOISY, 0.005), (QUIET, 0.005)])
def test_paired_interval_covers_the_whole_text_and_not_only_what_was_read(
    noise: float, text: float, num_seeds: int
) -> None:
    """The truth is the difference on all text; `text` is the standard error of the part that was read."""
    rng, num_parts = np.random.default_rng(1), 16
    own_NSG = noise * rng.standard_normal((NUM_DRAWS, num_seeds, 1))
    text_NSG = text * math.sqrt(num_parts) * rng.standard_normal((NUM_DRAWS, 1, num_parts))
    # What a seed does differs from part to part too, by about as much as the text does.
    both_NSG = text * math.sqrt(num_parts) * rng.standard_normal((NUM_DRAWS, num_seeds, num_parts))
    differences_NSG = 0.006 + own_NSG + text_NSG + both_NSG
    differences_NS = differences_NSG.mean(axis=-1)
    assert 0.93 <= _covers(paired_contrast(differences_NS, text=variance_by_parts(differences_NSG)), 0.006) <= 0.97
    # Without the text's share an interval that is right on this text misses the truth.
    if noise == QUIET:
        assert _covers(paired_contrast(differences_NS), 0.006) < 0.9


@pytest.mark.parametrize(("mine", "theirs"), [(0.01, 0.01), (0.004, 0.03), (0.02, 0.012)])
@pytest.mark.parametrize(("num_mine", "num_theirs"), [(5, 5), (5, 3), (8, 5)])
def test_unpaired_interval_covers_with_unequal_noise_and_seeds(
    mine: float, theirs: float, num_mine: int, num_theirs: int
) -> None:
    rng, text = np.random.default_rng(2), 0.009
    bias_N = text * rng.standard_normal(NUM_DRAWS)
    first = 1.9 + bias_N[:, None] + mine * rng.standard_normal((NUM_DRAWS, num_mine))
    second = 1.8 + theirs * rng.standard_normal((NUM_DRAWS, num_theirs))
    found = unpaired_contrast(first, second, text=Variance(np.array(text**2), np.array(np.inf)))
    assert 0.93 <= _covers(found, 0.1) <= 0.975


def test_interval_of_a_mean_covers() -> None:
    rng = np.random.default_rng(3)
    for num in (2, 3, 5, 10):
        found = [mean_interval(values.tolist()) for values in 0.02 * rng.standard_normal((NUM_DRAWS // 2, num))]
        covered = np.mean([abs(item.mean) <= (item.half_width or 0) for item in found])
        assert 0.93 <= covered <= 0.97


def _losses(noise_A: list[float], *, worse_A: list[float], num_seeds: int, rng: np.random.Generator) -> Draws:
    """[N, A, S]: true losses, an effect of the seed common to all, and each architecture's own noise."""
    common_N1S = 0.02 * rng.standard_normal((NUM_DRAWS, 1, num_seeds))
    own_NAS = rng.standard_normal((NUM_DRAWS, len(noise_A), num_seeds)) * np.array(noise_A)[:, None]
    return 1.9 + np.array(worse_A)[:, None] + common_N1S + own_NAS


def _winner_distinguishable(losses_NAS: Draws) -> Draws:
    """Whether the lowest mean is distinguishable from every other, `[N]`, by the rule of `verdicts.distinguishable`."""
    num = losses_NAS.shape[1]
    below_NAA = np.ones((len(losses_NAS), num, num))
    for first in range(num):
        for second in range(num):
            if first != second:
                found = paired_contrast(losses_NAS[:, first] - losses_NAS[:, second])
                below_NAA[:, first, second] = found.below
    best_N = losses_NAS.mean(axis=-1).argmin(axis=1)
    return (below_NAA[np.arange(len(best_N)), best_N] >= MIN_PROBABILITY).all(axis=1).astype(np.float64)


@pytest.mark.parametrize(
    "noise_A",
    [
        [0.006] * 6,
        [0.014, 0.014, 0.002, 0.002, 0.002, 0.002],
        [0.014] * 2 + [0.002] * 8,
        [0.002, 0.014] + [0.006] * 4,
    ],
)
@pytest.mark.parametrize("num_seeds", [3, 5])
def test_two_equal_architectures_are_called_settled_within_nominal(noise_A: list[float], num_seeds: int) -> None:
    """One noise for all and a one-sided test on a winner that the data chose said so in 11 to 47 %."""
    others = len(noise_A) - 2
    worse_A = [0.0, 0.0, *(0.1 + 0.02 * number for number in range(others))]
    rng = np.random.default_rng(4)
    assert (
        _winner_distinguishable(_losses(noise_A, worse_A=worse_A, num_seeds=num_seeds, rng=rng)).mean() <= 0.05 + SLACK
    )


def test_three_equal_architectures_are_called_settled_less_often_still() -> None:
    losses_NAS = _losses([0.006] * 4, worse_A=[0.0, 0.0, 0.0, 0.1], num_seeds=5, rng=np.random.default_rng(5))
    assert _winner_distinguishable(losses_NAS).mean() <= 0.05


@pytest.mark.parametrize("num_seeds", [3, 5])
def test_true_gap_between_quiet_ones_is_found_as_often_as_by_a_paired_t_test(num_seeds: int) -> None:
    """Whatever noise the others have: pooled over two quiet and six noisy ones, 0.006 was found in 0.1 %."""
    rng = np.random.default_rng(6)
    noise_A, worse_A = [0.002] * 2 + [0.014] * 6, [0.0, 0.006] + [0.2] * 6
    losses_NAS = _losses(noise_A, worse_A=worse_A, num_seeds=num_seeds, rng=rng)
    differences_NS = losses_NAS[:, 0] - losses_NAS[:, 1]
    error_N = differences_NS.std(axis=-1, ddof=1) / math.sqrt(num_seeds)
    by_t = np.mean(differences_NS.mean(axis=-1) / error_N < -float(student_point(0.975, degrees=num_seeds - 1)))
    found = paired_contrast(differences_NS).below >= MIN_PROBABILITY
    assert np.mean(found) == pytest.approx(by_t, abs=0.002)
    assert _winner_distinguishable(losses_NAS).mean() == pytest.approx(by_t, abs=0.03)
    assert np.mean(found) > {3: 0.4, 5: 0.9}[num_seeds]


def _records(losses_AS: Draws, *, latency_A: list[float], sd: float = 0.0) -> list[Record]:
    """Fresh seeds 1, 2, ...; the search's own is the same for all. The latencies' intervals are of this spread."""
    records = []
    for number, losses_S in enumerate(losses_AS):
        own = {0: 1.9, **dict(enumerate(losses_S.tolist(), 1))}
        ends = {"latency_low": latency_A[number] - 1.96 * sd, "latency_high": latency_A[number] + 1.96 * sd}
        made = seeded(f"{number}", own, trial=number, latency=latency_A[number])
        records += [dataclasses.replace(item, **ends) for item in made]
    return records


def _places(losses_AS: Draws, *, latency_A: list[float], sd: float = 0.0) -> list[FrontMembership]:
    """As `verdicts_of` has them of these records, which costs more."""
    points = [
        dataclasses.replace(
            _POINT,
            architecture_id=f"{number}",
            loss=float(losses_S.mean()),
            perplexity=math.exp(losses_S.mean()),
            latency=latency,
            latency_low=latency - 1.96 * sd,
            latency_high=latency + 1.96 * sd,
        )
        for number, (losses_S, latency) in enumerate(zip(losses_AS, latency_A, strict=True))
    ]
    fresh_losses = {
        f"{number}": FreshLosses(size_of(_POINT), dict(enumerate(losses_S.tolist(), 1)), {}, 0)
        for number, losses_S in enumerate(losses_AS)
    }
    return front_memberships(points, fresh_losses=fresh_losses, objectives=PAIR)


def test_draws_by_arrays_decide_as_records_do() -> None:
    losses_NAS = _losses([0.004] * 3, worse_A=[0.0, 0.005, 0.008], num_seeds=5, rng=np.random.default_rng(7))[:60]
    said = []
    for losses_AS in losses_NAS:
        records = _records(losses_AS, latency_A=[1.0, 1.1, 1.2], sd=0.02)
        apart = distinguishable(records, ids=["0", "1", "2"])
        verdicts = verdicts_of(records, objectives=PAIR)
        places = _places(losses_AS, latency_A=[1.0, 1.1, 1.2], sd=0.02)
        assert [verdicts[key].front_probability for key in "012"] == pytest.approx([it.probability for it in places])
        best = int(losses_AS.mean(axis=1).argmin())
        said.append(all(apart[best, other] for other in range(3) if other != best))
    assert said == _winner_distinguishable(losses_NAS).astype(bool).tolist()
    assert 0 < sum(said) < len(said)


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.0, 0.01])
def test_dominated_architecture_is_called_settled_on_the_front_within_nominal(sd: float) -> None:
    """Two have the same loss and the first is slower: with exact costs by a tenth, else by just the tolerance."""
    rng = np.random.default_rng(8)
    losses_NAS = _losses([0.014, 0.003, 0.003], worse_A=[0.0, 0.0, 0.05], num_seeds=5, rng=rng)[:2_000]
    wrong = 0
    for losses_AS in losses_NAS:
        true_A = np.array([1.1, 1.1 * (1 - OBJECTIVES["latency"].tolerance) if sd else 1.0, 0.9])
        latency_A = (true_A + sd * rng.standard_normal(3)).tolist()
        place = _places(losses_AS, latency_A=latency_A, sd=sd)[0]
        wrong += place.probability >= MIN_PROBABILITY
    # One difference in doubt errs on one side alone, two of them on either.
    assert wrong / len(losses_NAS) <= (0.05 if sd else 0.025) + 0.012


@pytest.mark.slow
def test_settled_places_truly_stand_on_the_front() -> None:
    """Of the places called settled, at most one in forty is not on the true front."""
    rng = np.random.default_rng(9)
    sure, truly = [], []
    for _ in range(1_000):
        true_A = 1.9 + 0.006 * rng.standard_normal(5)
        noise_A = rng.choice([0.002, 0.006, 0.011], size=5)
        losses_AS = true_A[:, None] + 0.02 * rng.standard_normal(5) + noise_A[:, None] * rng.standard_normal((5, 5))
        latency_A = (1.0 + 0.1 * rng.permutation(5)).tolist()
        places = _places(losses_AS, latency_A=latency_A)
        for number in range(5):
            quicker = [other for other in range(5) if latency_A[other] < latency_A[number]]
            sure.append(places[number].probability)
            truly.append(all(true_A[other] > true_A[number] for other in quicker))
    settled = np.array(sure) >= MIN_PROBABILITY
    assert settled.sum() > 1_000
    assert np.mean(np.array(truly)[settled]) >= 0.975

"""The sampler `known-cost`: proposals by hand and against a slow computation, and its evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import moocore
import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from depthweave.search.parameters import Parameters
from depthweave.search.pruners.peers import COSTS
from depthweave.search.samplers import Candidates, KnownCostSampler, categorical, make_sampler, of_space
from depthweave.search.samplers.known_cost import STARTUP
from depthweave.search.surrogate.loss_model import Evidence
from depthweave.search.surrogate.posterior import candidate_posterior, known_costs
from depthweave.spaces.space import Axes, enumerate_space

FloatArray = NDArray[np.float64]

CHOICES = {f"axis{number}": tuple(range(4)) for number in range(4)}
DISTRIBUTIONS = {name: CategoricalDistribution(values) for name, values in CHOICES.items()}
POINTS = [dict(zip(CHOICES, values, strict=True)) for values in product(*CHOICES.values())]
"""256 candidates."""


def gains_of(candidates: Candidates, trials: Sequence[Evidence]) -> FloatArray:
    """Expected hypervolume improvements, `[N]`."""
    found = candidate_posterior(candidates, trials, costs=known_costs(candidates, trials))
    assert found is not None
    return found.gains_N


def cost_of(point: Mapping[str, int]) -> float:
    return 1.0 + sum(point.values())


def loss_of(point: Mapping[str, int]) -> float:
    """A loss that falls with the cost, with a narrow minimum at one of the 256 points."""
    far = sum(value != best for value, best in zip(point.values(), (2, 0, 3, 1), strict=True))
    return 3.0 - 0.05 * cost_of(point) + 0.4 * min(far, 3)


def some_candidates() -> Candidates:
    costs_NC = np.array([[cost_of(point)] for point in POINTS])
    return categorical(POINTS, distributions=DISTRIBUTIONS, costs_NC=costs_NC)


def open_study(*, seed: int, sampler: optuna.samplers.BaseSampler | None = None) -> Study:
    return optuna.create_study(
        directions=["minimize", "minimize"], sampler=sampler or KnownCostSampler(some_candidates(), seed=seed)
    )


def run(study: Study, count: int) -> list[dict[str, int]]:
    found = []
    for _ in range(count):
        trial = study.ask(dict(DISTRIBUTIONS))
        study.tell(trial, [loss_of(trial.params), cost_of(trial.params)])
        found.append(trial.params)
    return found


def ended(
    point: Mapping[str, int], *, state: TrialState = TrialState.COMPLETE, loss: float | None = None
) -> FrozenTrial:
    told = loss_of(point) if loss is None else loss
    return optuna.create_trial(
        state=state,
        params=dict(point),
        distributions=DISTRIBUTIONS,
        values=[told, cost_of(point)] if state == TrialState.COMPLETE else None,
        user_attrs={COSTS: {"cost": cost_of(point)}},
    )


def numbered(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    for number, trial in enumerate(trials):
        trial.number = number
    return list(trials)


def test_next_proposal_by_hand() -> None:
    # The two untried candidates are equally far from all tried ones, so the widths of the intervals of cost decide.
    # Front: loss 2 from cost 1, loss 1 from cost 3. The candidate of cost 2 can improve on the interval from 2 to 3 and
    # on all above 3, the candidate of cost 4 only on a part of the latter.
    choices = {"only": CategoricalDistribution(("a", "b", "c", "cheap", "dear"))}
    candidates = categorical(
        [{"only": name} for name in choices["only"].choices],
        distributions=choices,
        costs_NC=np.array([[1.0], [3.0], [5.0], [2.0], [4.0]]),
    )
    trials = [Evidence(0, 2.0, finished=True), Evidence(1, 1.0, finished=True), Evidence(2, 1.5, finished=True)]
    gains_N = gains_of(candidates, trials)
    assert gains_N[3] > gains_N[4] > 0.0


def test_expected_improvements_equal_a_mean_over_sampled_outcomes() -> None:
    rng = np.random.default_rng(3)
    candidates = some_candidates()
    rows = rng.permutation(len(POINTS))[:20]
    trials = [Evidence(int(row), loss_of(POINTS[row]), finished=True) for row in rows]
    found_N = gains_of(candidates, trials)
    # The slow computation: samples from the posterior of the surrogate's process, and exact hypervolumes.
    from depthweave.search.surrogate.gaussian_process import GaussianProcess

    losses = np.array([item.loss for item in trials], dtype=np.float64)
    floor = losses.min() - 2.0 * (np.median(losses) - losses.min())
    process = GaussianProcess(
        candidates.features_NF[rows], np.log(losses - floor), noise_MM=np.zeros((20, 20)), groups_F=candidates.groups_F
    )
    costs = (candidates.costs_NC - candidates.costs_NC.min()) / np.ptp(candidates.costs_NC)
    points = np.column_stack([losses, costs[rows]])
    front = points[moocore.is_nondominated(points)]
    reference = np.array([front[:, 0].max() + 0.1 * np.ptp(front[:, 0]), 1.1])
    before = moocore.hypervolume(front, ref=reference)
    quantiles = (np.arange(4000) + 0.5) / 4000
    z = np.array([math.sqrt(2) * _inverse_erf(2 * quantile - 1) for quantile in quantiles])
    for row in rng.permutation(len(POINTS))[:6]:
        told = process.predict(candidates.features_NF[[row]])
        outcomes = floor + np.exp(told.mean_N[0] + told.sd_N[0] * z)
        gains = [
            moocore.hypervolume(np.vstack([front, [outcome, costs[row, 0]]]), ref=reference) - before
            if outcome < reference[0]
            else 0.0
            for outcome in outcomes
        ]
        assert found_N[row] == pytest.approx(np.mean(gains), rel=0.03, abs=1e-5)


def test_planted_optimum_that_random_search_misses_is_found() -> None:
    best = loss_of({"axis0": 2, "axis1": 0, "axis2": 3, "axis3": 1})
    known, chance = [], []
    for seed in range(3):
        known.append(min(map(loss_of, run(open_study(seed=seed), 30))))
        rng = np.random.default_rng(seed)
        chance.append(min(loss_of(POINTS[row]) for row in rng.permutation(len(POINTS))[:30]))
    assert known == pytest.approx([best] * 3)
    assert sum(value > best for value in chance) >= 2


def test_same_seed_and_values_give_the_same_proposals_also_with_a_new_sampler() -> None:
    whole = run(open_study(seed=5), 16)
    study = open_study(seed=5)
    first = run(study, 11)
    study.sampler = KnownCostSampler(some_candidates(), seed=5)
    assert [*first, *run(study, 5)] == whole
    assert run(open_study(seed=6), 11) != first


def test_first_proposals_are_spread_over_the_costs() -> None:
    costs = sorted(cost_of(point) for point in run(open_study(seed=0), STARTUP))
    ranks = np.searchsorted(np.sort([cost_of(point) for point in POINTS]), costs) / len(POINTS)
    assert ranks[0] < 1 / STARTUP
    assert ranks[-1] > 0.7
    assert np.diff(ranks).max() < 0.35


def test_every_fusion_is_tried_before_the_surrogate_decides() -> None:
    # One fusion has a single candidate, the dearest; what is known of the others says nothing for it.
    fusions = {"fusion": ("many", "others", "rare"), "wiring": tuple(range(20))}
    distributions = {name: CategoricalDistribution(values) for name, values in fusions.items()}
    points = [{"fusion": name, "wiring": number} for name in ("many", "others") for number in range(20)]
    points.append({"fusion": "rare", "wiring": 19})
    costs = {name: 1.0 + 100.0 * (name == "rare") for name in fusions["fusion"]}
    candidates = categorical(
        points, distributions=distributions, costs_NC=np.array([[costs[it["fusion"]] + it["wiring"]] for it in points])
    )
    for seed in range(4):
        study = optuna.create_study(
            directions=["minimize", "minimize"], sampler=KnownCostSampler(candidates, seed=seed)
        )
        tried = []
        for _ in range(STARTUP + 2):
            trial = study.ask(distributions)
            tried.append(trial.params["fusion"])
            study.tell(trial, [2.0, costs[trial.params["fusion"]] + trial.params["wiring"]])
        assert set(tried) == set(fusions["fusion"])
        assert tried.count("rare") == 1


def test_pending_trial_changes_the_next_proposal() -> None:
    study = open_study(seed=1)
    run(study, 14)
    first, second = study.ask(dict(DISTRIBUTIONS)), study.ask(dict(DISTRIBUTIONS))
    assert first.params != second.params
    sampler = KnownCostSampler(some_candidates(), seed=1)
    trials = study.get_trials(deepcopy=False)
    alone = sampler.propose(trials[:14], number=14)
    beside = sampler.propose(trials[:15], number=15)
    assert POINTS[alone] == first.params
    assert POINTS[beside] == second.params


def test_curves_of_stopped_trials_are_used() -> None:
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(POINTS))[:12]
    whole = [ended(POINTS[row]) for row in rows]
    candidates = some_candidates()

    def curve(final: float, *, length: int = 4) -> tuple[float, ...]:
        return tuple(final + 0.8 * 0.5**step for step in range(length - 1)) + ((final,) if length == 4 else ())

    stopped = [point for point in POINTS if point["axis0"] == 1 and point not in [POINTS[row] for row in rows]][:6]
    trials = numbered([*whole, *(ended(point, state=TrialState.PRUNED) for point in stopped)])
    gains = {}
    for final in (1.8, 4.5):
        sampler = KnownCostSampler(candidates, seed=0)
        told = {number: curve(loss_of(POINTS[row])) for number, row in enumerate(rows)}
        told |= {12 + number: curve(final, length=2)[:2] for number in range(6)}
        sampler.curves = lambda told=told: told  # type: ignore[misc]
        _, evidence = sampler._evidence(trials)
        assert [item.finished for item in evidence] == [True] * 12 + [False] * 6
        assert all(item.sd > 0 and item.loss == pytest.approx(final, abs=0.4) for item in evidence[12:])
        found = gains_of(candidates, evidence)
        alike = [row for row, point in enumerate(POINTS) if point["axis0"] == 1 and point not in stopped]
        gains[final] = float(np.mean(found[alike]))
    assert gains[1.8] > 2 * gains[4.5], "what was stopped with a good curve has good neighbours"


def test_neighbours_of_failed_trials_gain_less() -> None:
    ratios = []
    for seed in range(20):
        candidates, rows = some_candidates(), np.random.default_rng(seed).permutation(len(POINTS))[:12]
        whole = [ended(POINTS[row]) for row in rows]
        others = [row for row, point in enumerate(POINTS) if point["axis0"] == 1 and row not in rows]
        failed = [ended(POINTS[row], state=TrialState.FAIL) for row in others[:6]]
        _, evidence = KnownCostSampler(candidates, seed=0)._evidence(numbered([*whole, *failed]))
        found, without = gains_of(candidates, evidence), gains_of(candidates, evidence[:12])
        ratios.append(found[others[6:]].mean() / without[others[6:]].mean())
    assert np.median(ratios) < 0.6
    # One surrogate can learn from failures that the losses vary more than it thought.
    assert max(ratios) < 1.2


def test_costs_that_have_to_be_measured_are_predicted() -> None:
    space = enumerate_space(
        Axes(
            fusions=("none", "dwa", "concat"),
            dilations=(1, 2, 3),
            periods=(1, 2, "depth"),
            depths=(6, 12),
            budgets=(200_000, 400_000),
            vocabulary=64,
            context=16,
            head_width=16,
        )
    )
    candidates = of_space(Parameters(space), objectives=("perplexity", "latency", "parameters"))
    assert np.isnan(candidates.costs_NC[:, 0]).all()
    assert np.isfinite(candidates.costs_NC[:, 1]).all()
    # A latency that depends on operations and kept states, as on a machine.
    latency_N = (
        candidates.cost_features_NH[:, 0] / 1e6
        + 0.02 * candidates.cost_features_NH[:, 2]
        + 0.001 * candidates.cost_features_NH[:, 1]
    )
    rows = np.random.default_rng(0).permutation(len(space))[:15]
    trials = [Evidence(int(row), 1.0, finished=True, costs_C=(float(latency_N[row]), math.nan)) for row in rows]
    found = known_costs(candidates, trials)
    np.testing.assert_array_equal(found.costs_NC[rows, 0], latency_N[rows])
    np.testing.assert_array_equal(found.costs_NC[:, 1], candidates.costs_NC[:, 1])
    assert (found.log_sd_NC[rows] == 0).all()
    others = np.setdiff1d(np.arange(len(space)), rows)
    assert np.abs(found.costs_NC[others, 0] / latency_N[others] - 1).mean() < 0.05


def test_sampler_of_the_registry_exhausts_a_space_with_unknown_costs() -> None:
    space = enumerate_space(
        Axes(fusions=("dwa",), depths=(4,), budgets=(40_000,), vocabulary=64, context=16, head_width=8)
    )
    parameters = Parameters(space)
    made = make_sampler("known-cost", parameters=parameters, objectives=("perplexity", "latency"), seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=made.sampler)
    seen = {parameters.architecture_id(study.ask(dict(parameters.distributions)).params) for _ in range(len(space))}
    assert len(seen) == len(space)
    with pytest.raises(RuntimeError, match="every architecture of the space has been tried"):
        study.ask(dict(parameters.distributions))


def _inverse_erf(value: float) -> float:
    """By bisection."""
    low, high = -6.0, 6.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if math.erf(middle) < value else (low, middle)
    return low


@pytest.mark.parametrize("num_measured", [0, 1, 5])
def test_predicted_costs_of_a_space_without_cost_features_are_finite(num_measured: int) -> None:
    candidates = categorical(POINTS, distributions=DISTRIBUTIONS, costs_NC=np.full((len(POINTS), 1), math.nan))
    trials = [Evidence(row, 1.0, finished=True, costs_C=(2.0 + row,)) for row in range(num_measured)]
    found = known_costs(candidates, trials)
    assert np.isfinite(found.costs_NC).all()
    assert (found.costs_NC > 0.0).all()
    assert np.isfinite(found.log_sd_NC).all()


# In studies of other programs.


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (["maximize", "minimize"], "the study maximises an objective: minimise all"),
        (["minimize", "maximize"], "the study maximises an objective: minimise all"),
        (["minimize"], "the study has 1 objectives, the candidates have 1 costs: tell the study the loss and every"),
        (["minimize"] * 3, "the study has 3 objectives, the candidates have 1 costs"),
    ],
)
def test_study_with_other_objectives_is_refused_at_its_first_trial(directions: list[str], message: str) -> None:
    study = optuna.create_study(directions=directions, sampler=KnownCostSampler(some_candidates(), seed=0))
    study.enqueue_trial(POINTS[0])
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^KnownCostSampler: {message}"):
            study.ask(dict(DISTRIBUTIONS))


def test_loss_alone_is_minimised_over_candidates_without_costs() -> None:
    candidates = categorical(POINTS, distributions=DISTRIBUTIONS, costs_NC=np.empty((len(POINTS), 0)))
    study = optuna.create_study(sampler=KnownCostSampler(candidates, seed=0))
    for _ in range(30):
        trial = study.ask(dict(DISTRIBUTIONS))
        study.tell(trial, loss_of(trial.params))
    losses = sorted(map(loss_of, POINTS))
    # 30 random draws of 256 contain one of the best two with a probability of 0.22.
    assert study.best_value <= losses[1]


def test_costs_of_a_wrong_shape_and_a_wrong_index_of_the_loss_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^Candidates\.costs_NC has shape \(256,\): it must have a row for each"):
        categorical(POINTS, distributions=DISTRIBUTIONS, costs_NC=np.ones(len(POINTS)))
    with pytest.raises(ValueError, match=r"^KnownCostSampler\.loss is 2: it must be from 0 to 1"):
        KnownCostSampler(some_candidates(), seed=0, loss=2)

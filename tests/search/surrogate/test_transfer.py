"""A source predicts the order of architectures of other sizes, and its weight follows from the search's own trials."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depthweave.reports.analysis.rank_agreement import kendall_tau
from depthweave.search.parameters import Parameters
from depthweave.search.surrogate.candidates import Candidates, FloatArray, of_space
from depthweave.search.surrogate.loss_model import Evidence, loss_posterior
from depthweave.search.surrogate.loss_scale import LossScale
from depthweave.search.surrogate.posterior import candidate_posterior, known_costs
from depthweave.search.surrogate.source_prior import KnownLosses, SourcePrior, source_prior
from depthweave.search.surrogate.transfer import SourceLosses, SourceModels, source_predictions
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space

AXES = Axes(
    fusions=("none", "dwa", "dwatt", "concat"),
    dilations=(1, 2, 4),
    periods=(1, 2, 3, "depth"),
    depths=(6,),
    budgets=(150_000,),
    vocabulary=256,
    context=64,
    head_width=16,
)
GAIN = {"none": 0.0, "dwa": 0.16, "dwatt": 0.05, "concat": -0.05}


def planted(architecture: Architecture) -> float:
    """The loss: more connections help, by an amount that depends on the fusion."""
    possible = architecture.depth * (architecture.depth + 1) / 2
    share = architecture.wiring.num_connections / possible
    return 2.0 - GAIN[architecture.fusion] * float(np.sqrt(share)) - 0.01 * architecture.depth


def source_of(
    space: SearchSpace, *, noise: float = 0.004, shuffled: bool = False, turned: bool = False
) -> SourceLosses:
    """`turned`: what is good in the search is bad in the source."""
    rng = np.random.default_rng(0)
    architectures = tuple(item.architecture for item in space)
    losses_S = np.array([planted(item) for item in architectures]) + noise * rng.standard_normal(len(architectures))
    losses_S = 4.0 - losses_S if turned else losses_S
    return SourceLosses(
        name="small",
        architectures=architectures,
        losses_S=rng.permutation(losses_S) if shuffled else losses_S,
    )


SMALL = enumerate_space(AXES)
LARGE = enumerate_space(dataclasses.replace(AXES, depths=(12,), budgets=(600_000,)))
LARGE_ARCHITECTURES = [item.architecture for item in LARGE]
TRUTH_N = np.array([planted(item) for item in LARGE_ARCHITECTURES])


def candidates_of(*sources: SourceLosses) -> Candidates:
    models = SourceModels(sources) if sources else None
    return of_space(Parameters(LARGE), objectives=("perplexity", "parameters"), sources=models)


def evidence_of(rows: list[int]) -> list[Evidence]:
    return [Evidence(row, float(TRUTH_N[row]), finished=True) for row in rows]


def prior_of(candidates: Candidates, rows: list[int]) -> SourcePrior:
    assert candidates.source_logs_NK is not None
    scale = LossScale.of(TRUTH_N[rows])
    known = KnownLosses(
        np.array(rows, dtype=np.intp), scale.logarithm(TRUTH_N[rows]), np.zeros((len(rows), len(rows))), 0.5
    )
    return source_prior(
        candidates.source_logs_NK, candidates.features_NF, known, scale=scale, groups_F=candidates.groups_F
    )


def error(mean_N: FloatArray) -> float:
    return float(np.sqrt(np.square(mean_N - TRUTH_N).mean()))


def test_a_source_ranks_the_architectures_of_twice_the_depth_and_four_times_the_budget() -> None:
    (predicted_N,) = source_predictions([source_of(SMALL)], LARGE_ARCHITECTURES)
    assert kendall_tau(predicted_N, TRUTH_N) > 0.8


def test_a_source_that_never_saw_a_fusion_predicts_about_its_mean_for_it() -> None:
    source = source_of(SMALL)
    kept = [place for place, item in enumerate(source.architectures) if item.fusion != "dwa"]
    cut = SourceLosses(
        name="cut", architectures=tuple(source.architectures[place] for place in kept), losses_S=source.losses_S[kept]
    )
    (predicted_N,) = source_predictions([cut], LARGE_ARCHITECTURES)
    dwa = [place for place, item in enumerate(LARGE_ARCHITECTURES) if item.fusion == "dwa"]
    assert cut.losses_S.min() < predicted_N[dwa].min() <= predicted_N[dwa].max() < cut.losses_S.max()


def test_three_records_say_nothing_of_the_order() -> None:
    source = source_of(SMALL)
    few = SourceLosses(name="few", architectures=source.architectures[:3], losses_S=source.losses_S[:3])
    (predicted_N,) = source_predictions([few], LARGE_ARCHITECTURES)
    assert np.ptp(predicted_N) == 0.0
    assert predicted_N[0] == pytest.approx(float(np.exp(np.log(source.losses_S[:3]).mean())))


def test_no_sources_have_no_columns() -> None:
    assert source_predictions([], LARGE_ARCHITECTURES) == []
    assert SourceModels([source_of(SMALL)]).log_losses([]).shape == (0, 1)


def test_losses_that_do_not_fit_the_architectures_are_refused() -> None:
    source = source_of(SMALL)
    with pytest.raises(ValueError, match="give one loss for each"):
        SourceLosses(name="odd", architectures=source.architectures, losses_S=source.losses_S[1:])
    broken_S = source.losses_S.copy()
    broken_S[2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        SourceLosses(name="odd", architectures=source.architectures, losses_S=broken_S)


def test_a_source_that_predicts_the_trials_is_believed_and_a_wrong_one_is_not() -> None:
    rows, wanted_N = list(range(0, len(LARGE), 4)), np.log(TRUTH_N)
    right, wrong = source_of(SMALL), source_of(SMALL, turned=True)
    believed_N = prior_of(candidates_of(right), rows).offset_N
    assert kendall_tau(believed_N, wanted_N) > 0.8
    assert np.ptp(prior_of(candidates_of(wrong), rows).offset_N) < 0.05 * np.ptp(believed_N)
    both_N = prior_of(candidates_of(right, wrong), rows).offset_N
    assert kendall_tau(both_N, wanted_N) > 0.8
    assert np.ptp(both_N) > 0.8 * np.ptp(believed_N)


def test_losses_that_the_architectures_do_not_explain_say_nothing() -> None:
    (predicted_N,) = source_predictions([source_of(SMALL, shuffled=True)], LARGE_ARCHITECTURES)
    assert np.ptp(predicted_N) < 0.1 * np.ptp(source_of(SMALL).losses_S)


@pytest.mark.parametrize("step", [12, 7, 4])
def test_with_a_source_few_trials_predict_the_others_and_a_wrong_one_does_little_harm(step: int) -> None:
    evidence = evidence_of(list(range(0, len(LARGE), step)))
    errors = {}
    for name, sources in (
        ("none", ()),
        ("own", (source_of(SMALL),)),
        ("shuffled", (source_of(SMALL, shuffled=True),)),
        ("turned", (source_of(SMALL, turned=True),)),
    ):
        candidates = candidates_of(*sources)
        posterior = candidate_posterior(candidates, evidence, costs=known_costs(candidates, evidence))
        assert posterior is not None
        errors[name] = error(posterior.mean_N)
    assert errors["own"] < 0.4 * errors["none"]
    assert errors["shuffled"] < 1.1 * errors["none"]
    assert errors["turned"] < 1.2 * errors["none"]


def test_before_the_first_trial_the_source_proposes_its_own_front() -> None:
    candidates = candidates_of(source_of(SMALL))
    posterior = candidate_posterior(candidates, [], costs=known_costs(candidates, []))
    assert posterior is not None
    best = LARGE_ARCHITECTURES[int(np.argmax(posterior.gains_N))]
    assert best.fusion == "dwa"
    # With one running, the next proposal is another part of the front.
    running = [Evidence(int(np.argmax(posterior.gains_N)), None)]
    after = candidate_posterior(candidates, running, costs=known_costs(candidates, running))
    assert after is not None
    assert after.gains_N[running[0].row] < 0.2 * posterior.gains_N[running[0].row]


def test_one_complete_trial_sets_the_level_of_the_source() -> None:
    candidates = candidates_of(source_of(SMALL))
    evidence = [Evidence(3, 7.0, finished=True)]
    posterior = loss_posterior(candidates, evidence)
    assert posterior is not None
    assert posterior.is_prior
    losses_N = posterior.floor + np.exp(posterior.function.mean_N)
    assert abs(float(np.median(losses_N)) - 7.0) < 1.0


def test_without_sources_too_few_trials_have_no_posterior() -> None:
    assert loss_posterior(candidates_of(), evidence_of([0])) is None


def test_the_same_trials_and_other_sources_are_not_mixed_up() -> None:
    candidates, evidence = candidates_of(source_of(SMALL)), evidence_of(list(range(0, len(LARGE), 7)))
    without = dataclasses.replace(candidates, source_logs_NK=None)
    first, second = loss_posterior(candidates, evidence), loss_posterior(without, evidence)
    assert first is not None
    assert second is not None
    assert not np.allclose(first.function.mean_N, second.function.mean_N)


@pytest.mark.parametrize("lowest", [0.0, 1e-9, 1.0])
def test_widely_spread_losses_keep_everything_finite(lowest: float) -> None:
    # The floor is then below 0, and an error of a tagger may be 0.
    source = source_of(SMALL)
    spread_S = lowest + np.square(np.linspace(0.0, 3.0, len(source.losses_S)))
    candidates = candidates_of(dataclasses.replace(source, losses_S=spread_S))
    assert candidates.source_logs_NK is not None
    assert np.isfinite(candidates.source_logs_NK).all()
    for num in (0, 1, 2, 6):
        rows = list(range(0, 4 * num, 4))
        evidence = [Evidence(row, lowest + place**2, finished=True) for place, row in enumerate(rows)]
        evidence += [Evidence(row, lowest + 1.0, sd=3.0) for row in (1, 2, 3)]
        posterior = candidate_posterior(candidates, evidence, costs=known_costs(candidates, evidence))
        assert posterior is not None
        assert np.isfinite(posterior.mean_N).all()
        assert np.isfinite(posterior.gains_N).all()

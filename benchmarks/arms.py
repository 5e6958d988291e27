"""Sampler and pruner together, by name: what the connectivity table compares.

Single-metric ASHA is Optuna's asynchronous successive halving, reduction factor 3, which sees only the loss, like Ray's
and Syne Tune's schedulers. `tpe + median` is the strategy of Depthweave 0.1: the median pruner, which sees only peers
that cost no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from benchmarks.botorch_peer import BoTorchProposer
from benchmarks.connectivity_problems import CurveProblem
from benchmarks.contenders import CONTENDERS
from benchmarks.neps_peer import NepsChooser
from benchmarks.replay import OptunaStopper, Proposer, Stopper
from benchmarks.syne_tune_peer import SyneTuneStopper
from depthweave.search.pruners import PRUNERS, make_pruner
from depthweave.search.pruners.chooser import Chooser, Guide
from depthweave.search.pruners.pareto import ParetoChooser
from depthweave.search.samplers.guide import SurrogateGuide
from depthweave.search.surrogate.pool import FixedPool
from depthweave.search.surrogate.space_filling import space_filling_subset
from depthweave.search.survey import survey_size

REDUCTION_FACTOR = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A sampler, and a pruner or a chooser or neither; each made from a problem and a seed."""

    name: str
    proposer: Callable[[CurveProblem, int], Proposer]
    stopper: Callable[[CurveProblem, int], Stopper] | None = None
    chooser: Callable[[CurveProblem, int, Guide | None], Chooser] | None = None
    guide: Callable[[CurveProblem], Guide] | None = None
    """What the chooser is guided by; its curves alone where absent."""
    survey: Callable[[CurveProblem], Sequence[int]] | None = None
    """Rows that are measured before the first training; `None`: no row."""
    missing: str | None = None
    """What must be installed before it can run."""
    most: int | None = None
    """The search ends after so many whole trainings: a limit for a sampler that takes seconds a proposal."""


def sampler(name: str) -> Callable[[CurveProblem, int], Proposer]:
    """Returns a sampler of contenders.py."""

    def make(problem: CurveProblem, seed: int) -> Proposer:
        return CONTENDERS[name].make(problem.problem, seed)

    return make


def stopping(
    name: str, *, sampler_name: str, pruner: str, options: Mapping[str, Any] | None = None, fair: bool = False
) -> Arm:
    """Returns a sampler with a pruner that stops; `fair`: it sees only peers that cost no more."""

    def make(problem: CurveProblem, seed: int) -> Stopper:
        return OptunaStopper(make_pruner(pruner, options=options or {}), fair=fair)

    missing = None if pruner in PRUNERS else f"the pruner '{pruner}'"
    return Arm(name=name, proposer=sampler(sampler_name), stopper=make, missing=missing)


def pausing(name: str, *, sampler_name: str, surveyed: bool = False) -> Arm:
    """Returns a sampler with the default chooser `pareto`; `surveyed`: measures as many rows first as a search does."""

    def survey(problem: CurveProblem) -> Sequence[int]:
        size = len(problem.curves.ids)
        count = survey_size(size, trials=size, steps=problem.steps) if surveyed else 0
        return space_filling_subset(problem.problem.candidates, first=problem.plain, count=count)

    def seen(problem: CurveProblem) -> CurveProblem:
        rows = survey(problem)
        costs_NC = problem.problem.candidates.costs_NC.copy()
        costs_NC[rows] = problem.curves.costs_NC[rows]
        candidates = replace(problem.problem.candidates, costs_NC=costs_NC)
        return replace(problem, problem=replace(problem.problem, candidates=candidates))

    def propose(problem: CurveProblem, seed: int) -> Proposer:
        return sampler(sampler_name)(seen(problem), seed)

    def guide(problem: CurveProblem) -> Guide:
        return SurrogateGuide(FixedPool(seen(problem).problem.candidates, keys=problem.curves.ids))

    def choose(problem: CurveProblem, seed: int, guide: Guide | None) -> Chooser:
        return ParetoChooser(num_evaluations=problem.curves.num_evaluations, seed=seed, guide=guide)

    return Arm(
        name=name,
        proposer=propose,
        chooser=choose,
        # As in a search: sampler and chooser decide by one surrogate.
        guide=guide if CONTENDERS[sampler_name].has_surrogate else None,
        survey=survey if surveyed else None,
    )


def _absent(package: str) -> str | None:
    return None if find_spec(package) else package


RIVALS = (
    Arm(
        name="botorch nehvi, costs known, 60 trainings",
        proposer=lambda problem, seed: BoTorchProposer(problem.problem, seed, noisy=True),
        missing=_absent("botorch"),
        most=60,
    ),
    Arm(
        name="random + syne-tune mo-asha, mended",
        proposer=sampler("random"),
        stopper=SyneTuneStopper,
        missing=_absent("syne_tune"),
    ),
    Arm(
        name="random + neps mo-asha",
        proposer=sampler("random"),
        chooser=lambda problem, seed, guide: NepsChooser(problem, seed),
        missing=_absent("neps"),
    ),
)
"""Of other projects, where they are installed; mended where they fail, as their files say."""
ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        pausing("known-cost + pareto", sampler_name="known-cost", surveyed=True),
        pausing("known-cost + pareto, no survey", sampler_name="known-cost"),
        Arm(name="known-cost", proposer=sampler("known-cost")),
        pausing("random + pareto", sampler_name="random"),
        Arm(name="random", proposer=sampler("random")),
        Arm(name="tpe", proposer=sampler("tpe")),
        Arm(name="nsga2", proposer=sampler("nsga2")),
        stopping(
            "random + asha",
            sampler_name="random",
            pruner="successive_halving",
            options={"min_resource": 1, "reduction_factor": REDUCTION_FACTOR},
        ),
        stopping("random + mo-asha", sampler_name="random", pruner="mo-asha"),
        stopping("random + mo-asha, factor 2", sampler_name="random", pruner="mo-asha", options={"eta": 2}),
        stopping("tpe + median", sampler_name="tpe", pruner="median", fair=True),
        *RIVALS,
    )
}
"""In the order of the tables."""

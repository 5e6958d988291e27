"""How long a decision takes: proposals of known-cost, also among sparse graphs, and choices of pareto.

    python -m benchmarks.decision_times

Medians of processor time and of wall time, milliseconds. Other work on the machine shows in the wall time.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from itertools import product

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from depthweave.search.parameters import Parameters, sparse_values
from depthweave.search.pruners.chooser import TrialSnapshot
from depthweave.search.pruners.pareto import ParetoChooser, ParetoPruner
from depthweave.search.pruners.peers import COSTS
from depthweave.search.samplers import KnownCostSampler, categorical, make_sampler
from depthweave.search.samplers.distinct import FIXED_PARAMS
from depthweave.search.samplers.guide import SurrogateGuide
from depthweave.search.surrogate import evidence
from depthweave.search.surrogate import loss_model as losses
from depthweave.search.surrogate.pool import FixedPool
from depthweave.spaces.space import Axes, Candidate, enumerate_space
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.wiring_moves import random_wiring

ROUNDS = 9
CHOICES = {f"edge{edge}": CategoricalDistribution(tuple(range(5))) for edge in range(6)}
POINTS = [dict(zip(CHOICES, values, strict=True)) for values in product(range(5), repeat=6)]
"""15,625 candidates, as many as NAS-Bench-201 has."""
COSTS_NC = np.random.default_rng(0).uniform(1.0, 2.0, size=(len(POINTS), 2))


def main() -> None:
    """Prints the table and a JSON line."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: dict[str, tuple[float, float]] = {}
    for num_costs in (1, 2):
        for num in (200, 2000):
            rows[f"known-cost, {1 + num_costs} objectives, {num:,} records"] = proposal(num, num_costs=num_costs)
    for num_budgets in (1, 8):
        known, times = sparse_proposal(2000, num_budgets=num_budgets)
        rows[f"known-cost, {known:,} enumerated and 10^19 sparse graphs, 2,000 records"] = times
    rows |= {f"pareto, {name}, 1,000 trials": times for name, times in decisions(1000).items()}
    print("| decision | processor ms | clock ms |\n|---|---|---|")
    for name, (processor_ms, clock_ms) in rows.items():
        print(f"| {name} | {processor_ms:.1f} | {clock_ms:.1f} |")
    print(json.dumps({"benchmark": "decision_times", "ms": {name: list(found) for name, found in rows.items()}}))


def proposal(num: int, *, num_costs: int) -> tuple[float, float]:
    """One proposal among all points after `num` complete trials."""
    rng = np.random.default_rng(1)
    candidates = categorical(POINTS, distributions=CHOICES, costs_NC=COSTS_NC[:, :num_costs])
    trials = []
    for number, row in enumerate(rng.permutation(len(POINTS))[:num]):
        loss = sum(POINTS[row].values()) / 10 + float(rng.normal(0.0, 0.1))
        trial = optuna.create_trial(
            params=POINTS[row], distributions=dict(CHOICES), values=[loss, *COSTS_NC[row, :num_costs].tolist()]
        )
        trial.number = number
        trials.append(trial)
    sampler = KnownCostSampler(candidates, seed=0)
    return timed(lambda: sampler.propose(trials, number=num))


def sparse_proposal(num: int, *, num_budgets: int) -> tuple[int, tuple[float, float]]:
    """Number of enumerated architectures, and one proposal after `num` complete trials, half of them sparse graphs.

    Every proposal follows another trial, as in a search: the pool is made again.
    """
    axes = Axes(
        fusions=("none", "dwa", "dwatt", "concat"),
        dilations=tuple(range(1, 7)),
        periods=tuple(range(1, 7)),
        depths=tuple(range(4, 25)),
        budgets=tuple(20_000_000 + 1_000_000 * number for number in range(num_budgets)),
        vocabulary=256,
        context=64,
        sparse=SparseAxes(connections=(12, 24), fusions=("dwa", "dwatt")),
    )
    parameters, rng = Parameters(enumerate_space(axes)), random.Random(0)
    assert parameters.sparse is not None
    values = [parameters.spelling(key) for key in rng.sample(parameters.architecture_ids, num // 2)]
    while len(values) < num + ROUNDS + 1:
        target = rng.choice(parameters.sparse.targets)
        wiring = random_wiring(target.depth, connections=target.connections, rng=rng)
        made = parameters.sparse.resolved(wiring, fusion=target.fusion, budget=target.budget)
        if made is not None:
            values.append(sparse_values(Candidate(architecture=made, rule=None, budget=target.budget)))
    rng.shuffle(values)
    trials = []
    for number, item in enumerate(values):
        own = {name: value for name, value in item.items() if name in parameters.distributions}
        trial = optuna.create_trial(
            params=own,
            distributions={name: parameters.distributions[name] for name in own},
            values=[3.0 + rng.gauss(0.0, 0.1), 1.0 + rng.random(), 2e7],
            system_attrs={FIXED_PARAMS: item},
        )
        trial.number = number
        trials.append(trial)
    sampler = make_sampler(
        "known-cost", parameters=parameters, objectives=("perplexity", "latency", "parameters"), seed=0
    ).sampler
    assert isinstance(sampler, KnownCostSampler)
    lengths = iter(range(num, len(trials)))

    def propose() -> int:
        length = next(lengths)
        return sampler.propose(trials[:length], number=length)

    return len(parameters.architecture_ids), timed(propose)


def decisions(num: int) -> dict[str, tuple[float, float]]:
    """A choice by the curves alone, one with the surrogate among 1,000 candidates, and a stop for ever."""
    rng = np.random.default_rng(2)
    points = POINTS[: num + 200]
    candidates = categorical(points, distributions=CHOICES, costs_NC=COSTS_NC[: len(points), :1])
    snapshots = []
    study = optuna.create_study()
    for number in range(num):
        whole = number % 20 == 0
        start = float(rng.normal(3.0, 0.1))
        losses = tuple(start * 0.95**step for step in range(10 if whole else int(rng.choice([1, 2, 4, 8]))))
        costs = {"latency": float(COSTS_NC[number, 0])}
        snapshots.append(TrialSnapshot(number, str(number), costs, losses, "complete" if whole else "paused"))
        study.add_trial(
            optuna.create_trial(
                state=TrialState.COMPLETE if whole else TrialState.PRUNED,
                value=losses[-1],
                intermediate_values=dict(enumerate(losses)),
                user_attrs={COSTS: costs},
            )
        )
    trial = study.ask()
    trial.set_user_attr(COSTS, {"latency": 1.5})
    for step in range(4):
        trial.report(2.9 * 0.95**step, step)
    pruner, frozen = ParetoPruner(audit_frac=0.0), study._storage.get_trial(trial._trial_id)
    guide = SurrogateGuide(FixedPool(candidates, keys=[str(number) for number in range(len(points))]))
    alone, guided = ParetoChooser(num_evaluations=10), ParetoChooser(num_evaluations=10, guide=guide)
    return {
        "choice by the curves": timed(lambda: alone.choose(snapshots, may_start=True)),
        "choice with the surrogate": timed(lambda: guided.choose(snapshots, may_start=True)),
        "stop for ever": timed(lambda: pruner.prune(study, frozen)),
    }


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Medians of processor and clock, milliseconds, after one call that warms up."""
    call()
    processor_ms, clock_ms = [], []
    for _ in range(ROUNDS):
        # Repeated questions are cached, so every question here is new.
        evidence._forecasts.cache_clear()
        losses._losses.cache_clear()
        processor, clock = time.process_time(), time.perf_counter()
        call()
        processor_ms.append(1000 * (time.process_time() - processor))
        clock_ms.append(1000 * (time.perf_counter() - clock))
    return statistics.median(processor_ms), statistics.median(clock_ms)


if __name__ == "__main__":
    main()

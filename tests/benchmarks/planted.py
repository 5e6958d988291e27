"""A table with a planted front, of any size."""

from __future__ import annotations

from itertools import product
from typing import cast

import numpy as np

from benchmarks.connectivity_problems import CurveProblem
from benchmarks.problems import Problem, TableParameters
from benchmarks.replay import Curves, Measuring
from depthweave.search.parameters import Parameters
from depthweave.search.surrogate.candidates import categorical


def planted(*, num_parameters: int, num_choices: int) -> Problem:
    """Rows near a planted line are best; the first parameter is what they cost."""
    choices = {f"p{item}": tuple(range(num_choices)) for item in range(num_parameters)}
    spelled = {values: "-".join(map(str, values)) for values in product(*choices.values())}
    parameters = TableParameters(choices, spelled)
    values_NP = np.array(list(spelled))
    loss_N = np.abs(values_NP[:, 1:] - 1).sum(axis=1) + (num_choices - values_NP[:, 0]) / num_choices
    return Problem(
        name="planted",
        parameters=cast(Parameters, parameters),
        objectives=("loss", "cost"),
        points_NO=np.column_stack([loss_N, values_NP[:, 0]]).astype(np.float64),
        candidates=categorical(
            [parameters.spelling(item) for item in spelled.values()],
            distributions=parameters.distributions,
            costs_NC=values_NP[:, :1],
        ),
    )


def planted_curves(
    *, num_parameters: int, num_choices: int, num_evaluations: int, measuring: Measuring | None = None
) -> CurveProblem:
    """The same with curves: they fall alike to the row's loss, with a little noise of their own."""
    problem = planted(num_parameters=num_parameters, num_choices=num_choices)
    left_E = np.linspace(1.0, 0.0, num_evaluations)
    noise_NE = 0.05 * np.random.default_rng(0).normal(size=(len(problem.points_NO), num_evaluations))
    curves = Curves(
        ids=tuple(problem.parameters.architecture_ids),
        losses_NE=problem.points_NO[:, :1] + 2.0 * left_E + noise_NE * left_E,
        cost_names=problem.objectives[1:],
        costs_NC=problem.points_NO[:, 1:],
        evaluation_s_N=1.0 + problem.points_NO[:, 1],
        measuring=measuring,
    )
    return CurveProblem(problem=problem, curves=curves, tokens=100, steps=320)

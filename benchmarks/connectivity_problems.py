"""Our own tables of finished trainings as problems: each seed of an edition is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from benchmarks import train_connectivity
from benchmarks.problems import Problem, TableParameters
from benchmarks.replay import Curves, Measuring
from benchmarks.wide_table import parts
from benchmarks.wide_table import table as wide_table
from depthweave.search.parameters import Parameters
from depthweave.search.surrogate.candidates import Candidates, of_space
from depthweave.search.survey import MEASURING_STEPS
from depthweave.spaces.space import SearchSpace
from depthweave.trainers import Recipe

MEASURED = ("latency", "memory_bytes")
"""Costs that are unknown until a trial measures them."""


@dataclass(frozen=True, kw_only=True)
class Edition:
    """Trainings of one space with one recipe: a table, or a part of one."""

    name: str
    path: Path
    make_space: Callable[[], SearchSpace]
    recipe: Recipe
    part: str | None = None
    """Which rows of the file; all where it has no parts."""

    @cached_property
    def space(self) -> SearchSpace:
        """The architectures that may be in the table."""
        return self.make_space()

    def rows(self, seed: int) -> dict[str, dict[str, Any]]:
        """Returns the trainings with a seed by architecture id; `ValueError` where there is none."""
        if not self.path.exists():
            raise ValueError(f"{self.path} is not there: see benchmarks/data/README.md")
        rows = [item for item in pq.read_table(self.path).to_pylist() if item["seed"] == seed]
        found = {item["architecture_id"]: item for item in rows if self.part is None or item["part"] == self.part}
        if not found:
            raise ValueError(f"{self.path} holds no training of {self.name} with seed {seed}")
        return found


EDITIONS = {
    item.name: item
    for item in (
        Edition(
            name="first",
            path=train_connectivity.TABLE,
            make_space=train_connectivity.space,
            recipe=train_connectivity.RECIPE,
        ),
        *(
            Edition(
                name=name,
                path=wide_table.TABLE,
                make_space=partial(parts.space, name),
                recipe=part.recipe,
                part=name,
            )
            for name, part in parts.PARTS.items()
        ),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveProblem:
    """A problem whose first objective comes as a curve."""

    problem: Problem
    curves: Curves
    tokens: int
    """Tokens of training between two evaluations."""
    steps: int
    """Steps of a whole training."""
    plain: tuple[int, ...] = ()
    """Rows of the architectures without fusions, the reference first if there is one."""


def connectivity(edition: Edition, *, seed: int, costs: tuple[str, ...]) -> CurveProblem:
    """Returns loss against the given costs, of the architectures that the edition has with this seed."""
    rows = edition.rows(seed)
    missing = {item for item in costs for row in rows.values() if row.get(item) is None}
    if missing:
        raise ValueError(f"{edition.path} lacks {', '.join(sorted(missing))}: measure, then write it again")
    parameters = _restricted(Parameters(edition.space), known=set(rows))
    chosen = [rows[name] for name in parameters.architecture_ids]
    curves = Curves(
        ids=tuple(parameters.architecture_ids),
        losses_NE=np.array([row["loss"] for row in chosen]),
        cost_names=costs,
        costs_NC=np.array([[float(row[name]) for name in costs] for row in chosen]),
        evaluation_s_N=np.array([row["train_s"] / len(row["loss"]) for row in chosen]),
        fusions=tuple(edition.space[name].architecture.fusion for name in parameters.architecture_ids),
        measuring=_measuring(chosen, recipe=edition.recipe) if set(costs) & set(MEASURED) else None,
    )
    reference_id = edition.space.plain().architecture.id
    plain = [row for row, name in enumerate(curves.ids) if edition.space[name].architecture.fusion == "none"]
    title = "connectivity" if edition.part is None else f"connectivity, {edition.part}"
    return CurveProblem(
        problem=Problem(
            name=f"{title}, seed {seed}: loss, {', '.join(costs)}",
            parameters=cast(Parameters, parameters),
            objectives=("loss", *costs),
            points_NO=curves.points_NO,
            candidates=_known_before(curves, space=edition.space),
        ),
        curves=curves,
        tokens=chosen[0]["tokens"][0],
        steps=edition.recipe.steps,
        plain=tuple(sorted(plain, key=lambda row: curves.ids[row] != reference_id)),
    )


def restricted(problem: CurveProblem, *, to: Callable[[str], bool]) -> CurveProblem:
    """Returns the rows of a problem whose architecture ids are wanted."""
    curves, candidates = problem.curves, problem.problem.candidates
    rows = [row for row, name in enumerate(curves.ids) if to(name)]
    ids = tuple(curves.ids[row] for row in rows)
    parameters = problem.problem.parameters
    assert isinstance(parameters, TableParameters)
    return replace(
        problem,
        problem=replace(
            problem.problem,
            parameters=cast(Parameters, parameters.restricted(ids)),
            points_NO=problem.problem.points_NO[rows],
            candidates=_rows(candidates, rows),
        ),
        curves=replace(
            curves,
            ids=ids,
            losses_NE=curves.losses_NE[rows],
            costs_NC=curves.costs_NC[rows],
            evaluation_s_N=curves.evaluation_s_N[rows],
            fusions=None if curves.fusions is None else tuple(curves.fusions[row] for row in rows),
        ),
        plain=tuple(rows.index(row) for row in problem.plain if row in rows),
    )


def _measuring(rows: Sequence[Mapping[str, Any]], *, recipe: Recipe) -> Measuring:
    """Returns the cost of a measurement as a search counts it: steps of the table's median training."""
    whole_frac = MEASURING_STEPS / recipe.steps
    train_s = float(np.median([row["train_s"] for row in rows]))
    return Measuring(evaluations=whole_frac * recipe.num_evaluations, seconds=whole_frac * train_s)


def _known_before(curves: Curves, *, space: SearchSpace) -> Candidates:
    """Returns the table's rows as a search sees them before any trial: without measured costs."""
    whole = Parameters(space)
    rows = [whole.architecture_ids.index(name) for name in curves.ids]
    is_measured = [name in MEASURED for name in curves.cost_names]
    known = _rows(of_space(whole, objectives=()), rows)
    return replace(known, costs_NC=np.where(is_measured, np.nan, curves.costs_NC))


def _rows(candidates: Candidates, rows: Sequence[int]) -> Candidates:
    """Returns the candidates of these rows."""
    chosen = list(rows)
    return replace(
        candidates,
        parameters=tuple(candidates.parameters[row] for row in chosen),
        features_NF=candidates.features_NF[chosen],
        costs_NC=candidates.costs_NC[chosen],
        cost_features_NH=candidates.cost_features_NH[chosen],
    )


def _restricted(whole: Parameters, *, known: set[str]) -> TableParameters:
    """Returns the space's own parameters, without unknown architectures."""
    choices = {name: item.choices for name, item in whole.distributions.items()}
    spelled = {}
    for values in product(*choices.values()):
        found = whole.architecture_id(dict(zip(choices, values, strict=True)))
        if found in known:
            spelled[values] = found
    return TableParameters(choices, spelled)

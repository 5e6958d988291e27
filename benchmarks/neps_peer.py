"""NePS's multi-objective ASHA, which pauses trials and promotes the best third of a rung.

NePS decides which trial continues. Which architecture a new trial has, the arm's sampler decides: NePS draws at random
too, but also what it has drawn before. Version 0.17 raises where three or more trials were sent to a rung and none has
a result there yet, which several workers cause at once; a new trial is started then. Its epsilon-net is a copy of Syne
Tune's with the fault of the order within a front (syne_tune_peer.py), which is left in. Needs neural-pipeline-search,
which is not among the project's dependencies.

Source: R. Schmucker et al. (2021), arXiv:2106.12639.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from benchmarks.connectivity_problems import CurveProblem
from depthweave.search.pruners.chooser import NEW, TrialSnapshot

_FIDELITY = "evaluations"


class NepsChooser:
    """A chooser for one replay: unlike ours it has a state."""

    def __init__(self, problem: CurveProblem, seed: int) -> None:
        # It draws the first trial of a front from NumPy's global state.
        np.random.seed(seed)  # noqa: NPY002
        neps = import_module("neps")
        whole = problem.curves.num_evaluations
        space = neps.SearchSpace(
            {"row": neps.HPOFloat(0.0, 1.0), _FIDELITY: neps.HPOInteger(1, whole, is_fidelity=True)}
        )
        optimizer = import_module("neps.optimizers.algorithms").moasha(space)
        self._rungs = set(optimizer.rung_to_fid.values()) - {whole}
        self._neps = neps.AskAndTell(_Starting(optimizer))
        self._names = problem.curves.cost_names
        self._asked: list[Any] = []
        """NePS's trials without a result."""

    def is_rung(self, evaluation: int) -> bool:
        return evaluation in self._rungs

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        self._tell(snapshots)
        trial = self._neps.ask()
        number = _number(trial)
        if number == len(snapshots) and not may_start:
            # A wish that cannot be granted must not count as a running trial.
            del self._neps.trials[trial.id]
            return None
        self._asked.append(trial)
        return NEW if number == len(snapshots) else number

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        return ()

    def _tell(self, snapshots: Sequence[TrialSnapshot]) -> None:
        for trial in list(self._asked):
            if _number(trial) >= len(snapshots):
                # NePS wanted a new trial, and there was no architecture left.
                del self._neps.trials[trial.id]
                self._asked.remove(trial)
                continue
            snapshot, evaluation = snapshots[_number(trial)], trial.config[_FIDELITY]
            if len(snapshot.losses) >= evaluation:
                values = [snapshot.losses[evaluation - 1], *(snapshot.costs[name] for name in self._names)]
                self._neps.tell(trial, {"objective_to_minimize": values})
                self._asked.remove(trial)


@dataclass(frozen=True, slots=True)
class _Starting:
    """Starts a trial where NePS raises."""

    optimizer: Any

    def __call__(self, trials: Mapping[str, Any], *rest: Any) -> Any:
        try:
            return self.optimizer(trials, *rest)
        except ValueError as error:
            if "need at least one array" not in str(error):
                raise
            name = f"{len({item.partition('_rung_')[0] for item in trials}) + 1}_rung_0"
            config = {"row": 0.5, _FIDELITY: self.optimizer.fid_min}
            return import_module("neps").SampledConfig(id=name, config=config)


def _number(trial: Any) -> int:
    """Returns the number of a trial in the search: NePS counts from 1."""
    return int(trial.id.partition("_rung_")[0]) - 1

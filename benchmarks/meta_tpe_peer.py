"""Meta-learned TPE of OptunaHub: a sampler that learns from another study, a peer of a warm start.

`OPTUNAHUB_REGISTRY` names the folder `package` of a copy of OptunaHub's registry; without it the package optunahub
loads the sampler from the network. Needs optunahub (0.5 was used), which is not among the project's dependencies. The
sampler is for Optuna 4. Two private names of TPE that it uses are another in Optuna 5, and are given to it here: the
size of the better group, and how the trials are split. It learns from complete trials alone, where Optuna's TPE learns
from stopped ones too.

Source: S. Watanabe and others (2023), arXiv:2212.06751.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import optuna
from optuna.samplers._tpe.sampler import _split_trials, default_gamma_multiobjective

from benchmarks.connectivity_problems import CurveProblem
from benchmarks.contenders import OptunaProposer
from depthweave.search.samplers.distinct import DistinctSampler

_PACKAGE = "samplers/meta_learn_tpe"


def meta_tpe(target: CurveProblem, *, source: CurveProblem, seed: int) -> OptunaProposer:
    """Returns the sampler without repeats, as Optuna's own are used."""
    study = _source_study(target, source=source)
    kind = _module().MetaLearnTPESampler
    vars(sys.modules[kind.__module__])["_split_trials"] = _split

    def make(seed: int) -> Any:
        sampler = kind(source_studies=[study], seed=seed, n_startup_trials=8)
        for inner in (sampler._target_sampler, *sampler._source_samplers):
            inner._gamma = inner._gamma or default_gamma_multiobjective
        return sampler

    sampler = DistinctSampler(target.problem.parameters, make=make, seed=seed)
    return OptunaProposer(target.problem, sampler, repeats=False)


def _split(study: optuna.Study, trials: list[Any], n_below: int, *, constraints_enabled: bool) -> Any:
    assert not constraints_enabled
    return _split_trials(study, trials, n_below)


def _source_study(target: CurveProblem, *, source: CurveProblem) -> optuna.Study:
    """Returns the source's trials in the target's parameters: a size that all of the target share is theirs too."""
    parameters = target.problem.parameters
    known = [parameters.spelling(item) for item in parameters.architecture_ids]
    shared = {name: known[0][name] for name in known[0] if len({item[name] for item in known}) == 1}
    study = optuna.create_study(directions=["minimize"] * len(target.problem.objectives))
    for row, name in enumerate(source.curves.ids):
        study.add_trial(
            optuna.create_trial(
                params={**source.problem.parameters.spelling(name), **shared},
                distributions=dict(parameters.distributions),
                values=source.curves.points_NO[row].tolist(),
            )
        )
    return study


def _module() -> Any:
    hub, registry = import_module("optunahub"), os.environ.get("OPTUNAHUB_REGISTRY")
    return hub.load_module(_PACKAGE) if registry is None else hub.load_local_module(_PACKAGE, registry_root=registry)

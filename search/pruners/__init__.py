"""Which trial to stop: Optuna pruners by name, asked with fair peers only."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from optuna import pruners
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner

PRUNERS: dict[str, type[BasePruner]] = {
    "median": pruners.MedianPruner,
    "percentile": pruners.PercentilePruner,
    "successive_halving": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
    "patient": pruners.PatientPruner,
    "threshold": pruners.ThresholdPruner,
    "wilcoxon": pruners.WilcoxonPruner,
    "none": pruners.NopPruner,
}


def make_pruner(name: str, *, options: Mapping[str, Any]) -> BasePruner:
    """The Optuna pruner of that name; `ValueError` names the nearest known pruner or option.

    `patient` takes the pruner it wraps by name (`wrapped_pruner: median`).
    """
    if name not in PRUNERS:
        near = get_close_matches(name, PRUNERS, n=1, cutoff=0.0)
        raise ValueError(f"pruner '{name}' is not known: did you mean '{near[0]}'? Known: {', '.join(PRUNERS)}")
    known = list(inspect.signature(PRUNERS[name]).parameters)
    for option in options:
        if option not in known:
            near = get_close_matches(option, known, n=1, cutoff=0.0)
            hint = f": did you mean '{near[0]}'? Known: {', '.join(known)}" if near else ", which has none"
            raise ValueError(f"pruner_options.{option} is not known to pruner '{name}'{hint}")
    if name == "wilcoxon" and find_spec("scipy") is None:
        raise ValueError("pruner 'wilcoxon' needs scipy: install it, or take another pruner")
    arguments = dict(options)
    if isinstance(arguments.get("wrapped_pruner"), str):
        arguments["wrapped_pruner"] = make_pruner(arguments["wrapped_pruner"], options={})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return PRUNERS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"pruner_options {dict(options)} do not suit pruner '{name}': {error}") from None


__all__ = ["PRUNERS", "make_pruner"]

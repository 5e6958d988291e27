"""Which trial to stop: Optuna pruners by name, asked with fair peers only."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, get_type_hints

from optuna import pruners
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from pydantic import ConfigDict, TypeAdapter, ValidationError

from depthweave.search.pruners.chooser import Chooser, Guide
from depthweave.search.pruners.halving import AshaPruner, MoAshaPruner
from depthweave.search.pruners.pareto import ParetoChooser, ParetoPruner
from depthweave.spaces.unknown_names import unknown_name

PRUNERS: dict[str, type[BasePruner]] = {
    "median": pruners.MedianPruner,
    "percentile": pruners.PercentilePruner,
    "successive_halving": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
    "patient": pruners.PatientPruner,
    "threshold": pruners.ThresholdPruner,
    "wilcoxon": pruners.WilcoxonPruner,
    "pareto": ParetoPruner,
    "mo-asha": MoAshaPruner,
    "asha": AshaPruner,
    "none": pruners.NopPruner,
}


def check_pruner(name: str) -> str:
    """The name, where it is known and can be had; `ValueError` names the nearest known one."""
    if name not in PRUNERS:
        raise ValueError(unknown_name("pruner", name, PRUNERS))
    if name == "wilcoxon" and find_spec("scipy") is None:
        raise ValueError("pruner 'wilcoxon' needs scipy: install it, or take another pruner")
    return name


def make_pruner(name: str, *, options: Mapping[str, Any]) -> BasePruner:
    """The Optuna pruner of that name; `ValueError` names the nearest known pruner or option.

    `patient` takes the pruner it wraps by name (`wrapped_pruner: median`).
    """
    pruner = PRUNERS[check_pruner(name)]
    kinds = get_type_hints(pruner.__init__)
    known = list(inspect.signature(pruner).parameters)
    arguments = {}
    for option, value in options.items():
        if option not in known:
            raise ValueError(unknown_name(f"pruner '{name}': option", option, known))
        if option == "wrapped_pruner" and isinstance(value, str):
            value = make_pruner(value, options={})
        arguments[option] = _as_kind(value, kinds[option], name=f"option '{option}' of pruner '{name}'")
    missing = [item for item in known if item not in options and _is_required(pruner, item)]
    if missing:
        raise ValueError(f"pruner '{name}' needs {' and '.join(missing)}: give it in pruner_options")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return pruner(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{dict(options)} do not suit pruner '{name}': {error}") from None


def make_chooser(
    name: str, *, options: Mapping[str, Any], num_evaluations: int, seed: int, guide: Guide | None = None
) -> Chooser | None:
    """The chooser of a pruner that pauses, with the options that `make_pruner` took; `None` of one that only stops."""
    if name != "pareto":
        return None
    return ParetoChooser(**{"seed": seed, **options}, num_evaluations=num_evaluations, guide=guide)


def _is_required(pruner: type[BasePruner], option: str) -> bool:
    return inspect.signature(pruner).parameters[option].default is inspect.Parameter.empty


def _as_kind(value: Any, kind: Any, *, name: str) -> Any:
    """The value as what the pruner's signature says: Optuna takes anything, and stumbles in the midst of a search."""
    try:
        # YAML reads 1e-3 as text, which a number may be written as; true, which Python takes for 1, may not.
        adapter = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_python(value, strict=isinstance(value, bool))
    except ValidationError as error:
        raise ValueError(f"{name} is {value!r:.60}: {error.errors()[0]['msg']}") from None


__all__ = ["PRUNERS", "check_pruner", "make_chooser", "make_pruner"]

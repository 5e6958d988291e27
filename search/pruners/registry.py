"""The pruners by name: one row each in a literal dict, with the chooser of a pruner that pauses."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunerRow:
    """What a search knows about a pruner."""

    make: type[BasePruner]
    """The class. Its arguments are the pruner's options."""
    chooser: Callable[..., Chooser] | None = None
    """Makes the chooser that replaces the pruner in a search: it pauses trials instead of stopping them. Takes the same
    options, `num_evaluations`, `seed` and `guide`; `None` for a pruner that only stops."""
    requires: str | None = None
    """The optional package that the pruner imports."""


PRUNERS: Mapping[str, PrunerRow] = {
    "median": PrunerRow(make=pruners.MedianPruner),
    "percentile": PrunerRow(make=pruners.PercentilePruner),
    "successive_halving": PrunerRow(make=pruners.SuccessiveHalvingPruner),
    "hyperband": PrunerRow(make=pruners.HyperbandPruner),
    "patient": PrunerRow(make=pruners.PatientPruner),
    "threshold": PrunerRow(make=pruners.ThresholdPruner),
    "wilcoxon": PrunerRow(make=pruners.WilcoxonPruner, requires="scipy"),
    "pareto": PrunerRow(make=ParetoPruner, chooser=ParetoChooser),
    "mo-asha": PrunerRow(make=MoAshaPruner),
    "asha": PrunerRow(make=AshaPruner),
    "none": PrunerRow(make=pruners.NopPruner),
}


def check_pruner(name: str) -> str:
    """Returns the name. Raises `ValueError` if it is unknown or its package is not installed."""
    if name not in PRUNERS:
        raise ValueError(unknown_name("pruner", name, PRUNERS))
    requires = PRUNERS[name].requires
    if requires is not None and find_spec(requires) is None:
        raise ValueError(f"pruner '{name}' needs {requires}: install it, or take another pruner")
    return name


def make_pruner(name: str, *, options: Mapping[str, Any]) -> BasePruner:
    """Returns the Optuna pruner of that name. Raises `ValueError` for an unknown pruner or an unsuitable option.

    `patient` takes the pruner that it wraps by name (`wrapped_pruner: median`).
    """
    pruner = PRUNERS[check_pruner(name)].make
    arguments = _arguments(name, options)
    required = [item for item in inspect.signature(pruner).parameters if _is_required(pruner, item)]
    missing = [item for item in required if item not in options]
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
    """Returns the chooser of a pruner that pauses, with the pruner's options; `None` for a pruner that only stops."""
    make = PRUNERS[check_pruner(name)].chooser
    if make is None:
        return None
    arguments = {"seed": seed, **_arguments(name, options)}
    return make(**arguments, num_evaluations=num_evaluations, guide=guide)


def _arguments(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options, each converted to the type that the pruner's signature gives."""
    pruner = PRUNERS[name].make
    types, known = get_type_hints(pruner.__init__), list(inspect.signature(pruner).parameters)
    arguments = {}
    for option, value in options.items():
        if option not in known:
            raise ValueError(unknown_name(f"pruner '{name}': option", option, known))
        if option == "wrapped_pruner" and isinstance(value, str):
            value = make_pruner(value, options={})
        arguments[option] = _converted(value, types[option], name=f"option '{option}' of pruner '{name}'")
    return arguments


def _is_required(pruner: type[BasePruner], option: str) -> bool:
    return inspect.signature(pruner).parameters[option].default is inspect.Parameter.empty


def _converted(value: Any, expected: Any, *, name: str) -> Any:
    """Returns the value as the expected type. Optuna accepts any type, and would fail in the middle of a search."""
    try:
        # YAML reads 1e-3 as text, which is accepted for a number. A bool, which Python accepts for 1, is not.
        adapter = TypeAdapter(expected, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_python(value, strict=isinstance(value, bool))
    except ValidationError as error:
        raise ValueError(f"{name} is {value!r:.60}: {error.errors()[0]['msg']}") from None

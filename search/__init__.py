"""Which architecture to try next: spec, samplers, pruners, Ray trials, driver, progress and the command line.

The way of a search: `spec` is read, `setting` prepares text and space, `driver` starts Ray (`cluster`) and runs trials
(`tuning`, `trial`); `searcher` and `scheduler` hear of them and tell the `book`, which asks and tells Optuna
(`studies`, by the `strategy` of `samplers` and `pruners`), keeps paused trials (`pool`) and writes
records (`recording`). `alone` measures the front again, and `confirmation` trains it with further seeds.

Names resolve when first used: importing this package imports neither ray nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthweave.search.driver import SearchResult, run_search
    from depthweave.search.preparation import PreparedSearch, create_run, prepare
    from depthweave.search.pruners import PRUNERS
    from depthweave.search.samplers import SAMPLERS
    from depthweave.search.spec.loading import SpecError, load_spec, make_spec
    from depthweave.search.spec.schema import Spec

_HOMES = {
    "driver": ("SearchResult", "run_search"),
    "pruners": ("PRUNERS",),
    "samplers": ("SAMPLERS",),
    "preparation": ("PreparedSearch", "create_run", "prepare"),
    "spec.schema": ("Spec",),
    "spec.loading": ("SpecError", "load_spec", "make_spec"),
}

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "PreparedSearch",
    "SearchResult",
    "Spec",
    "SpecError",
    "create_run",
    "load_spec",
    "make_spec",
    "prepare",
    "run_search",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"depthweave.search.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

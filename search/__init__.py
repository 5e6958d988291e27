"""Which architecture to try next: spec, samplers, pruners, Ray trials, driver, progress and the command line.

The way of a search: `spec` is read, `preparation` reads the text and enumerates the space, `driver` starts Ray
(`cluster`) and runs trials (`tune`, `trials`). Searcher and scheduler report to the `trial_ledger`. The ledger asks
Optuna for the next trial (`study`, with `samplers` and `pruners`), keeps paused trials (`paused_trials`) and writes
records. `isolated_measurement` measures the front again, and `confirmation` trains it with further seeds.

Names resolve when first used: importing this package imports neither ray nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthweave.spaces.lazy_exports import lazy_exports

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

__getattr__ = lazy_exports(__name__, _HOMES)

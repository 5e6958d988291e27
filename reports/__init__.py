"""What was found: records, the run's store, fronts, selection, figures, page and export.

Names resolve when first used: importing this package imports neither pyarrow nor plotly. The functions `front` and
`export` are imported from their modules, which have the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthweave.spaces.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from depthweave.reports.analysis.front import hypervolume, hypervolume_frac, pareto_ranks, reference_point
    from depthweave.reports.analysis.selection import parse_where, select
    from depthweave.reports.notebook import OpenRun, open
    from depthweave.reports.page.page import write_report
    from depthweave.reports.store.objectives import OBJECTIVES, Objective, objective
    from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
    from depthweave.reports.store.run_info import RunInfo
    from depthweave.reports.store.run_store import RunStore
    from depthweave.reports.terminal.table import front_rows, front_table

_HOMES = {
    "analysis.front": ("hypervolume", "hypervolume_frac", "pareto_ranks", "reference_point"),
    "notebook": ("OpenRun", "open"),
    "store.objectives": ("OBJECTIVES", "Objective", "objective"),
    "page.page": ("write_report",),
    "store.records": ("EvaluationRow", "Record", "WeightRow"),
    "store.run_info": ("RunInfo",),
    "analysis.selection": ("parse_where", "select"),
    "store.run_store": ("RunStore",),
    "terminal.table": ("front_rows", "front_table"),
}

__all__ = [
    "OBJECTIVES",
    "EvaluationRow",
    "Objective",
    "OpenRun",
    "Record",
    "RunInfo",
    "RunStore",
    "WeightRow",
    "front_rows",
    "front_table",
    "hypervolume",
    "hypervolume_frac",
    "objective",
    "open",
    "pareto_ranks",
    "parse_where",
    "reference_point",
    "select",
    "write_report",
]

__getattr__ = lazy_exports(__name__, _HOMES)

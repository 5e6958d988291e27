"""Makes `metrics.json`: the measured values with their units and meanings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from depthweave.reports.analysis.training_tokens import ratio_of
from depthweave.reports.analysis.verdicts import VERDICT_COLUMNS, Verdict, verdict_values
from depthweave.reports.store.arrow_rows import schema_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record

METRICS_FILE = "metrics.json"


def metrics_json(values: Mapping[str, Any], *, verdict: Verdict | None = None) -> str:
    """Returns the given columns of a record, in its order, then further objectives, then those of the verdict."""
    columns = {it.name: (it.metadata[b"unit"].decode(), it.metadata[b"meaning"].decode()) for it in schema_of(Record)}
    columns |= {it.name: (it.unit, it.meaning) for it in OBJECTIVES.values() if it.name not in columns}
    metrics = {}
    for name in [name for name in columns if name in values]:
        value, (unit, meaning) = values[name], columns[name]
        metrics[name] = {
            "value": value.isoformat() if isinstance(value, datetime) else value,
            "unit": unit,
            "meaning": meaning,
        }
    # Heads on a pretrained host have no perplexity, and no such ratio.
    if values.get("perplexity") is not None and values.get("parameters") is not None:
        metrics["tokens_per_parameter"] = {
            "value": ratio_of(values["tokens"], parameters=values["parameters"] + values["embedding_parameters"]),
            "unit": "token/parameter",
            "meaning": "tokens trained on for each parameter, the embedding included",
        }
    if verdict is not None:
        for name, value in verdict_values(verdict).items():
            column = VERDICT_COLUMNS[name]
            metrics[name] = {"value": value, "unit": column.unit, "meaning": column.meaning}
    return json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"

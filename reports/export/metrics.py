"""Makes `metrics.json`: the measured values with their units and meanings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from depthweave.reports.analysis.verdicts import VERDICT_COLUMNS, Verdict, verdict_values
from depthweave.reports.store.records import Record, schema_of

METRICS_FILE = "metrics.json"


def metrics_json(values: Mapping[str, Any], *, verdict: Verdict | None = None) -> str:
    """Returns the given columns in the order of a record, then those of the verdict."""
    fields = {field.name: field for field in schema_of(Record)}
    metrics = {}
    for name in [name for name in fields if name in values]:
        value, metadata = values[name], fields[name].metadata
        metrics[name] = {
            "value": value.isoformat() if isinstance(value, datetime) else value,
            "unit": metadata[b"unit"].decode(),
            "meaning": metadata[b"meaning"].decode(),
        }
    if verdict is not None:
        for name, value in verdict_values(verdict).items():
            column = VERDICT_COLUMNS[name]
            metrics[name] = {"value": value, "unit": column.unit, "meaning": column.meaning}
    return json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"

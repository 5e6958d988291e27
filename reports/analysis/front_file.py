"""`front.parquet` of a run folder: the fronts of a run, with what its confirmation found."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from depthweave.reports.analysis.distinct import grouped, twins_of
from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.verdicts import VERDICT_COLUMNS, verdict_values
from depthweave.reports.store.arrow_rows import ARROW_TYPES, schema_of, to_table
from depthweave.reports.store.objectives import cost_names, searched_quality
from depthweave.reports.store.parquet_file import parquet_bytes
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import FRONT_FILE, RunStore


def write_front(store: RunStore, records: Sequence[Record]) -> pa.Table:
    """Writes `front.parquet` of the run and returns its table: one row for each front and each of its members.

    It holds the joint front, and that of each pair of the quality and a cost. The columns are those of the record,
    `VERDICT_COLUMNS` (null until the run is confirmed), `objectives` ("perplexity,latency" for example), and `twin_of`,
    the distinct member that represents the row on that front.
    """
    schema = front_schema()
    tables = [schema.empty_table()]
    view = RunView.of(records, objectives=store.info.objectives, tolerances=store.info.tolerance_of)
    for names in front_objectives(view.objectives):
        members = front(records, objectives=names)
        rows = [verdict_values(view.verdicts.get(item.architecture_id)) for item in members]
        added = {name: [row[name] for row in rows] for name in VERDICT_COLUMNS}
        added["objectives"] = [",".join(names)] * len(members)
        twins = twins_of(grouped(members, objectives=names, tolerances=view.tolerances, settled=view.settled_ids))
        added["twin_of"] = [twins[item.architecture_id] for item in members]
        columns = [pa.array(values, schema.field(name).type) for name, values in added.items()]
        table = to_table(members, row_class=Record)
        tables.append(pa.table([*table.columns, *columns], schema=schema))
    merged = pa.concat_tables(tables)
    store.write_bytes(FRONT_FILE, parquet_bytes(merged))
    return merged


def front_objectives(objectives: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the joint objectives, then each pair of the quality and a cost, none of them twice."""
    pairs = [(searched_quality(objectives), name) for name in cost_names(objectives)]
    return [tuple(objectives), *(pair for pair in pairs if set(pair) != set(objectives))]


def front_schema() -> pa.Schema:
    """Returns the schema of `front.parquet`: the record, the verdict, the objectives of the front, and the twin."""
    schema = schema_of(Record)
    for name, item in VERDICT_COLUMNS.items():
        metadata = {"unit": item.unit, "meaning": item.meaning}
        schema = schema.append(pa.field(name, ARROW_TYPES[item.kind], metadata=metadata))
    metadata = {"unit": "", "meaning": "names of the minimised columns, with commas between"}
    schema = schema.append(pa.field("objectives", pa.string(), nullable=False, metadata=metadata))
    metadata = {"unit": "", "meaning": "id of the distinct member that it is a twin of; its own where distinct"}
    return schema.append(pa.field("twin_of", pa.string(), metadata=metadata))

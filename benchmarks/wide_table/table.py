"""The Parquet file: one row a training, its curve as lists, the costs of its architecture beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cache import Run
from benchmarks.wide_table.parts import PARTS, SEEDS, space
from depthweave.spaces.skip_connections import num_skip_connections

TABLE = Path(__file__).parents[1] / "data" / "wide.parquet"


def _field(name: str, kind: pa.DataType, meaning: str, unit: str = "") -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"meaning": meaning, "unit": unit})


_SITE = pa.struct([pa.field("block", pa.int32()), pa.field("sources", pa.list_(pa.int32()))])
SCHEMA = pa.schema(
    [
        _field("part", pa.string(), "small, large or english: one space, one text, one number of tokens"),
        _field("architecture_id", pa.string(), "the same for equal graphs of equal sizes"),
        _field("seed", pa.int32(), "of first weights and data order; architectures of one seed are paired"),
        _field("fusion", pa.string(), "how a site combines its sources; none is the plain transformer"),
        _field("wiring", pa.string(), "the simplest rule that gives the sites; empty for none"),
        _field("sites", pa.list_(_SITE), "the states that are read after a block; 0 is the embedding"),
        _field("skip_connections", pa.int32(), "pairs of a site and a source other than its own block"),
        _field("depth", pa.int32(), "transformer blocks", "blocks"),
        _field("budget", pa.int64(), "wanted parameters without the token embedding", "parameters"),
        _field("parameters", pa.int64(), "without the token embedding; within 1 % of the budget", "parameters"),
        _field("width", pa.int32(), "size of a state"),
        _field("heads", pa.int32(), "attention heads of a block"),
        _field("feed_forward", pa.int32(), "inner width of the feed-forward layers"),
        _field("vocabulary", pa.int32(), "number of tokens; 256 are bytes"),
        _field("context", pa.int32(), "length of a training sequence", "tokens"),
        _field("learning_rate", pa.float64(), "the highest of the schedule, chosen by family of fusions"),
        _field("tokens", pa.list_(pa.int64()), "trained on before each evaluation", "tokens"),
        _field("loss", pa.list_(pa.float64()), "validation loss at each evaluation", "nats a byte"),
        _field("train_loss", pa.list_(pa.float64()), "mean training loss since the evaluation before", "nats a byte"),
        _field("train_s", pa.float64(), "of one CPU thread; another training may have run beside it", "seconds"),
        _field("forward_flops", pa.int64(), "multiply-adds of a token's forward pass, times two", "operations"),
        _field("kept_states", pa.int64(), "most states that a forward pass without gradients keeps"),
        _field("latency", pa.float64(), "forward pass relative to the plain transformer of 12 blocks of the part"),
        _field("latency_low", pa.float64(), "lower end of its 95 % interval"),
        _field("latency_high", pa.float64(), "upper end of its 95 % interval"),
        _field("memory_bytes", pa.int64(), "peak memory of a training step", "bytes"),
        _field("forward_memory_bytes", pa.int64(), "peak memory of a forward pass without gradients", "bytes"),
        _field("corpus", pa.string(), "name of the text"),
        _field("corpus_sha256", pa.string(), "of the text"),
        _field("torch", pa.string(), "version of PyTorch"),
        _field("hardware", pa.string(), "that trained"),
    ]
)


def write(
    runs: list[Run], *, costs: Mapping[str, Mapping[str, Any]], to: Path = TABLE, parts: tuple[str, ...] = tuple(PARTS)
) -> str:
    """Writes these parts and says what the file holds; `SystemExit` where a training or a latency is missing."""
    rows: list[dict[str, Any]] = []
    for part in parts:
        found = {(run["architecture_id"], run["seed"]): run for run in runs if run["part"] == part}
        wanted = [(item, seed) for seed in SEEDS for item in space(part)]
        _refuse(part, sum((item.architecture.id, seed) not in found for item, seed in wanted), "trainings", "train")
        _refuse(part, sum(item.architecture.id not in costs for item in space(part)), "latencies", "measure")
        for item, seed in wanted:
            architecture = item.architecture
            rows.append(
                {
                    **costs[architecture.id],
                    **found[architecture.id, seed],
                    "wiring": "" if item.rule is None else str(item.rule),
                    "sites": [{"block": site.block, "sources": list(site.sources)} for site in architecture.wiring],
                    "skip_connections": num_skip_connections(architecture.wiring),
                    "heads": architecture.heads,
                    "vocabulary": architecture.vocabulary,
                    "context": architecture.context,
                }
            )
    about = {part: {"axes": dataclasses.asdict(PARTS[part].axes), "recipe": _recipe(part)} for part in parts}
    latencies = {key: sorted({str(one[key]) for one in costs.values()}) for key in ("hardware", "torch")}
    table = pa.Table.from_pylist([{name: row[name] for name in SCHEMA.names} for row in rows], schema=SCHEMA)
    table = table.replace_schema_metadata(
        {"parts": json.dumps(about), "latencies": json.dumps(latencies), "licence": "Apache-2.0"}
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name first: a reader sees the old table or the new one.
    partial = to.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    partial.replace(to)
    num = len(set(table["architecture_id"].to_pylist()))
    return f"{to}: {len(rows)} trainings of {num} architectures, {to.stat().st_size:,} bytes"


def _recipe(part: str) -> dict[str, Any]:
    """Returns what all trainings of a part share."""
    return {
        name: value
        for name, value in dataclasses.asdict(PARTS[part].recipe).items()
        if name not in ("seed", "learning_rate")
    }


def _refuse(part: str, missing: int, what: str, command: str) -> None:
    if missing:
        raise SystemExit(f"{part}: {missing} {what} are missing: python -m benchmarks.wide_table {command} first")

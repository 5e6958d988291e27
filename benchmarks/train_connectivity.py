"""Trains a whole small connectivity space to the end: the table for replayed searches.

    python -m benchmarks.train_connectivity --worker      # trains what is missing; as many at once as there are cores
    python -m benchmarks.train_connectivity --measure     # latencies of all, in turn; with nothing else running
    python -m benchmarks.train_connectivity --write       # finished trainings into benchmarks/data/connectivity.parquet

A finished training is one line under `runs/connectivity/`, so a killed worker loses one training. Trainings in the
Parquet file are not repeated. Workers claim a training by a file lock.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout

from depthweave.spaces import costs_of
from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
from depthweave.trainers import (
    CorpusSpec,
    Recipe,
    TokenSet,
    TrainingState,
    hardware,
    load_corpus,
    measure_in_turn,
    tokenise,
    train,
)

TABLE = Path(__file__).parent / "data" / "connectivity.parquet"
PARTS = Path("runs/connectivity")
SEEDS = (0, 1)
RECIPE = Recipe(steps=320, precision="float32", batch=16, context=64, num_evaluations=10, evaluation_tokens=16_384)
AXES = Axes(
    fusions=("none", "dwa", "dwatt", "concat"),
    dilations=(1, 2, 4),
    periods=(1, 2, 4, "depth"),
    depths=(6, 12),
    budgets=(150_000, 300_000),
    vocabulary=256,
    context=RECIPE.context,
    head_width=16,
    # The rule that the table's architectures were sized by.
    sizing="nearest",
)


def main() -> None:
    """Trains, measures or writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worker", action="store_true", help="train what is missing")
    parser.add_argument("--measure", action="store_true", help="measure every architecture's latency, in turn")
    parser.add_argument("--write", action="store_true", help="write the Parquet file")
    wanted = parser.parse_args()
    if not (wanted.worker or wanted.measure or wanted.write):
        parser.error("say --worker, --measure or --write")
    PARTS.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if wanted.worker:
        work()
    if wanted.measure:
        measure()
    if wanted.write:
        write()


def space() -> SearchSpace:
    """The space of the table."""
    return enumerate_space(AXES)


def work() -> None:
    """Trains what no worker has trained or is training."""
    tokens = tokenise(load_corpus(CorpusSpec(division="documents")))  # as for the lines that are there
    for seed in SEEDS:
        for item in _shuffled(space()):
            key = f"{item.architecture.id}-{seed}"
            lock = FileLock(PARTS / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            with lock:
                if key not in {f"{run['architecture_id']}-{run['seed']}" for run in finished()}:
                    _keep(_trained(item, seed=seed, tokens=tokens))


def finished() -> Iterator[dict[str, Any]]:
    """Returns the existing trainings, of the table and of the parts, each once."""
    known = set()
    for run in [*_of_table(), *_lines("runs.jsonl")]:
        key = run["architecture_id"], run["seed"]
        if key not in known:
            known.add(key)
            yield run


def measure() -> None:
    """Latency relative to the reference and memory of every architecture, all in turn."""
    items = list(space())
    found = measure_in_turn(
        [item.architecture for item in items],
        reference=space().plain().architecture,
        recipe=RECIPE,
        device=torch.device("cpu"),
        time_limit_s=1.0,
        kinds=("forward",),
    )
    with (PARTS / "costs.jsonl").open("w", encoding="utf-8") as file:
        for item, measured in zip(items, found, strict=True):
            file.write(json.dumps({"architecture_id": item.architecture.id, **dataclasses.asdict(measured)}) + "\n")


def write() -> None:
    """One row a training; curves as lists, the costs of its architecture beside them."""
    costs = {item["architecture_id"]: item for item in _lines("costs.jsonl")}
    by_id = {item.architecture.id: item for item in space()}
    rows = []
    for run in sorted(finished(), key=lambda run: (run["seed"], list(by_id).index(run["architecture_id"]))):
        known = costs.get(run["architecture_id"])
        if known is not None:
            names = ("latency", "latency_low", "latency_high", "memory_bytes", "forward_memory_bytes")
            run |= {name: known[name] for name in names}
        rows.append(run)
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
        {
            "axes": json.dumps(dataclasses.asdict(AXES)),
            "recipe": json.dumps(dataclasses.asdict(RECIPE)),
            "units": "loss and train_loss in nats a byte at each of tokens; latency relative to the plain "
            "transformer of 12 blocks and 300,000 parameters; memory in bytes; seconds of one CPU thread",
        }
    )
    # Written under another name first: workers read the table meanwhile.
    partial = TABLE.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    partial.replace(TABLE)
    print(f"{TABLE}: {len(rows)} trainings of {len(by_id)} architectures, {TABLE.stat().st_size:,} bytes")


def _shuffled(whole: SearchSpace) -> list[Candidate]:
    """Returns a fixed random order, so that the existing trainings always span the space."""
    items = list(whole)
    random.Random(0).shuffle(items)
    return items


def _trained(item: Candidate, *, seed: int, tokens: TokenSet) -> dict[str, Any]:
    architecture, rule = item.architecture, item.rule
    stride = None if rule is None else rule.stride
    state = TrainingState.start(architecture, recipe=dataclasses.replace(RECIPE, seed=seed), device="cpu")
    evaluations = list(train(state, tokens))
    last, known = evaluations[-1], costs_of(architecture)
    print(f"{architecture.fusion} {rule} seed {seed}: {last.loss:.4f} ({last.train_s:.0f} s)", flush=True)
    return {
        "architecture_id": architecture.id,
        "seed": seed,
        "fusion": architecture.fusion,
        "dilation": None if stride is None else stride.dilation,
        "period": None if stride is None else stride.period,
        "depth": architecture.depth,
        "budget": item.budget,
        "width": architecture.width,
        "feed_forward": architecture.feed_forward,
        "parameters": known.parameters,
        "forward_flops": known.forward_flops,
        "kept_states": known.kept_states,
        "tokens": [found.tokens for found in evaluations],
        "loss": [found.loss for found in evaluations],
        "train_loss": [found.train_loss for found in evaluations],
        "train_s": round(last.train_s, 2),
        "evaluation_s": round(last.evaluation_s, 2),
        "corpus": tokens.corpus,
        "corpus_sha256": tokens.corpus_sha256,
        "torch": version("torch"),
        "hardware": hardware(torch.device("cpu")),
    }


def _of_table() -> list[dict[str, Any]]:
    return pq.read_table(TABLE).to_pylist() if TABLE.exists() else []


def _lines(name: str) -> list[dict[str, Any]]:
    path = PARTS / name
    if not path.exists():
        return []
    # A line that a crash cut short has no line end; its training is repeated.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


def _keep(run: dict[str, Any]) -> None:
    # One write a line, so that lines of two workers do not mix.
    with (PARTS / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")


if __name__ == "__main__":
    main()

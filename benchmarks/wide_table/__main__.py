"""Makes the second edition of the connectivity table: all fusions, twenty tokens a parameter, two sizes, two texts.

    python -m benchmarks.wide_table train                 # trains what is missing; as many at once as there are cores
    python -m benchmarks.wide_table train --part small    # of one part alone
    python -m benchmarks.wide_table progress              # how much is there, and how the families compare so far
    python -m benchmarks.wide_table measure               # latencies, in turn; with nothing else running; continues
    python -m benchmarks.wide_table write                 # into benchmarks/data/wide.parquet

About fifteen hours of one core for the trainings, and one to two hours for the latencies. Each family of fusions has
the best of some learning rates, chosen with another seed after a third of the steps at 12 blocks; at other widths the
rate is inversely proportional to the width. The parts:

small    all fusions and wirings at 6 and 12 blocks with 100,000 parameters
large    a third of them with 200,000 parameters
english  a quarter of them on WikiText-2, of which DEPTHWEAVE_DATA names the folder

A finished training is a line of `benchmarks/results/wide_table.jsonl`, so a killed worker loses one training. Workers
claim a training by a file lock. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import os

import torch

from benchmarks.cache import FOLDER, Cache
from benchmarks.latencies import LIMIT_S, Latencies, read
from benchmarks.wide_table.parts import PARTS, SEEDS, space
from benchmarks.wide_table.progress import progress
from benchmarks.wide_table.table import write
from benchmarks.wide_table.training import choose_rates, train_all

LATENCIES = FOLDER / "wide_latencies.jsonl"


def main() -> None:
    """Trains, measures or writes what is asked for."""
    asked = _arguments()
    torch.set_num_threads(1)
    kept = Cache("wide_table")
    parts = tuple(part for part in PARTS if part in (asked.part or PARTS))
    if asked.command == "train":
        choose_rates(kept)
        for part in parts:
            for seed in SEEDS:
                train_all(kept, part=part, seed=seed)
    if asked.command in ("train", "progress"):
        print("\n".join(progress(kept, part) for part in parts))
    if asked.command == "measure":
        for part in parts:
            measure(part, only=asked.only)
    if asked.command == "write":
        print(write(kept.runs(), costs=read(LATENCIES), parts=parts))


def measure(part: str, *, only: int | None = None) -> None:
    """Measures the architectures of a part that have no latency yet, relative to its plain one of 12 blocks."""
    latencies = Latencies(path=LATENCIES, reference=space(part).plain().architecture, recipe=PARTS[part].recipe)
    latencies.measure([item.architecture for item in space(part)], only=only, limit_s=LIMIT_S)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("train", "progress", "measure", "write"))
    parser.add_argument("--part", choices=PARTS, action="append", help="may be given several times; the default is all")
    parser.add_argument("--only", type=int, help="measure at most so many more of each part")
    asked = parser.parse_args()
    needs_text = asked.command == "train" and any(PARTS[part].english for part in asked.part or PARTS)
    if needs_text and "DEPTHWEAVE_DATA" not in os.environ:
        parser.error(
            "DEPTHWEAVE_DATA is not set: name the folder of wikitext-2 there, or say --part small --part large"
        )
    return asked


if __name__ == "__main__":
    main()

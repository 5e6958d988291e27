"""Depthweave on a GPU, part by part.

    python -m benchmarks.gpu --out FOLDER                     # all parts, in their order
    python -m benchmarks.gpu --part fusions --minutes 4 --out FOLDER
    python -m benchmarks.gpu --dry --out FOLDER               # smallest sizes, on a CPU, under three minutes
    python -m benchmarks.gpu --table --out FOLDER             # what is there, as tables

A part stops at its time limit, keeps every measurement at once (`FOLDER/PART.jsonl`), and continues from there. The
exit code is 1 if something failed, and a line names it. benchmarks/gpu/README.md says what each part needs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.ledger import Facts, Ledger
from benchmarks.gpu.sizes import DRY, FULL
from depthweave.trainers import pick_device

MINUTES = {"check": 3.0, "fusions": 4.0, "train": 4.0, "compare": 8.0, "search": 5.0}
"""Default minutes of each part, in order."""


def main() -> int:
    """The parts that are asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=MINUTES, action="append", help="this one alone; repeatable")
    usual = ", ".join(f"{part} {minutes:g}" for part, minutes in MINUTES.items())
    parser.add_argument("--minutes", type=float, help=f"of each part, instead of {usual}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--dry", action="store_true", help="smallest sizes: to try everything on a CPU")
    parser.add_argument("--table", action="store_true", help="print what is there, measure nothing")
    asked = parser.parse_args()
    if asked.table:
        from benchmarks.gpu.table import tables

        print(tables(asked.out))
        return 0
    if asked.minutes is not None and asked.minutes <= 0:
        parser.error(f"--minutes {asked.minutes:g}: give more than 0")
    sizes, failures, left_out = DRY if asked.dry else FULL, [], []
    if asked.dry:
        _make_quick()
    try:
        device = pick_device(asked.device)
    except ValueError as error:
        parser.error(str(error))
    for part in asked.part or MINUTES:
        if device.type != "cuda" and not asked.dry:
            parser.error(f"--device {asked.device} is {device.type} here: full sizes need a GPU; try --dry")
        print(f"== {part}", flush=True)
        ledger = Ledger(
            asked.out / f"{part}.jsonl",
            facts=Facts.of(device, sizes=sizes.name),
            deadline_s=time.monotonic() + 60.0 * (asked.minutes or MINUTES[part]),
        )
        importlib.import_module(f"benchmarks.gpu.{part}").run(ledger, sizes=sizes, device=device, out=asked.out)
        failures += [f"{part}: {key}" for key in ledger.failures]
        left_out += [f"{part}: {key}" for key in ledger.left_out]
    if left_out:
        print(f"left out for lack of time; call again: {', '.join(left_out)}")
    for text in failures:
        print(f"failed: {text}", file=sys.stderr)
    return 1 if failures else 0


def _make_quick() -> None:
    """For a dry run: one thread, and the compiler traces models but generates no code, which takes minutes on a CPU."""
    torch.set_num_threads(1)
    torch.compile = partial(torch.compile, backend="aot_eager")


if __name__ == "__main__":
    sys.exit(main())

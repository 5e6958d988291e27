"""Whether a measurement repeats: one architecture measured ten times, every second time beside another training.

    OMP_NUM_THREADS=1 python -m benchmarks.repeatability                  # about two minutes
    OMP_NUM_THREADS=1 python -m benchmarks.repeatability --time-limit 30

12 blocks, D 64, context 128, batch 16, `dwa` 1x1 beside plain; the neighbour is another process that trains the plain
model with one thread. It prints the forward latencies relative to the reference, how many are within 2 % of their
median, and whether the memory is the same each time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.synchronize
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.wiring import Wiring, strided_wiring
from depthweave.trainers import Recipe
from depthweave.trainers.measure import measure
from depthweave.trainers.optimisation import TrainingStep, make_optimizer

TIMES = 10
WITHIN_FRAC = 0.02
RECIPE = Recipe(batch=16, context=128)


def main() -> None:
    """Measure, print a line each time, and a JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds a measurement")
    limit_s = parser.parse_args().time_limit
    torch.set_num_threads(1)
    fused, plain = architecture("dwa"), architecture("none")
    found = []
    for index in range(TIMES):
        with neighbour() if index % 2 else alone() as where:
            item = measure(
                fused,
                reference=plain,
                recipe=RECIPE,
                device=torch.device("cpu"),
                time_limit_s=limit_s,
                kinds=("forward",),
            )
        found.append(item)
        print(
            f"{where}: {item.latency:.3f} [{item.latency_low:.3f}, {item.latency_high:.3f}], {item.rounds} rounds, "
            f"reference {1e3 * item.reference_latency_s:.0f} ms, noise {item.noise_frac:.1%}, {item.measure_s:.0f} s, "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    latencies = [item.latency for item in found]
    middle = statistics.median(latencies)
    within = sum(abs(value / middle - 1.0) <= WITHIN_FRAC for value in latencies)
    memories = {item.memory_bytes for item in found}
    print(f"{within} of {TIMES} within {WITHIN_FRAC:.0%} of their median {middle:.3f}; memory: {sorted(memories)}")
    print(
        json.dumps(
            {
                "benchmark": "repeatability",
                "time_limit_s": limit_s,
                "latencies": [round(value, 4) for value in latencies],
                "within": within,
                "memories": len(memories),
            }
        )
    )


def architecture(fusion: str, *, blocks: int = 12, width: int = 64) -> Architecture:
    """The plain model, or the same with a fusion after every block."""
    return Architecture(
        fusion=fusion,
        wiring=Wiring(blocks) if fusion == "none" else strided_wiring(blocks),
        width=width,
        heads=2,
        feed_forward=4 * width,
        vocabulary=256,
        context=RECIPE.context,
    )


@contextmanager
def alone() -> Iterator[str]:
    """Nothing else of ours runs."""
    yield "alone"


@contextmanager
def neighbour() -> Iterator[str]:
    """Another process trains meanwhile; it has begun when this is entered."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=_train_for_ever, args=(begun,), daemon=True)
    process.start()
    if not begun.wait(timeout=120):
        raise RuntimeError("the neighbour did not begin within two minutes")
    try:
        yield "beside another training"
    finally:
        process.kill()
        process.join()


def _train_for_ever(begun: multiprocessing.synchronize.Event) -> None:
    torch.set_num_threads(1)
    model = Decoder(architecture("none"))
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=RECIPE), recipe=RECIPE)
    tokens_BT = torch.randint(256, (RECIPE.batch, RECIPE.context + 1), generator=torch.Generator().manual_seed(0))
    while True:
        step(tokens_BT[:, :-1], tokens_BT[:, 1:], learning_rate=1e-3)
        begun.set()


if __name__ == "__main__":
    main()

"""A training that shares a device, in its own process: prints the wall time at the end of each step.

python -m benchmarks.gpu.neighbour FOLDER_OF_LOCKS DEVICE
"""

from __future__ import annotations

import sys
import time

import torch

from depthweave.spaces import Architecture, Wiring
from depthweave.spaces.decoder import Decoder
from depthweave.trainers import Recipe
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.machine import synchronize
from depthweave.trainers.optimisation import TrainingStep, make_optimizer


def main(folder: str, device: torch.device) -> None:
    """Train until the process is ended."""
    torch.set_num_threads(1)
    recipe = Recipe(batch=2, context=32)
    architecture = Architecture(
        fusion="none", wiring=Wiring(2), width=64, heads=2, feed_forward=128, vocabulary=256, context=32
    )
    model = Decoder(architecture).to(device)
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
    tokens_BT = torch.randint(256, (2, 33), device=device)
    lock = DeviceLock(folder, device=device)
    with lock.shared():
        while True:
            step(tokens_BT[:, :-1], tokens_BT[:, 1:], learning_rate=1e-3)
            synchronize(device)
            print(time.time(), flush=True)
            lock.give_way()


if __name__ == "__main__":
    main(sys.argv[1], torch.device(sys.argv[2]))

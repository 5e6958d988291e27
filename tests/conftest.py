"""What all rooms' tests share: one thread, so that times repeat and workers do not crowd each other out."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch


def pytest_configure() -> None:
    torch.set_num_threads(1)

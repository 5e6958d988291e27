"""What all rooms' tests share: one thread, so that workers do not crowd each other out, and one token of Ray."""

from __future__ import annotations

import os
import secrets

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray reads them when whatever test imports it first. The tests' cluster takes orders from the tests alone,
# and no token is written into the user's home.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import torch


def pytest_configure() -> None:
    torch.set_num_threads(1)

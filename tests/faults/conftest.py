"""The text, the spec and the cluster of the search's tests, for searches that are harmed."""

from __future__ import annotations

from tests.buckets import bucket, gate
from tests.search.conftest import (
    _own_cache,
    _quiet_optuna,
    corpus_folder,
    fault,
    ray_address,
    ray_folder,
    run,
    small_spec,
)

__all__ = [
    "_own_cache",
    "_quiet_optuna",
    "bucket",
    "corpus_folder",
    "fault",
    "gate",
    "ray_address",
    "ray_folder",
    "run",
    "small_spec",
]

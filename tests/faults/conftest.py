"""What searches through faults share with searches without: a small text, a small spec, one Ray cluster."""

from __future__ import annotations

from tests.search.conftest import _own_cache, _quiet_optuna, corpus_folder, fault, ray_address, run, small_spec

__all__ = ["_own_cache", "_quiet_optuna", "corpus_folder", "fault", "ray_address", "run", "small_spec"]

"""Removes a run folder in which no work began because Ray could not start, so that the next search may use it."""

from __future__ import annotations

import os
from contextlib import suppress

from pyarrow import fs

from depthweave.reports.store.storage import Storage
from depthweave.search.run_folder.run_lock import locked_run

_START_FILES = ("warm_start.json", "run.json", "spec.yaml", "tokenizer.json", "search.lock")
"""What a search writes before any work, in the order of deletion: without `run.json` there is no run."""
_WORK_FILES = (
    *("study.journal", "survey.json", "learning_rates.json", "records", "evaluations", "weights", "front.parquet"),
    *("checkpoints", "rate_checkpoints"),
)


def clear_unstarted(storage: Storage) -> bool:
    """Deletes a run without any work in it, and the folder if it is then empty; returns whether there was one.

    Raises `ValueError` where a search works on it now. In object storage such a run is kept.
    """
    if not storage.is_local or not storage.exists("run.json"):
        return False
    if any(storage.info(name).type != fs.FileType.NotFound for name in _WORK_FILES):
        return False
    with locked_run(storage, on_wait=lambda line: None):
        for name in _START_FILES:
            with suppress(FileNotFoundError):
                storage.delete(name)
    with suppress(OSError):
        os.rmdir(storage.root)
    return True

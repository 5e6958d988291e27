"""A run folder in which nothing was ever begun, since Ray could not start: it stands in the way of no other search."""

from __future__ import annotations

import os
from contextlib import suppress

from pyarrow import fs

from depthweave.reports.store.storage import Storage
from depthweave.search.run_folder.run_lock import locked_run

_OF_THE_START = ("run.json", "spec.yaml", "tokenizer.json", "search.lock")
"""What a search writes before Ray starts, in the order in which it goes: without `run.json` there is no run."""
_OF_WORK = ("study.journal", "survey.json", "records", "evaluations", "weights", "checkpoints", "front.parquet")


def clear_unstarted(storage: Storage) -> bool:
    """Whether the folder held a run without any work in it; it is gone, with the folder where nothing else was there.

    Raises `ValueError` where a search works on it at this moment. In object storage such a run stays.
    """
    if not storage.is_local or not storage.exists("run.json"):
        return False
    if any(storage.info(name).type != fs.FileType.NotFound for name in _OF_WORK):
        return False
    with locked_run(storage, on_wait=lambda line: None):
        for name in _OF_THE_START:
            with suppress(FileNotFoundError):
                storage.delete(name)
    with suppress(OSError):
        os.rmdir(storage.root)
    return True

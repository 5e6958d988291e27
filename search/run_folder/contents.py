"""The files of a run that goes on: what of them can be held against what the run knows of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore
from depthweave.spaces.checksums import SEAL
from depthweave.trainers.tasks import TaskData


def check_files(store: RunStore, data: TaskData) -> Iterator[str]:
    """Yields a line for each thing that the user is to know; a tokenizer that was lost or changed is made again.

    Raises `ValueError`, one line, where the text gives another tokenizer here than the run has.
    """
    if SEAL not in json.loads(store.read_bytes("run.json")):
        yield f"{store.where}: begun by an earlier version, which kept no sums: its files are not checked"
    if data.tokenizer_json is None:
        return
    content = data.tokenizer_json.encode()
    own, path = hashlib.sha256(content).hexdigest(), f"{store.where}/{TOKENIZER_FILE}"
    if store.info.tokenizer_sha256 not in ("", own):
        raise ValueError(
            f"{store.where}: the text gives another tokenizer here than when the run began: go on with the versions "
            f"that began it ({store.info.software}), or start a new run"
        )
    held = store.read_bytes(TOKENIZER_FILE) if store.has_file(TOKENIZER_FILE) else None
    if held == content:
        return
    if held is not None and not store.info.tokenizer_sha256:
        raise ValueError(f"{path}: is not the tokenizer that the run's text gives here: restore it, or start a new run")
    store.write_bytes(TOKENIZER_FILE, content)
    yield f"{path}: was {'gone' if held is None else 'changed'}; made again of the text"

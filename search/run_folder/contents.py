"""Checks the files of a resumed run against what `run.json` says about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore
from depthweave.spaces.checksums import CHECKSUM_FIELD
from depthweave.trainers.tasks import TaskData


def check_files(store: RunStore, data: TaskData) -> Iterator[str]:
    """Yields a line for each finding; restores a tokenizer that is missing or changed.

    Raises `ValueError`, one line, where the text gives another tokenizer here than the run has.
    """
    if CHECKSUM_FIELD not in json.loads(store.read_bytes("run.json")):
        yield f"{store.where}: begun by an earlier version without checksums: its files are not checked"
    if data.tokenizer_json is None:
        return
    content = data.tokenizer_json.encode()
    own, path = hashlib.sha256(content).hexdigest(), f"{store.where}/{TOKENIZER_FILE}"
    if store.info.tokenizer_sha256 not in ("", own):
        raise ValueError(
            f"{store.where}: the text gives another tokenizer here than when the run began: continue with the versions "
            f"that began it ({store.info.software}), or start a new run"
        )
    found = store.read_bytes(TOKENIZER_FILE) if store.has_file(TOKENIZER_FILE) else None
    if found == content:
        return
    if found is not None and not store.info.tokenizer_sha256:
        raise ValueError(f"{path}: is not the tokenizer that the run's text gives here; restore it, or start a new run")
    store.write_bytes(TOKENIZER_FILE, content)
    yield f"{path}: was {'missing' if found is None else 'changed'}; recreated from the text"

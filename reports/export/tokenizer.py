"""Reads the tokenizer of a run or an export, and checks that the model was trained with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from depthweave.reports.export.training import Training
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore
from depthweave.spaces.checksums import check_listed

_BYTES = "bytes"


def tokenizer_of_run(store: RunStore, record: Record) -> str | None:
    """Returns the `tokenizer.json` that a record was trained with; `None` if a token is a byte.

    Raises `ValueError` if the run has lost it or has another one.
    """
    if record.tokenizer == _BYTES:
        return None
    path, again = f"{store.where}/{TOKENIZER_FILE}", f"`depthweave search --resume --out {store.where}` makes it again"
    if not store.has_file(TOKENIZER_FILE):
        raise ValueError(f"{path}: is gone, and trial {record.trial} was trained with {record.tokenizer}: {again}")
    data = store.read_bytes(TOKENIZER_FILE)
    if store.info.tokenizer_sha256 not in ("", hashlib.sha256(data).hexdigest()):
        raise ValueError(f"{path}: is not the run's (run.json has another checksum): remove it, and {again}")
    content = data.decode("utf-8", errors="replace")
    if (found := _num_tokens(content, where=path)) != record.vocabulary:
        raise ValueError(f"{path}: has {found:,} tokens, trial {record.trial} has {record.vocabulary:,}: restore it")
    return content


def read_tokenizer(folder: Path, *, recorded: Training | None) -> str | None:
    """Returns the `tokenizer.json` of an export or of an architecture's folder; `None` if a token is a byte.

    `recorded` is the content of the folder's `training.yaml`. Raises `ValueError` if the file is missing or different.
    """
    path = folder / TOKENIZER_FILE
    is_there = check_listed(folder, TOKENIZER_FILE)
    if recorded is not None and recorded.tokenizer == _BYTES:
        # The file is only for other libraries.
        return None
    if not is_there:
        if recorded is not None:
            raise ValueError(
                f"{path}: is gone, and the model was trained with {recorded.tokenizer}: put the tokenizer.json of its "
                f"export beside architecture.yaml"
            )
        return None
    data = path.read_bytes()
    if recorded is not None and recorded.tokenizer_sha256 not in ("", hashlib.sha256(data).hexdigest()):
        raise ValueError(f"{path}: is not the model's (training.yaml has another checksum): restore the export's own")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text: restore the export's own") from None


def _num_tokens(content: str, *, where: str) -> int:
    try:
        values = json.loads(content)
        return len({*values["model"]["vocab"], *(item["content"] for item in values["added_tokens"])})
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError(f"{where}: cannot be read: restore it") from None

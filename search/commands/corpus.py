"""The text of `depthweave train`: where the command line says, read as it was for the export.

Where text lies is never taken from an export: one from elsewhere would make its reader train on files of their own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from depthweave.reports.export import Training
from depthweave.search.spec_file import validated
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.regular import read_regular_text
from depthweave.trainers import CorpusSpec, TokenSet, load_corpus, tokenise, tokenise_with

TOKENIZER_FILE = "tokenizer.json"


def corpus_spec(given: str | None, *, recorded: Training | None) -> CorpusSpec:
    """The text to train on, read as it was for the export."""
    options = {} if recorded is None else recorded.corpus_options
    kind = options.get("kind", "stdlib")
    if given is None and kind != "stdlib":
        named = f"hub:{options.get('dataset')}" if kind == "hub" else "PATH"
        raise ValueError(
            f"the export was trained on the corpus {recorded.corpus if recorded else kind}, which it does not carry: "
            f"say where it is with --corpus {named}"
        )
    values: dict[str, Any] = {"kind": "stdlib"}
    if given is not None and given.startswith("hub:"):
        values = {"kind": "hub", "dataset": given.removeprefix("hub:")}
    elif given not in (None, "stdlib"):
        values = {"kind": "files", "paths": tuple(item.strip() for item in str(given).split(","))}
    # Only how text of the same kind is read: what it is comes from the command line.
    names = ("validation_frac", "separator", "config", "split", "column")
    read_as = {name: options[name] for name in names if name in options and values["kind"] == kind}
    return validated({**read_as, **values}, kind=CorpusSpec, where="--corpus")


def tokens_for(spec: CorpusSpec, *, architecture: Architecture, folder: Path, recorded: Training | None) -> TokenSet:
    """The text as tokens of the export's tokenizer; `ValueError` where they are not the architecture's."""
    text, file = load_corpus(spec), folder / TOKENIZER_FILE
    is_bytes = not file.exists() or (recorded is not None and recorded.tokenizer == "bytes")
    found = tokenise(text) if is_bytes else tokenise_with(text, tokenizer_json=read_regular_text(file))
    if recorded is not None and not is_bytes:
        found = dataclasses.replace(found, tokenizer=recorded.tokenizer)
    if found.vocabulary != architecture.vocabulary:
        raise ValueError(
            f"the architecture has {architecture.vocabulary} tokens, {'bytes have' if is_bytes else file} "
            f"{found.vocabulary}: put the tokenizer.json of its export beside architecture.yaml"
        )
    return found

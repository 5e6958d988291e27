"""The text of `depthweave train`: at the path from the command line, read with the options of the export.

The path of a text is never taken from an export: a stranger's export could make its user train on private files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depthweave.reports.export import Training
from depthweave.reports.export.tokenizer import read_tokenizer
from depthweave.reports.formatting import parts_text
from depthweave.reports.store.run_store import TOKENIZER_FILE
from depthweave.search.spec.loading import validated
from depthweave.spaces.architecture import Architecture
from depthweave.trainers import CorpusSpec, TokenSet, load_corpus, tokenise, tokenise_with


def corpus_spec(given: str | None, *, recorded: Training | None) -> CorpusSpec:
    """Returns which text to train on, and how to read it; it is read as for the export."""
    options = {} if recorded is None else recorded.corpus_options
    kind = options.get("kind", "stdlib")
    if given is None and kind != "stdlib":
        named = f"hub:{options.get('dataset')}" if kind == "hub" else "PATH"
        raise ValueError(
            f"the export was trained on the corpus {recorded.corpus if recorded else kind}, which it does not hold: "
            f"give it with --corpus {named}"
        )
    values: dict[str, Any] = {"kind": "stdlib"}
    if given is not None and given.startswith("hub:"):
        values = {"kind": "hub", "dataset": given.removeprefix("hub:")}
    elif given not in (None, "stdlib"):
        values = {"kind": "files", "paths": tuple(item.strip() for item in str(given).split(","))}
    # Only how to read it, and only for the same kind of text: the text itself comes from the command line.
    names = ("validation_frac", "test_frac", "division", "separator", "config", "split", "column")
    read_as = {name: options[name] for name in names if name in options and values["kind"] == kind}
    if recorded is not None and values["kind"] == kind:
        # Exports of earlier versions name no division; this was the only one.
        read_as.setdefault("division", "documents")
    return validated({**read_as, **values}, kind=CorpusSpec, where="--corpus")


def tokens_for(
    spec: CorpusSpec,
    *,
    architecture: Architecture,
    folder: Path,
    recorded: Training | None,
    say: Callable[[str], None] = lambda line: None,
) -> TokenSet:
    """Returns the text as tokens of the export's tokenizer; raises `ValueError` where the vocabulary does not match.

    `say` gets a line about the parts of the text.
    """
    # The tokenizer first, as the text may take long to read.
    tokenizer_json, file = read_tokenizer(folder, recorded=recorded), folder / TOKENIZER_FILE
    text, is_bytes = load_corpus(spec), tokenizer_json is None
    for line in (f"text of {text.name}: {parts_text(text.num_bytes)}", *text.notes):
        say(line)
    found = tokenise(text) if tokenizer_json is None else tokenise_with(text, tokenizer_json=tokenizer_json)
    if recorded is not None and not is_bytes:
        found = dataclasses.replace(found, tokenizer=recorded.tokenizer)
    if found.vocabulary != architecture.vocabulary:
        raise ValueError(
            f"the architecture has {architecture.vocabulary} tokens, {'bytes have' if is_bytes else file} "
            f"{found.vocabulary}: put the tokenizer.json of its export beside architecture.yaml"
        )
    return found

"""How exported weights were trained, in `training.yaml`: all that is needed to repeat the training.

The file has the name and the hash of the text, not the text. It has no paths, so that an export from another person
cannot make Depthweave read a local file.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from depthweave.reports.analysis.source_runs import origin_run, origin_trial
from depthweave.reports.store.columns import LOSS, POSITIVE
from depthweave.reports.store.records import Record
from depthweave.spaces.checksums import check_listed, sha256_of
from depthweave.spaces.yaml_text import read_yaml

TRAINING_FILE = "training.yaml"

_PATHS = ("paths",)
"""Options of a corpus that are paths on one machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One training, from its recipe to its last loss."""

    architecture_id: str
    origin: str
    """What trained it: a run's id and trial, or the command."""
    recipe: dict[str, Any]
    """The fields of `depthweave.trainers.Recipe`, with the seed."""
    tokens: int = field(metadata={"bounds": POSITIVE})
    """Tokens trained on."""
    loss: float = field(metadata={"bounds": LOSS})
    """Validation loss at the end in nat/token, unrounded."""
    corpus: str
    """Name of the text."""
    corpus_sha256: str
    """Hash of its documents."""
    corpus_options: dict[str, Any]
    """The fields of `depthweave.trainers.CorpusSpec` without paths; empty if they are not known."""
    tokenizer: str
    """`bytes`, or `bpe:` and the requested size of the vocabulary."""
    device: str
    threads: int = field(metadata={"bounds": POSITIVE})
    """Threads of torch on a CPU."""
    hardware: str
    software: str
    tokenizer_sha256: str = ""
    """SHA-256 of the `tokenizer.json` beside it; empty for bytes and in exports of earlier versions."""
    from_weights: bool = False
    """Whether it started from existing weights: this file alone is then not enough to repeat it."""
    parent: dict[str, Any] | None = None
    """The training that this one repeats, continues or resizes: `architecture_id`, `origin`, `loss`, `how`."""


def training_of(record: Record, *, spec_yaml: str) -> Training:
    """Returns the training of a run's record; `spec_yaml` is the run's spec."""
    return Training(
        architecture_id=record.architecture_id,
        origin=origin_of(record),
        recipe={**json.loads(record.recipe), "seed": record.seed},
        tokens=record.tokens,
        loss=float("nan") if record.last_loss is None else record.last_loss,
        corpus=record.corpus,
        corpus_sha256=record.corpus_sha256,
        corpus_options=_options(spec_yaml),
        tokenizer=record.tokenizer,
        device=record.device,
        threads=record.threads,
        hardware=record.hardware,
        software=record.software,
    )


def origin_of(record: Record) -> str:
    """Returns the run and trial that trained a record: "run RUN, trial 7"."""
    taken = "" if record.taken_from is None else f" (taken over by run {record.run_id})"
    return f"run {origin_run(record)}, trial {origin_trial(record)}{taken}"


def without_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a corpus without paths and without options that are not set."""
    return {name: value for name, value in options.items() if name not in _PATHS and value is not None}


def write_training(folder: Path, training: Training) -> None:
    """Writes `training.yaml`, with the checksum of the folder's tokenizer if it exists already."""
    tokenizer = folder / "tokenizer.json"
    if training.tokenizer != "bytes" and tokenizer.exists():
        training = dataclasses.replace(training, tokenizer_sha256=sha256_of(tokenizer))
    text = yaml.safe_dump(dataclasses.asdict(training), sort_keys=False, default_flow_style=None, width=110)
    (folder / TRAINING_FILE).write_text(text, encoding="utf-8")


def read_training(folder: Path) -> Training | None:
    """Returns the content of a folder's `training.yaml`; `None` without one. Raises `ValueError` if it is damaged."""
    from depthweave.spaces.files import read_yaml_file

    path = folder / TRAINING_FILE
    if not check_listed(folder, TRAINING_FILE):
        return None
    values = {"tokenizer_sha256": "", **read_yaml_file(path, hint="an exported folder holds it")}
    hints = typing.get_type_hints(Training)
    for name, hint in hints.items():
        kind = typing.get_origin(hint) or hint
        allowed = (int, float) if kind is float else (dict, type(None)) if name == "parent" else kind
        value = values.get(name)
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{path}: {name} is {value!r:.60}: restore the file, or remove it")
    for item in dataclasses.fields(Training):
        rule = item.metadata["bounds"].rule_against(values[item.name]) if item.metadata else ""
        if rule:
            raise ValueError(f"{path}: {item.name} is {values[item.name]!r:.60}, it must be {rule}: restore the file")
    _check_parent(path, values["parent"])
    return Training(**{name: values[name] for name in hints})


def _check_parent(path: Path, parent: Any) -> None:
    """Raises `ValueError` unless the value has the form of `Training.parent`."""
    kinds: dict[str, Any] = {"architecture_id": str, "origin": str, "how": str, "loss": (int, float)}
    if parent is not None and not all(isinstance(parent.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"{path}: parent is {parent!r:.60}: it needs {', '.join(kinds)}: restore the file")


def _options(spec_yaml: str) -> dict[str, Any]:
    values = read_yaml(spec_yaml)
    corpus = values.get("corpus") if isinstance(values, dict) else None
    return without_paths(corpus) if isinstance(corpus, dict) else {}

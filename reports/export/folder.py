"""Writes a model as a self-contained folder that loads, generates and trains in Depthweave and in other libraries.

architecture.yaml  model.safetensors        the model, for `depthweave.spaces.load`
config.json  generation_config.json  tokenizer.json  tokenizer_config.json
configuration_depthweave.py  modeling_depthweave.py      the model for Hugging Face's transformers
training.yaml  metrics.json  README.md      how it was trained, what was measured, the model card
model.pt2  model.onnx                       on request
SHA256SUMS                                  of all of these; Depthweave checks each file that it reads
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthweave.reports.analysis.retention import why_absent
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.export.card import CARD_FILE, card_of_record
from depthweave.reports.export.graph import GraphFormat, write_graph
from depthweave.reports.export.hub import write_hub_files
from depthweave.reports.export.metrics import METRICS_FILE, metrics_json
from depthweave.reports.export.tokenizer import tokenizer_of_run
from depthweave.reports.export.training import Training, training_of, write_training
from depthweave.reports.export.whole_folder import check_target, whole_folder
from depthweave.reports.formatting import block_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore, checkpoint_name
from depthweave.reports.wirings import rule_of
from depthweave.spaces.checksums import CHECKSUM_SUFFIX, verify_checksum, write_checksums
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.regular import check_named

if TYPE_CHECKING:
    from depthweave.spaces import Architecture, WiringRule

_TASKS = ("language_modelling",)
"""Tasks whose models an export can hold."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Everything in a folder except the weights."""

    architecture: Architecture
    rule: WiringRule | None
    """What made the wiring, if it is known."""
    budget: int | None = None
    """The number of parameters that the architecture was fitted to."""
    tokenizer_json: str | None
    """`None` if a token is a byte."""
    training: Training
    metrics: str
    """Text of `metrics.json`."""
    card: str
    """Text of `README.md`."""


def write_contents(folder: Path, contents: Contents) -> None:
    """Writes everything except `model.safetensors`."""
    _write_training_files(folder, contents)
    write_hub_files(folder, architecture=contents.architecture, tokenizer_json=contents.tokenizer_json)
    # Written again with the checksum of the tokenizer, which exists now.
    write_training(folder, contents.training)
    (folder / CARD_FILE).write_text(contents.card, encoding="utf-8")


def export(
    store: RunStore,
    record: Record,
    *,
    out: str | os.PathLike[str],
    verdict: Verdict | None = None,
    formats: Sequence[GraphFormat] = (),
) -> Path:
    """Writes the record's model to the folder `out`, completely or not at all, and returns the folder.

    Metrics and card include the architecture's `verdict`. `formats` adds the forward pass as graphs. Raises
    `ValueError` with one line if `out` is not empty or the weights do not match the record. It also raises one if the
    run did not keep the weights; `out` then holds what is needed to train them again.
    """
    check_named(out, what="the folder of an export")
    target = Path(out)
    check_target(target)
    if store.info.task not in _TASKS:
        raise ValueError(
            f"{store.where}: its task is {store.info.task}, whose models cannot be exported; known here: "
            f"{', '.join(_TASKS)}"
        )
    name = f"{checkpoint_name(record.trial)}/{MODEL_FILE}"
    has_weights = store.has_file(name)
    if not has_weights and record.state != "complete":
        raise ValueError(f"{store.where}/{name} is absent (the trial is {record.state}): export a complete trial")
    contents = _contents(store, record, target=target, verdict=verdict, formats=formats)
    with whole_folder(target) as building:
        if has_weights:
            copy_weights(store, name, building / MODEL_FILE)
            _mark_weights(building / MODEL_FILE, record=record)
            write_contents(building, contents)
            _write_graphs(building, formats)
        else:
            _write_training_files(building, contents)
    if not has_weights:
        again = shlex.join(["depthweave", "train", str(target), "--out", f"{target}-trained"])
        raise ValueError(
            f"the weights of architecture {record.architecture_id} (trial {record.trial}) {why_absent(store, record)}; "
            f"{target} holds its architecture and its training recipe: `{again}` trains it again"
        )
    return target


def architecture_of(record: Record) -> Architecture:
    """Returns the architecture of the record's columns. Raises `ValueError` if they give another id."""
    from depthweave.spaces import Architecture, Wiring

    wiring = Wiring(record.depth, tuple(json.loads(record.wiring)))
    architecture = Architecture(
        fusion=record.fusion,
        wiring=wiring,
        width=record.width,
        heads=record.heads,
        feed_forward=record.feed_forward,
        vocabulary=record.vocabulary,
        context=record.context,
        block=block_of(record),
    )
    if architecture.id != record.architecture_id:
        raise ValueError(
            f"the record of trial {record.trial} has architecture {record.architecture_id}, but its columns give "
            f"{architecture.id}: it was written by another version of Depthweave ({record.software})"
        )
    return architecture


def _write_training_files(folder: Path, contents: Contents) -> None:
    """Writes what a training starts from, and what was measured."""
    from depthweave.spaces import write_architecture

    write_architecture(folder / "architecture.yaml", contents.architecture, rule=contents.rule, budget=contents.budget)
    if contents.tokenizer_json is not None:
        (folder / TOKENIZER_FILE).write_text(contents.tokenizer_json, encoding="utf-8")
    write_training(folder, contents.training)
    (folder / METRICS_FILE).write_text(contents.metrics, encoding="utf-8")


def _contents(
    store: RunStore, record: Record, *, target: Path, verdict: Verdict | None, formats: Sequence[GraphFormat]
) -> Contents:
    architecture = architecture_of(record)
    training = training_of(record, spec_yaml=store.spec_yaml)
    return Contents(
        architecture=architecture,
        rule=rule_of(record),
        budget=record.budget,
        tokenizer_json=tokenizer_of_run(store, record),
        training=training,
        metrics=metrics_json(
            {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
            | {"rule": None if (rule := rule_of(record)) is None else rule.text}
            | {item.name: item.of(record) for item in OBJECTIVES.values()},
            verdict=verdict,
        ),
        card=card_of_record(store, record, training=training, folder=target, verdict=verdict, formats=formats),
    )


def copy_weights(store: RunStore, name: str, path: Path) -> None:
    """Copies a run's weights. Raises `ValueError` if they do not match the run's checksum."""
    store.copy_out(name, path)
    beside = path.with_name(path.name + CHECKSUM_SUFFIX)
    if store.has_file(f"{name}{CHECKSUM_SUFFIX}"):
        beside.write_bytes(store.read_bytes(f"{name}{CHECKSUM_SUFFIX}"))
    if not verify_checksum(path, name=f"{store.where}/{name}"):
        logger.warning(
            "%s/%s has no checksum, because an earlier version wrote it: it is not checked", store.where, name
        )
    beside.unlink(missing_ok=True)


def _mark_weights(path: Path, *, record: Record) -> None:
    """Writes format and architecture id into the file. Raises `ValueError` if the weights are not the record's."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from depthweave.spaces.files import save_weights
    from depthweave.spaces.weights_file import check_weights

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights of trial {record.trial} cannot be read ({error}): nothing exported") from None
    held = metadata.get("architecture_id", record.architecture_id)
    if held != record.architecture_id:
        raise ValueError(
            f"weights of trial {record.trial} belong to architecture {held}, the record to "
            f"{record.architecture_id}: nothing exported"
        )
    try:
        check_weights(path, architecture_of(record), said_by="its record")
    except ValueError as error:
        # The path in the message is that of a temporary copy.
        message = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"weights of trial {record.trial}: the file {message}: nothing exported") from None
    save_weights(path, weights, architecture_id=record.architecture_id)


def _write_graphs(folder: Path, formats: Sequence[GraphFormat]) -> None:
    if formats:
        from depthweave.spaces import load

        write_checksums(folder)
        model = load(folder)
        for item in formats:
            write_graph(folder, model, format=item)

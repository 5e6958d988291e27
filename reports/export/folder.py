"""A model as a folder that stands alone: it loads, generates and trains elsewhere, here and in other libraries.

architecture.yaml  model.safetensors        the model, for `depthweave.spaces.load`
config.json  generation_config.json  tokenizer.json  tokenizer_config.json
configuration_depthweave.py  modeling_depthweave.py      the same for Hugging Face's transformers
training.yaml  metrics.json  README.md      how it was trained, what was measured, the model card
model.pt2  model.onnx                       where asked for
SHA256SUMS                                  of all of these, checked whenever Depthweave reads one of them
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shlex
import shutil
import tempfile
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
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore, checkpoint_name
from depthweave.spaces.checksums import SUM_SUFFIX, check_sum, write_sums
from depthweave.spaces.regular import check_named

if TYPE_CHECKING:
    from depthweave.spaces import Architecture, Pattern

MODEL_FILE = "model.safetensors"
_TASKS = ("language_modelling",)
"""Tasks whose models an export can hold."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All of a folder but its weights."""

    architecture: Architecture
    pattern: Pattern | None
    """The rule that made the wiring."""
    budget: int | None = None
    """Wanted parameters, where it was made to meet a number."""
    tokenizer_json: str | None
    """Absent where a token is a byte."""
    training: Training
    metrics: str
    """Of `metrics.json`."""
    card: str
    """Of `README.md`."""


def write_contents(folder: Path, contents: Contents) -> None:
    """The folder holds everything but `model.safetensors`."""
    _write_training_alone(folder, contents)
    write_hub_files(folder, architecture=contents.architecture, tokenizer_json=contents.tokenizer_json)
    # Again: the tokenizer is there now.
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
    """The folder `out` holds the record's model: whole, or not at all.

    Metrics and card say the architecture's `verdict` where it has one; `formats` adds the forward pass as graphs.
    `ValueError`, one line, where `out` holds anything, the weights do not fit, or the run did not keep them: then what
    trains them again is there.
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
        raise ValueError(f"{store.where}/{name} is absent (the trial is {record.state}): export a complete one")
    contents = _contents(store, record, target=target, verdict=verdict, formats=formats)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        if has_weights:
            _copy_weights(store, name, building / MODEL_FILE)
            _mark_weights(building / MODEL_FILE, record=record)
            write_contents(building, contents)
            _write_graphs(building, formats)
        else:
            _write_training_alone(building, contents)
        write_sums(building)
        building.chmod(0o755)
        if target.exists():
            target.rmdir()
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    if not has_weights:
        again = shlex.join(["depthweave", "train", str(target), "--out", f"{target}-trained"])
        raise ValueError(
            f"the weights of architecture {record.architecture_id} (trial {record.trial}) {why_absent(store, record)}; "
            f"{target} holds its architecture and its training: `{again}` trains it again"
        )
    return target


def check_target(target: Path) -> None:
    """`ValueError` where the folder holds anything, or is none."""
    if target.is_symlink():
        raise ValueError(f"{target} is a link: give --out the folder itself")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is not an empty folder: give --out another one")


def architecture_of(record: Record) -> Architecture:
    """The architecture that the record's columns describe; `ValueError` where they give another id."""
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
    )
    if architecture.id != record.architecture_id:
        raise ValueError(
            f"record of trial {record.trial} says architecture {record.architecture_id}, its columns build "
            f"{architecture.id}: it was written by another version of Depthweave ({record.software})"
        )
    return architecture


def _write_training_alone(folder: Path, contents: Contents) -> None:
    """The folder holds what a training starts from, and what was measured."""
    from depthweave.spaces import write_architecture

    pattern = {} if contents.pattern is None else contents.pattern._asdict()
    if contents.budget is not None:
        pattern["budget"] = contents.budget
    write_architecture(folder / "architecture.yaml", contents.architecture, pattern=pattern)
    if contents.tokenizer_json is not None:
        (folder / TOKENIZER_FILE).write_text(contents.tokenizer_json, encoding="utf-8")
    write_training(folder, contents.training)
    (folder / METRICS_FILE).write_text(contents.metrics, encoding="utf-8")


def _contents(
    store: RunStore, record: Record, *, target: Path, verdict: Verdict | None, formats: Sequence[GraphFormat]
) -> Contents:
    from depthweave.spaces import Pattern

    architecture = architecture_of(record)
    training = training_of(record, spec_yaml=store.spec_yaml)
    has_pattern = record.dilation is not None and record.period is not None
    return Contents(
        architecture=architecture,
        pattern=Pattern(int(record.dilation or 1), int(record.period or 1)) if has_pattern else None,
        budget=record.budget,
        tokenizer_json=tokenizer_of_run(store, record),
        training=training,
        metrics=metrics_json(
            {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}, verdict=verdict
        ),
        card=card_of_record(store, record, training=training, folder=target, verdict=verdict, formats=formats),
    )


def _copy_weights(store: RunStore, name: str, path: Path) -> None:
    """A copy of a run's weights; `ValueError` where they do not fit the sum that the run keeps of them."""
    store.copy_out(name, path)
    beside = path.with_name(path.name + SUM_SUFFIX)
    if store.has_file(f"{name}{SUM_SUFFIX}"):
        beside.write_bytes(store.read_bytes(f"{name}{SUM_SUFFIX}"))
    if not check_sum(path, name=f"{store.where}/{name}"):
        logger.warning("%s/%s has no sum, as earlier versions kept none: it is not checked", store.where, name)
    beside.unlink(missing_ok=True)


def _mark_weights(path: Path, *, record: Record) -> None:
    """The file says its format and its architecture; `ValueError` where it holds no weights, or another's."""
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
            f"weights of trial {record.trial} are of architecture {held}, the record is of "
            f"{record.architecture_id}: nothing exported"
        )
    try:
        check_weights(path, architecture_of(record), said_by="its record")
    except ValueError as error:
        # The path is that of a copy.
        told = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"weights of trial {record.trial}: the file {told}: nothing exported") from None
    save_weights(path, weights, architecture_id=record.architecture_id)


def _write_graphs(folder: Path, formats: Sequence[GraphFormat]) -> None:
    if formats:
        from depthweave.spaces import load

        write_sums(folder)
        model = load(folder)
        for item in formats:
            write_graph(folder, model, format=item)

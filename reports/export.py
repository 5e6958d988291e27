"""A record as a folder that loads and trains elsewhere: architecture, weights, tokenizer, metrics, model card.

Only here do reports touch torch, and only inside the functions: through `depthweave.spaces`, which builds the model.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from depthweave.reports.confirmation import difference_text, interval_text, why_not_settled
from depthweave.reports.records import Record, schema_of
from depthweave.reports.store import RunStore, checkpoint_name
from depthweave.reports.verdicts import VERDICT_COLUMNS, Verdict, verdict_values
from depthweave.reports.words import full_name, show

if TYPE_CHECKING:
    from depthweave.spaces import Architecture

MODEL_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"

_CARD_METRICS = (
    ("perplexity", "validation perplexity, per token"),
    ("bits_per_byte", "validation bits per byte of text"),
    ("latency", "forward latency, relative to the run's reference"),
    ("step_latency", "training-step latency, relative to the run's reference"),
    ("decode_latency", "latency of a decoded token, relative to the run's reference"),
    ("memory_bytes", "peak memory of a training step"),
    ("forward_memory_bytes", "peak memory of a forward pass"),
    ("parameters", "parameters without the token embedding"),
    ("forward_flops", "operations of a forward pass"),
)


def export(store: RunStore, record: Record, *, out: str | os.PathLike[str], verdict: Verdict | None = None) -> Path:
    """The folder `out` holds the record's model: whole, or not at all.

    `architecture.yaml`, `model.safetensors`, `tokenizer.json` where the run has one, `metrics.json` (every column with
    unit and meaning) and `README.md`; the last two say the architecture's `verdict` where it has one. `ValueError`,
    one line, where `out` holds anything or the weights are absent.
    """
    from depthweave.spaces import write_architecture

    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is not an empty folder: give --out another one")
    weights = f"{checkpoint_name(record.trial)}/{MODEL_FILE}"
    if not store.has_file(weights):
        why = "" if record.state == "complete" else f" (the trial is {record.state})"
        raise ValueError(f"{store.where}/{weights} is absent{why}: export a record whose weights were kept")
    architecture = architecture_of(record)
    has_tokenizer = store.has_file(TOKENIZER_FILE)

    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        pattern = {"dilation": record.dilation, "period": record.period, "budget": record.budget}
        write_architecture(building / "architecture.yaml", architecture, pattern=pattern)
        store.copy_out(weights, building / MODEL_FILE)
        _check_weights(building / MODEL_FILE, record=record)
        if has_tokenizer:
            store.copy_out(TOKENIZER_FILE, building / TOKENIZER_FILE)
        (building / "metrics.json").write_text(metrics_json(record, verdict=verdict), encoding="utf-8")
        card = model_card(record, run_name=store.info.name, folder=target, has_tokenizer=has_tokenizer, verdict=verdict)
        (building / "README.md").write_text(card, encoding="utf-8")
        building.chmod(0o755)
        if target.exists():
            target.rmdir()
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return target


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


def metrics_json(record: Record, *, verdict: Verdict | None = None) -> str:
    """Every column of the record with its value, unit and meaning, and those of the verdict where there is one."""
    values: dict[str, Any] = {}
    for field in schema_of(Record):
        value = getattr(record, field.name)
        values[field.name] = {
            "value": value.isoformat() if isinstance(value, datetime) else value,
            "unit": field.metadata[b"unit"].decode(),
            "meaning": field.metadata[b"meaning"].decode(),
        }
    if verdict is not None:
        for name, value in verdict_values(verdict).items():
            told = VERDICT_COLUMNS[name]
            values[name] = {"value": value, "unit": told.unit, "meaning": told.meaning}
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def model_card(
    record: Record, *, run_name: str, folder: Path, has_tokenizer: bool, verdict: Verdict | None = None
) -> str:
    """The README of an exported folder, Markdown."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    metrics = [
        (meaning, show(name, value)) for name, meaning in _CARD_METRICS if (value := getattr(record, name)) is not None
    ]
    return environment.get_template("model_card.md.j2").render(
        record={name: _plain(value) for name, value in dataclasses.asdict(record).items()},
        title=_plain(full_name(record)),
        metrics=metrics,
        run_name=_plain(run_name),
        folder=str(folder),
        quoted=shlex.quote(str(folder)),
        other=shlex.quote(f"{folder}-trained"),
        corpus=_corpus_argument(record.corpus),
        has_tokenizer=has_tokenizer,
        tokens=f"{record.tokens:,}",
        confirmed=None if verdict is None or verdict.loss.num < 2 else _confirmed(verdict),
    )


def _confirmed(verdict: Verdict) -> str:
    """What further seeds say of the architecture, as a sentence."""
    against, interval = difference_text(verdict)
    mean = show("perplexity", math.exp(verdict.loss.mean))
    told = f"{verdict.loss.num} seeds of this architecture have a perplexity of {mean} on average "
    told += f"(95 % interval {interval_text(verdict)})"
    if verdict.difference is not None:
        told += f"; against the plain one of its depth and budget the loss differs by {against} nat/token"
        told += f" ({interval})" if interval else ""
    place = "settled" if verdict.settled else f"not settled: {why_not_settled(verdict)}"
    return f"{told}. Its place on the run's front is {place}."


def _plain(value: Any) -> Any:
    """Text that opens no markup where it stands in Markdown."""
    if not isinstance(value, str):
        return value
    return value.replace("\n", " ").replace("`", "'").replace("<", "&lt;").replace("|", "\\|")


def _check_weights(path: Path, *, record: Record) -> None:
    """`ValueError` where the file is no safetensors file or says that it holds another architecture."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights of trial {record.trial} cannot be read ({error}): nothing exported") from None
    held = metadata.get("architecture_id", record.architecture_id)
    if held != record.architecture_id:
        raise ValueError(
            f"weights of trial {record.trial} are of architecture {held}, the record is of "
            f"{record.architecture_id}: nothing exported"
        )


def _corpus_argument(name: str) -> str:
    """What `depthweave train --corpus` takes for a corpus; a place to fill in where the name does not say."""
    if name.startswith("stdlib"):
        return "stdlib"
    return "hub:NAME" if name.startswith("hub") else "PATH"

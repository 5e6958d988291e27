"""The model card of an exported tagger: what it is, how it was trained, what was measured, how to use and train it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from depthweave.reports.export.card import Metric, plain
from depthweave.spaces.regular import read_regular_text
from depthweave.spaces.yaml_text import read_yaml

_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,39}")
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\s*$", re.DOTALL | re.MULTILINE)
_HOW_TRAINED = {
    "frozen": "The host was frozen: only the head was trained, from the states of its layers.",
    "full": "Host and head were trained together.",
    "lora": "The head and low-rank adapters of the host were trained; the adapters are added to the host's weights.",
}


@dataclass(frozen=True, kw_only=True)
class TaggerFacts:
    """What a card says about a tagger. All values are text for a reader."""

    title: str
    origin: str
    """What trained it: a run's id and trial, or a command."""
    host_name: str
    """Name of the pretrained model."""
    data_name: str
    data_sha256: str
    """Hash of the sentences."""
    training_sentences: str
    """Such as "100 sentences of the training part (draw 0)"."""
    max_tokens: int
    """Longest sentence that the model reads, special tokens included."""
    recipe: Mapping[str, Any]
    """The fields of the recipe, with the seed."""
    metrics: Sequence[Metric]
    """Rows of the table of scores."""
    limits: Sequence[str] = ()
    """Whole sentences beside those that hold for every tagger."""
    machine: str = ""
    """Hardware, device and threads."""
    software: str = ""
    host_licence: str | None = None
    """Short name of the host's licence; absent, it is read from the host's own card."""


def tagger_card(
    facts: TaggerFacts, *, head: str, weights: str, classes: Sequence[str], host_folder: Path, folder: Path
) -> str:
    """Returns the Markdown of the card; `head` says in a phrase what the head reads. Text from files is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    licence = facts.host_licence or host_licence(host_folder)
    types = sorted({tag.partition("-")[2] for tag in classes if "-" in tag})
    return environment.get_template("tagger_card.md.j2").render(
        facts={name: plain(getattr(facts, name)) for name in facts.__dataclass_fields__},
        metrics=[Metric(*map(plain, metric)) for metric in facts.metrics],
        limits=[plain(limit) for limit in facts.limits],
        recipe={name: plain(value) for name, value in facts.recipe.items()},
        head=plain(head),
        how_trained=_HOW_TRAINED[weights],
        is_half_precision=weights == "frozen",
        types=[plain(name) for name in types],
        licence=licence if licence is not None and _LICENCE.fullmatch(licence) else None,
        folder=str(folder),
        tuned=f"{folder}-tuned",
        first_tag=f"B-{types[0]}" if types else classes[0],
    )


def host_licence(host_folder: Path) -> str | None:
    """Returns the licence that the host's own card names at its beginning; `None` without one."""
    try:
        match = _FRONT_MATTER.match(read_regular_text(host_folder / "README.md"))
        values = read_yaml(match[1]) if match else None
    except (OSError, ValueError):
        return None
    licence = values.get("license") if isinstance(values, dict) else None
    return licence if isinstance(licence, str) else None

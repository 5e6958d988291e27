"""A run of heads on a host, made of formulas: scores of draws, weights of layers and example sentences."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthweave.reports.figures.tagged_examples import TaggedExample
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_info, make_record

TAGGED_OBJECTIVES = ("error", "latency", "parameters")
SHOTS = (50, 100, 400)
TYPES = ("corporation", "creative-work", "group", "location", "person", "product")
_LEVELS = {"last": 0.16, "deeper": 0.27, "mix": 0.36, "dwa": 0.34, "concat": 0.39, "dwatt": 0.38}
_FASTER = {"last": 0.5, "deeper": 0.9, "mix": 1.1, "dwa": 1.0, "concat": 1.6, "dwatt": 1.4}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One evaluation of one training."""

    shots: int
    draw: int
    step: int
    f1: float
    precision: float = 0.5
    recall: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Weight:
    """The weight of one layer at the end of one training."""

    shots: int
    draw: int
    type: str
    layer: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class TaggedRecord(Record):
    """A record with the list columns of few-shot tagging."""

    entity_scores: tuple[Any, ...] | None = None
    layer_weights: tuple[Any, ...] | None = None


def tagged_record(
    trial: int, *, head: str, scores: tuple[Score, ...], weights: tuple[Weight, ...] = (), **changes: Any
) -> TaggedRecord:
    """A complete record of a head."""
    values = {"architecture_id": f"{head}-a", "fusion": head, "head": "{}", "perplexity": None, "bits_per_byte": None}
    values |= changes
    plain = make_record(trial, **values)
    own = {item.name: getattr(plain, item.name) for item in dataclasses.fields(Record)}
    return TaggedRecord(**{**own, "entity_scores": scores, "layer_weights": weights})


def tagged_records(*, draws: int = 3, layers: int = 7) -> list[Record]:
    """Two architectures of each head on a host of six layers, three sizes and draws."""
    rng = np.random.default_rng(0)
    hard = {(shots, draw): rng.normal(0, 0.03) for shots in SHOTS for draw in range(draws)}
    records: list[Record] = []
    for place, (head, level) in enumerate(_LEVELS.items()):
        for dilation in (1, 2) if head not in ("last", "deeper") else (1,):
            scores, weights = [], []
            for shots in SHOTS:
                for draw in range(draws):
                    end = level * (0.55 + 0.45 * math.log(shots / 20) / 3) - 0.02 * (dilation - 1)
                    end += hard[shots, draw] + rng.normal(0, 0.012)
                    for step in (100, 200, 300):
                        f1 = max(0.0, end * (1 - math.exp(-_FASTER[head] * step / 80)))
                        scores.append(Score(shots=shots, draw=draw, step=step, f1=f1))
                    weights += _weights(head, shots=shots, draw=draw, layers=layers, rng=rng)
            records.append(
                tagged_record(
                    10 * place + dilation,
                    head=head,
                    scores=tuple(scores),
                    weights=tuple(weights),
                    architecture_id=f"{place}{dilation}00aabbccdd",
                    dilation=None if head in ("last", "deeper") else dilation,
                    period=None if head in ("last", "deeper") else 1,
                    depth=layers - 1,
                )
            )
    return records


def _weights(head: str, *, shots: int, draw: int, layers: int, rng: np.random.Generator) -> list[Weight]:
    if head in ("last", "deeper"):
        return []
    types = ("", *TYPES) if head == "dwatt" else ("",)
    found = []
    for number, name in enumerate(types):
        centre = 0.45 * layers + 0.3 * (number - 2)
        shares = np.exp(-((np.arange(layers) - centre) ** 2) / 4) + 0.05 * rng.random(layers)
        shares = shares / shares.sum()
        if head == "dwa":
            shares = shares * 1.8 - 0.25
        found += [
            Weight(shots=shots, draw=draw, type=name, layer=layer, weight=float(weight))
            for layer, weight in enumerate(shares)
        ]
    return found


def tagged_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """Returns a run whose records are those of heads. Their error is 1 - F1, and so is their loss."""
    store = RunStore.create(
        folder,
        info=make_info(
            objectives=TAGGED_OBJECTIVES, task="token_classification", quality="mean error of entities (1 - F1)"
        ),
        spec_yaml="name: ner\n",
    )
    records: list[Any] = tagged_records()
    for number, record in enumerate(records):
        ends = [score.f1 for score in record.entity_scores if score.step == 300]
        error = 1 - sum(ends) / len(ends)
        values = {"error": error, "loss": error, "latency": 1.0 + 0.05 * number, "reference": record.fusion == "last"}
        for name, value in values.items():
            object.__setattr__(record, name, value)
    monkeypatch.setattr(RunStore, "records", lambda self: records)
    return store


EXAMPLES = (
    TaggedExample(
        words=("Watching", "Game", "of", "Thrones", "with", "@ada", "in", "New", "York", "tonight", "!"),
        gold=(
            "O",
            "B-creative-work",
            "I-creative-work",
            "I-creative-work",
            "O",
            "B-person",
            "O",
            "B-location",
            "I-location",
            "O",
            "O",
        ),
        predicted={
            "deeper": ("O", "B-group", "O", "B-person", "O", "O", "O", "B-location", "I-location", "O", "O"),
            "dwatt": (
                "O",
                "B-creative-work",
                "I-creative-work",
                "I-creative-work",
                "O",
                "O",
                "O",
                "B-location",
                "I-location",
                "O",
                "O",
            ),
        },
    ),
    TaggedExample(
        words=("RT", "<b>Apple</b>", "&", "Microsoft", "sign", "a", "deal"),
        gold=("O", "B-corporation", "O", "B-corporation", "O", "O", "O"),
        predicted={
            "deeper": ("O", "B-product", "O", "B-corporation", "O", "O", "O"),
            "dwatt": ("O", "B-corporation", "O", "B-corporation", "O", "O", "O"),
        },
    ),
)
"""The second has markup in a word."""

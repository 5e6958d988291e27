"""Small trained models, and runs that hold their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import Architecture, Decoder, save_model, strided_wiring
from tests.reports.synthetic import make_record

ARCHITECTURE = Architecture(
    fusion="dwa",
    wiring=strided_wiring(4, dilation=2, period=1),
    width=16,
    heads=2,
    feed_forward=24,
    vocabulary=256,
    context=16,
)


def record_of(architecture: Architecture = ARCHITECTURE, **changes: Any) -> Record:
    """Trial 12, of that architecture."""
    values = {
        "architecture_id": architecture.id,
        "fusion": architecture.fusion,
        "dilation": 2,
        "period": 1,
        "depth": architecture.depth,
        "width": architecture.width,
        "heads": architecture.heads,
        "feed_forward": architecture.feed_forward,
        "vocabulary": architecture.vocabulary,
        "context": architecture.context,
        "block": architecture.block.kind,
        "heads_per_kv": architecture.block.heads_per_kv,
        "qk_norm": architecture.block.qk_norm,
        "wiring": json.dumps([[site.block, list(site.sources)] for site in architecture.wiring]),
    }
    return make_record(12, **{**values, **changes})


def model_of(architecture: Architecture) -> Decoder:
    """A model with every parameter far from its start, as after training."""
    model = Decoder(architecture, seed=1).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model


def keep_weights(store: RunStore, model: Decoder) -> None:
    """The run holds the model's weights as those of trial 12."""
    folder = Path(store.checkpoint_dir(12))
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / "model.safetensors", model)


@pytest.fixture
def model() -> Decoder:
    return model_of(ARCHITECTURE)


@pytest.fixture
def trained(store: RunStore, model: Decoder) -> RunStore:
    """A run with the weights of trial 12."""
    keep_weights(store, model)
    return store

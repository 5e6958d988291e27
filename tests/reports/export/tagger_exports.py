"""Trained taggers on tiny hosts, and their exports."""

from __future__ import annotations

from pathlib import Path

import torch

from depthweave.reports.export.card import Metric
from depthweave.reports.export.tagger import export_tagger
from depthweave.reports.export.tagger_card import TaggerFacts
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host, load_host
from depthweave.trainers.tagging.tag_data import HostWeights
from depthweave.trainers.tagging.tagging_state import TaggingState
from tests.trainers.tagging.tiny_host import shape_of, write_bert, write_gpt2, write_modern_bert
from tests.trainers.tagging.tiny_text import tiny_text

CLASSES = tiny_text().classes
RECIPE = Recipe(steps=12, batch=4, context=32, num_evaluations=3, evaluation_tokens=4096, learning_rate=1e-2, seed=3)
FAMILIES = {"bert": write_bert, "gpt2": write_gpt2, "modern_bert": write_modern_bert}
FACTS = TaggerFacts(
    title="dwatt on tiny",
    origin="run 7, trial 3",
    host_name="tiny",
    data_name="made | up",
    data_sha256="0" * 64,
    training_sentences="100 sentences of the training part (draw 0)",
    max_tokens=32,
    recipe={"steps": 12, "seed": 3},
    metrics=[Metric("F1 of entities", "0.421", "0.40 to 0.44 over 3 draws")],
    limits=["One <draw> of few sentences."],
)


def tagger_of(kind: str, host: Host, *, weights: HostWeights = "frozen") -> TaggingState:
    """Returns a head, and a host if it is trained, with every parameter away from its start."""
    state = TaggingState.start(
        shape_of(kind, host), recipe=RECIPE, host_sha256=host.sha256, host=host, weights=weights, device="cpu"
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in state.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return state


def exported(
    kind: str, family: str, hosts: Path, *, out: Path, weights: HostWeights = "frozen"
) -> tuple[TaggingState, Host, Path]:
    """Returns a tagger on a host of that family, the host, and the exported folder. Hosts are kept in a folder."""
    source = hosts / family
    if not source.exists():
        FAMILIES[family](source)
    host = load_host(source)
    state = tagger_of(kind, host, weights=weights)
    return state, host, export_tagger(out, state=state, host_folder=source, classes=CLASSES, facts=FACTS)

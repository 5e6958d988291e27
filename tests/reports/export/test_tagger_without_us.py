"""Exported taggers in transformers alone: logits, pipelines, a round trip, and the card's own lines with Trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from depthweave.reports.export.tagger import load_tagger
from depthweave.spaces.heads import HEADS
from depthweave.trainers.tagging.host import states_of
from depthweave.trainers.tagging.tag_data import HostWeights
from tests.reports.export import tagger_without_us
from tests.reports.export.tagger_exports import FAMILIES, exported

_CASES: list[tuple[str, str, HostWeights]] = [
    *((kind, family, "frozen") for family in FAMILIES for kind in HEADS),
    *((kind, family, "full") for family in FAMILIES for kind in ("deeper", "dwatt")),
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # One program answers for all folders.
    pytest.mark.skipif(find_spec("accelerate") is None, reason="accelerate is not installed: depthweave[dev]"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, HostWeights], Path]:
    """Every head on every family, frozen and trained, as transformers answered for it."""
    place = tmp_path_factory.mktemp("taggers")
    made = {}
    for case in _CASES:
        kind, family, weights = case
        state, host, folder = exported(kind, family, place, weights=weights, out=place / "-".join(case))
        ids_BT = torch.randint(5, 100, (3, 11), generator=torch.Generator().manual_seed(1))
        mask_BT = torch.arange(11) < torch.tensor([[11], [4], [1]])
        model = host.model if state.host_model is None else state.host_model.eval()
        with torch.no_grad():
            states = states_of(model, ids_BT, mask_BT)
            logits_BTC = state.head.eval()([states[source] for source in state.shape.sources], mask_BT)
        save_file({"ids": ids_BT, "mask": mask_BT, "logits": logits_BTC}, folder / "batch.safetensors")
        made[case] = folder
    environment = os.environ | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, tagger_without_us.__file__, *map(str, made.values())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, cwd=place)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(params=_CASES, ids=["-".join(case) for case in _CASES])
def folder(request: pytest.FixtureRequest, folders: dict[tuple[str, str, HostWeights], Path]) -> Path:
    return folders[request.param]


def _results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


def test_logits_are_ours_also_after_a_round_trip(folder: Path) -> None:
    wanted, answers = load_file(folder / "batch.safetensors"), load_file(folder / "answers.safetensors")
    shown = wanted["mask"].bool()
    torch.testing.assert_close(answers["logits"][shown], wanted["logits"][shown], rtol=0.0, atol=1e-6)
    assert torch.equal(answers["again"], answers["logits"])
    results = _results(folder)
    assert results["class"] == "DepthweaveForTokenClassification"
    assert results["module"] == "transformers_modules"


def test_pipeline_gives_words_the_tags_of_their_first_pieces(folder: Path) -> None:
    results = _results(folder)
    words, place = [], 0
    for word in tagger_without_us.TEXT.split():
        words.append((place, place + len(word)))
        place += len(word) + 1
    # Neighbouring words of one type are a group of the pipeline, so words are compared one by one. The pipeline takes
    # what follows a piece that is a space alone for another word.
    found = ["O"] * len(words)
    for group in results["first"]:
        for number, (start, end) in enumerate(words):
            if start < group["end"] and group["start"] < end:
                found[number] = group["entity_group"]
    wanted = [tag.partition("-")[2] or "O" for tag in results["whole"]]
    compared = [place for place, alone in enumerate(results["spaced"]) if not alone]
    assert len(compared) > 8
    assert [found[place] for place in compared] == [wanted[place] for place in compared]
    assert all(0.0 < group["score"] <= 1.0 for group in results["simple"])


def test_card_trains_and_saves(folders: dict[tuple[str, str, HostWeights], Path]) -> None:
    first = folders[_CASES[0]]
    tuned = load_file(Path(f"{first}-tuned") / "model.safetensors")
    before = load_file(first / "model.safetensors")
    assert set(tuned) == set(before)
    assert not torch.equal(tuned["head.classifier.weight"], before["head.classifier.weight"])
    assert load_tagger(f"{first}-tuned").config.id2label == load_tagger(first).config.id2label

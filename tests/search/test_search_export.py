"""The whole road: search, show, report, export, load; the exported model is the one that was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from depthweave.reports.export.padding import with_padding
from depthweave.search.cli import app
from depthweave.search.driver import SearchResult
from depthweave.search.preparation import PreparedSearch
from depthweave.spaces import generate, load
from depthweave.trainers.batches import validation_set
from tests.search.search_runs import prepared_search, search

# Ray's processes start slowly where the machine is busy.
pytestmark = pytest.mark.timeout(300)


class _Exported(NamedTuple):
    prepared: PreparedSearch
    result: SearchResult
    folder: Path

    @property
    def metrics(self) -> dict[str, Any]:
        """Values of the record's columns as exported."""
        items = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        return {name: item["value"] for name, item in items.items()}


@pytest.fixture(scope="module")
def exported(small_spec: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> _Exported:
    folder = tmp_path_factory.mktemp("export")
    prepared = prepared_search(small_spec, "search.trials=5", "tokenizer=bpe:300", "recipe.steps=12")
    result = search(prepared, out=folder / "run", address=ray_address)
    _command("export", str(folder / "run"), "--select", "knee", "--out", str(folder / "knee"))
    return _Exported(prepared, result, folder / "knee")


def test_exported_record_stands_on_the_front_that_show_prints(exported: _Exported) -> None:
    rows = json.loads(_command("show", exported.result.store.where, "--json"))
    (knee,) = [row for row in rows if "knee" in row["selected_by"]]
    assert knee["architecture_id"] == exported.metrics["architecture_id"]
    assert all(row["trial_latency"] is not None for row in rows)


def test_exported_weights_are_the_trials(exported: _Exported) -> None:
    kept = Path(exported.result.store.checkpoint_dir(exported.metrics["trial"])) / "model.safetensors"
    ours, theirs = load_file(exported.folder / "model.safetensors"), load_file(kept)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_loaded_model_has_the_validation_loss_of_its_record(exported: _Exported) -> None:
    model = load(exported.folder)
    validation = validation_set(
        exported.prepared.data, recipe=exported.prepared.spec.recipe, device=torch.device("cpu")
    )
    with torch.no_grad():
        logits_BTV = model(validation.tokens_BT)
    loss = cross_entropy(logits_BTV.flatten(0, 1), validation.targets_BT.flatten()).item()
    # Batches of another size are summed in another order.
    assert loss == pytest.approx(exported.metrics["last_loss"], abs=1e-6)
    assert exported.metrics["last_loss"] == exported.metrics["loss"]


def test_loaded_model_generates_text_with_the_exported_tokenizer(exported: _Exported) -> None:
    tokenizer = exported.prepared.data.make_tokenizer()
    own = exported.prepared.data.tokenizer_json
    assert own is not None
    assert (exported.folder / "tokenizer.json").read_text(encoding="utf-8") == with_padding(own)
    prompt_BT = torch.tensor([tokenizer.encode("the weave of ")])
    answer_BT = generate(load(exported.folder), prompt_BT, num_tokens=12)
    assert answer_BT.shape == (1, prompt_BT.shape[1] + 12)
    text = tokenizer.decode(answer_BT[0].tolist())
    assert text.startswith("the weave of ")
    assert len(text) > len("the weave of ")


def test_training_the_export_again_has_the_recorded_loss_bit_for_bit(
    exported: _Exported, corpus_folder: Path, tmp_path: Path
) -> None:
    said = _command("train", str(exported.folder), "--corpus", str(corpus_folder), "--out", str(tmp_path / "again"))
    assert "the recorded loss bit for bit" in said
    again = json.loads((tmp_path / "again" / "metrics.json").read_text(encoding="utf-8"))
    assert again["last_loss"]["value"] == exported.metrics["last_loss"]
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (exported.folder, tmp_path / "again"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_several_selections_are_a_folder_each(exported: _Exported, tmp_path: Path) -> None:
    identity = exported.metrics["architecture_id"]
    run = exported.result.store.where
    _command("export", run, "--select", f"best,fastest,id:{identity[:8]}", "--out", str(tmp_path / "out"))
    found = {item.name: load(item).architecture.id for item in (tmp_path / "out").iterdir()}
    assert found.keys() == {"best", "fastest", identity}
    assert found[identity] == identity


def test_unknown_selection_among_several_writes_none(exported: _Exported, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = CliRunner().invoke(
        app, ["export", exported.result.store.where, "--select", "best,bets", "--out", str(out)]
    )
    assert isinstance(answer.exception, ValueError)
    assert "did you mean 'best'?" in str(answer.exception)
    assert not out.exists()


def _command(*arguments: str) -> str:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    return answer.stdout

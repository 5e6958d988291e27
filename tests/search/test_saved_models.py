"""A model that transformers saved, after a fine-tuning say: `generate`, `train` and `measure` read its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from depthweave.reports.export.byte_tokenizer import byte_tokenizer_json
from depthweave.reports.export.padding import with_padding
from depthweave.spaces import Architecture, Decoder, load, strided_wiring
from tests.search.commandline import Cli

_ARCHITECTURE = Architecture(
    fusion="dwa", wiring=strided_wiring(2), width=16, heads=2, feed_forward=16, vocabulary=256, context=32
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """As `save_pretrained` of model and tokenizer writes it."""
    folder, a = tmp_path / "tuned", _ARCHITECTURE
    folder.mkdir()
    values = {
        "model_type": "depthweave",
        "fusion": a.fusion,
        "sites": a.to_dict()["sites"],
        "vocab_size": a.vocabulary,
        "hidden_size": a.width,
        "intermediate_size": a.feed_forward,
        "num_hidden_layers": a.depth,
        "num_attention_heads": a.heads,
        "max_position_embeddings": a.context,
    }
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "tokenizer.json").write_text(with_padding(byte_tokenizer_json()), encoding="utf-8")
    weights = {f"decoder.{name}": tensor.contiguous() for name, tensor in Decoder(a, seed=9).state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_commands_read_a_model_that_transformers_saved(
    saved: Path, run: Cli, tmp_path: Path, corpus_folder: Path
) -> None:
    for name, tensor in load(saved).state_dict().items():
        assert torch.equal(tensor, Decoder(_ARCHITECTURE, seed=9).state_dict()[name])
    code, out, _ = run("generate", saved, "--prompt", "ab", "--tokens", "4")
    assert (code, out[:2]) == (0, "ab")
    given = ("--corpus", corpus_folder, "--tokens", "1024", "--set", "batch=4", "--set", "evaluation_tokens=512")
    code, printed, _ = run("train", saved, "--further", *given, "--out", tmp_path / "longer")
    assert code == 0
    assert "perplexity" in printed
    assert load(tmp_path / "longer").architecture == _ARCHITECTURE
    code, printed, _ = run("measure", saved, saved, "--time-limit", "0.2", "--json")
    assert code == 0, printed


def test_model_saved_into_the_folder_of_its_export_is_the_one_that_is_read(saved: Path) -> None:
    from depthweave.spaces import write_architecture

    write_architecture(saved / "architecture.yaml", _ARCHITECTURE)
    expected = Decoder(_ARCHITECTURE, seed=9).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load(saved).state_dict().items())


def test_weights_of_another_precision_are_read(saved: Path) -> None:
    weights = {name: tensor.bfloat16() for name, tensor in load_file(saved / "model.safetensors").items()}
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    assert load(saved).embedding.weight.dtype == torch.float32


def _without_key(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    del values["vocab_size"]
    (folder / "config.json").write_text(json.dumps(values))


def _too_large(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "hidden_size": 2**20}))


def _adapter(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text("{}")


def _in_parts(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_key, "has no vocab_size"),
        (_too_large, r"embedding.weight has the shape \(256, 16\)"),
        (_adapter, "holds an adapter alone: save model.merge_and_unload"),
        (_in_parts, "holds weights in several files"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "config.json").write_text("{}"), "is not of a Depthweave model"),
    ],
)
def test_saved_model_that_is_not_whole_is_refused_in_one_line(
    saved: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(saved)
    with pytest.raises(ValueError, match=message) as caught:
        load(saved)
    assert "\n" not in str(caught.value)

"""Hosts: shape and direction are found, and a folder that is no host is refused in one line."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from depthweave.trainers.tagging.host import load_host, states_of
from tests.trainers.tagging.tiny_host import VOCABULARY, write_tokenizer


def _error(folder: Path) -> str:
    with pytest.raises(ValueError, match=r"^host [^\n]+$") as caught:
        load_host(folder)
    return str(caught.value)


@pytest.fixture
def copy(bert_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert_folder, tmp_path / "copy"))


def test_load_host_finds_the_shape_of_an_encoder(bert_folder: Path) -> None:
    host = load_host(bert_folder)
    assert (host.name, host.depth, host.width, host.heads, host.causal) == ("tiny-bert", 2, 16, 2, False)
    # The tokenizer's limit is below that of the positions.
    assert (host.max_tokens, host.pad_token) == (32, 0)
    assert not host.model.training
    assert load_host(bert_folder).sha256 == host.sha256


def test_load_host_finds_that_a_decoder_is_causal(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=3, n_head=2, n_positions=24)).save_pretrained(
        tmp_path
    )
    write_tokenizer(tmp_path)
    host = load_host(tmp_path)
    assert (host.depth, host.width, host.heads, host.causal, host.max_tokens) == (3, 8, 2, True, 24)


def test_load_host_leaves_out_the_positions_that_roberta_does_not_use(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=20,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    host = load_host(tmp_path)
    assert (host.max_tokens, host.pad_token) == (18, 1)
    ids_BT = torch.full((1, 18), 5)
    assert len(states_of(host.model, ids_BT, torch.ones_like(ids_BT, dtype=torch.bool))) == 2


def test_another_weight_is_another_host(copy: Path) -> None:
    before = load_host(copy).sha256
    weights = load_file(copy / "model.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + 1.0
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load_host(copy).sha256 != before


def test_load_host_refuses_what_is_no_folder_or_lacks_a_file(copy: Path, tmp_path: Path) -> None:
    assert "is no folder; give one with config.json" in _error(tmp_path / "nothing")
    (copy / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert "has no tokenizer.json; save the model's fast tokenizer" in _error(copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "has no *.safetensors" in _error(copy)
    (copy / "config.json").unlink()
    assert "has no config.json" in _error(copy)


def test_load_host_refuses_weights_that_would_be_random(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    dropped = "encoder.layer.1.output.dense.weight"
    save_file(
        {key: item for key, item in weights.items() if key != dropped}, copy / "model.safetensors", {"format": "pt"}
    )
    assert f"lack 1 weights of the model, {dropped} among them" in _error(copy)


def test_load_host_refuses_damaged_weights_and_unknown_models(copy: Path) -> None:
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[:100])
    assert "cannot be read by transformers" in _error(copy)
    (copy / "config.json").write_text('{"model_type": "loom"}', encoding="utf-8")
    assert "cannot be read by transformers" in _error(copy)


def test_load_host_refuses_an_encoder_with_a_decoder(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    T5Model(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    assert "an encoder with a decoder" in _error(tmp_path)


def test_load_host_without_transformers_names_the_extra(bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'depthweave[ner]'" in _error(bert_folder)

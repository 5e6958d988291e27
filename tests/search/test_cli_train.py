"""`depthweave train`: anew and further, interrupted at any moment, and one line for whatever is wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from depthweave.search.commands import train as train_command
from depthweave.spaces import load, save_model
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.files import ARCHITECTURE_FILE, MODEL_FILE, write_architecture
from depthweave.spaces.wiring import strided_wiring
from depthweave.trainers import CorpusSpec, Recipe, load_corpus, tokenise, train
from tests.search.commandline import Cli


@pytest.fixture
def architecture_file(tmp_path: Path) -> Path:
    folder = tmp_path / "exported"
    folder.mkdir()
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(2), width=16, heads=2, feed_forward=16, vocabulary=256, context=32
    )
    write_architecture(folder / ARCHITECTURE_FILE, architecture)
    save_model(folder / MODEL_FILE, Decoder(architecture, seed=9))
    return folder / ARCHITECTURE_FILE


@pytest.fixture
def training(architecture_file: Path, corpus_folder: Path) -> list[object]:
    """Arguments of a training of eight steps and four evaluations."""
    sets = ("batch=4", "num_evaluations=4", "evaluation_tokens=512", "learning_rate=1e-3")
    return [
        *("train", architecture_file, "--corpus", corpus_folder, "--tokens", "1024"),
        *(item for text in sets for item in ("--set", text)),
    ]


def test_train_writes_a_model_that_loads_with_its_metrics(training: list[object], run: Cli, tmp_path: Path) -> None:
    out = tmp_path / "model"
    code, printed, _ = run(*training, "--out", out)
    assert code == 0
    assert printed.count("step ") >= 4
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["step"], metrics["tokens"], metrics["recipe"]["learning_rate"]) == (8, 1024, 0.001)
    assert f"perplexity {metrics['perplexity']:.3f}" in printed
    assert load(out).architecture.depth == 2
    code, printed, _ = run(*training, "--out", out)
    assert code == 0
    assert "is already trained to its end" in printed


def test_interrupted_training_goes_on_to_the_same_weights(
    training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(*training, "--out", whole).code == 0

    def interrupted(*given: Any, **named: Any) -> Iterator[Any]:
        evaluations = train(*given, **named)
        yield next(evaluations)
        yield next(evaluations)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "train", interrupted)
        assert run(*training, "--out", broken).code == 130
    assert not (broken / MODEL_FILE).exists()
    code, printed, _ = run(*training, "--out", broken)
    assert code == 0
    assert "from step 4" in printed
    first, second = (load_file(folder / MODEL_FILE) for folder in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_killed_before_its_model_was_written_writes_it_after_all(
    training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "save_model", interrupted)
        assert run(*training, "--out", tmp_path / "model").code == 130
    assert run(*training, "--out", tmp_path / "model").code == 0
    assert load(tmp_path / "model").architecture.depth == 2


def test_train_further_starts_from_the_weights_beside(training: list[object], run: Cli, tmp_path: Path) -> None:
    frozen = [*training, "--set", "learning_rate=1e-12", "--set", "weight_decay=0"]
    assert run(*frozen, "--further", "--out", tmp_path / "further").code == 0
    before = load_file(tmp_path / "exported" / MODEL_FILE)
    after = load_file(tmp_path / "further" / MODEL_FILE)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_diverged_training_is_one_line_and_is_not_called_trained(
    training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    wild = [*training, "--set", "learning_rate=1e30", "--set", "grad_clip=null", "--out", tmp_path / "model"]
    for _ in range(2):
        assert "the loss was not finite at step" in fault(*wild)
    assert not (tmp_path / "model" / MODEL_FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tokens", "few"], "--tokens few: give a number"),
        (["--tokens", "0"], "--tokens 0: give at least one token"),
        (["--set", "lr=1"], "write KEY=VALUE with a key of the recipe; did you mean"),
        (["--set", "batch"], "write KEY=VALUE"),
        (["--set", "batch=0"], "recipe.batch is 0; it must be at least 1"),
        (["--set", "batch=big"], "batch: Input should be a valid integer"),
        (["--set", "context=64"], "recipe.context is 64; it must be at most the architecture's, 32"),
        (["--corpus", "none.txt"], "none.txt does not exist"),
    ],
)
def test_bad_option_of_train_is_one_line(
    arguments: list[str], told: str, training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    assert told in fault(*training, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_train_with_other_settings_in_the_same_folder_is_one_line(
    training: list[object], run: Cli, fault: Callable[..., str], tmp_path: Path
) -> None:
    assert run(*training, "--out", tmp_path / "model").code == 0
    line = fault(*training, "--out", tmp_path / "model", "--set", "batch=8")
    assert "holds a training of another architecture or recipe" in line
    assert "is not empty" in fault(*training, "--out", tmp_path / "exported")


def test_train_without_an_architecture_is_one_line(fault: Callable[..., str], tmp_path: Path) -> None:
    assert "no such file" in fault("train", tmp_path / "none.yaml", "--out", tmp_path / "model")


def test_train_takes_the_tokenizer_and_the_recipe_of_the_export(
    architecture_file: Path, corpus_folder: Path, run: Cli, tmp_path: Path
) -> None:
    corpus = load_corpus(CorpusSpec(kind="files", paths=(str(corpus_folder),)))
    tokens = tokenise(corpus, tokenizer="bpe:300", cache=tmp_path / "cache")
    assert tokens.tokenizer_json is not None
    architecture = dataclasses.replace(load(architecture_file.parent).architecture, vocabulary=tokens.vocabulary)
    folder = tmp_path / "bpe"
    folder.mkdir()
    write_architecture(folder / ARCHITECTURE_FILE, architecture)
    (folder / "tokenizer.json").write_text(tokens.tokenizer_json, encoding="utf-8")
    recipe = dataclasses.asdict(Recipe(steps=99, batch=2, context=16, learning_rate=0.0011, evaluation_tokens=64))
    (folder / "metrics.json").write_text(json.dumps({"recipe": {"value": json.dumps(recipe)}}), encoding="utf-8")
    out = tmp_path / "model"
    command = ("train", folder / ARCHITECTURE_FILE, "--corpus", corpus_folder, "--tokens", "128", "--out", out)
    assert run(*command).code == 0
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["step"], metrics["recipe"]["batch"], metrics["recipe"]["learning_rate"]) == (4, 2, 0.0011)
    assert (out / "tokenizer.json").read_text(encoding="utf-8") == tokens.tokenizer_json
    (folder / "tokenizer.json").unlink()
    code, _, error = run(*command[:-1], tmp_path / "other")
    assert code == 2
    assert "put the tokenizer.json of its export beside" in error

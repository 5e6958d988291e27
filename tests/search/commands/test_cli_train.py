"""`depthweave train`: from scratch and further, interrupted at any moment, and one line for every fault."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from depthweave.reports.export.padding import with_padding
from depthweave.reports.export.training import Training, read_training, write_training
from depthweave.search.cluster import distributed
from depthweave.search.cluster.distributed import Work
from depthweave.search.commands import train as train_command
from depthweave.spaces import load, parse_rule, read_rule, save_model
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.files import ARCHITECTURE_FILE, MODEL_FILE, write_architecture
from depthweave.spaces.wiring import strided_wiring
from depthweave.trainers import SINGLE, CorpusSpec, Recipe, TokenSet, TrainingState, load_corpus, tokenise, train
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
    assert (metrics["steps"]["value"], metrics["tokens"]["value"]) == (8, 1024)
    assert metrics["loss"]["unit"] == "nat/token"
    perplexities = (metrics["perplexity"]["value"], metrics["test_perplexity"]["value"])
    assert "perplexity {:.3f} ({:.3f} on the test part)".format(*perplexities) in printed
    assert re.search(r"text of files: .* to train on \(.* %\), .* to validate on \(.* %\), .* to test on", printed)
    assert "perplexity on the test part, per token" in (out / "README.md").read_text(encoding="utf-8")
    recorded = read_training(out)
    assert recorded is not None
    assert (recorded.recipe["learning_rate"], recorded.recipe["steps"], recorded.parent) == (0.001, 8, None)
    assert recorded.loss == metrics["loss"]["value"]
    assert load(out).architecture.depth == 2
    # What only a training needs is gone.
    assert not {"state.pt", "curve.json"} & {item.name for item in out.iterdir()}
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
    # The learning curve too, as the card has it.
    curves = [
        re.findall(r"^\| [\d,]+ \| [\d.]+ \|$", (folder / "README.md").read_text(), re.MULTILINE)
        for folder in (whole, broken)
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 4


def test_training_killed_before_its_model_was_written_writes_it_after_all(
    training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "write_trained", interrupted)
        assert run(*training, "--out", tmp_path / "model").code == 130
    assert run(*training, "--out", tmp_path / "model").code == 0
    assert load(tmp_path / "model").architecture.depth == 2


@pytest.mark.parametrize(("owner", "method"), [(TrainingState, "save"), (Path, "unlink")])
def test_training_killed_after_its_model_was_written_has_ended_and_says_so(
    owner: type, method: str, training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, undisturbed = tmp_path / "model", getattr(owner, method)

    def interrupted(*given: Any, **named: Any) -> Any:
        if (out / MODEL_FILE).exists():
            raise KeyboardInterrupt
        return undisturbed(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, interrupted)
        assert run(*training, "--out", out).code == 130
    assert (out / "state.pt").exists()
    weights = (out / MODEL_FILE).read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    for number in range(4):
        (other / f"{number}.txt").write_text(f"text {number} " * 400, encoding="utf-8")
    code, _, error = run(*training, "--corpus", other, "--out", out)
    assert code == 2
    assert "holds a training of another architecture, recipe or text" in error
    code, printed, _ = run(*training, "--out", out)
    assert code == 0
    assert printed.endswith(f"\n{out}: is already trained to its end\n")
    assert (out / MODEL_FILE).read_bytes() == weights
    assert not {"state.pt", "curve.json"} & {item.name for item in out.iterdir()}


def test_worker_lost_behind_its_model_has_ended_and_says_so(
    training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost_unheard(work: Work[TokenSet], data: TokenSet, *, workers: int, scratch: Path) -> Iterator[str]:
        list(work(SINGLE, data))
        yield from work(SINGLE, data)

    monkeypatch.setattr(distributed, "share_work", lost_unheard)
    monkeypatch.setattr(distributed, "stay_on_loopback", lambda: None)
    monkeypatch.setattr(train_command, "cluster", lambda address, *, ship: nullcontext())
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run(*training, "--out", "model", "--workers", "2")
    assert code == 0
    assert printed.splitlines()[-1] == "model: is already trained to its end", "the folder as it was given"
    assert load(tmp_path / "model").architecture.depth == 2


def test_train_further_starts_from_the_weights_beside(training: list[object], run: Cli, tmp_path: Path) -> None:
    frozen = [*training, "--set", "learning_rate=1e-12", "--set", "weight_decay=0"]
    assert run(*frozen, "--further", "--out", tmp_path / "further").code == 0
    recorded = read_training(tmp_path / "further")
    assert recorded is not None
    assert recorded.from_weights
    assert "the same training again" not in (tmp_path / "further" / "README.md").read_text(encoding="utf-8")
    corpus = training[training.index("--corpus") + 1]
    code, printed, _ = run("train", tmp_path / "further", "--corpus", corpus, "--out", tmp_path / "again")
    assert code == 0
    assert "the recorded training again" not in printed
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
    ("arguments", "message"),
    [
        (["--tokens", "few"], "--tokens few: give a number"),
        (["--tokens", "0"], "--tokens 0: give at least one token"),
        (["--set", "lr=1"], "recipe key 'lr' is not known: did you mean"),
        (["--set", "batch"], "write KEY=VALUE"),
        (["--set", "batch=0"], "recipe.batch is 0; it must be at least 1"),
        (["--set", "batch=big"], "batch: Input should be a valid integer"),
        (["--set", "context=64"], "recipe.context is 64; it must be at most the architecture's, 32"),
        (["--corpus", "none.txt"], "none.txt does not exist"),
    ],
)
def test_bad_option_of_train_is_one_line(
    arguments: list[str], message: str, training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    assert message in fault(*training, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_train_with_other_settings_in_the_same_folder_is_one_line(
    training: list[object], run: Cli, fault: Callable[..., str], tmp_path: Path
) -> None:
    assert run(*training, "--out", tmp_path / "model").code == 0
    line = fault(*training, "--out", tmp_path / "model", "--set", "batch=8")
    assert "holds a training of another architecture, recipe or text" in line
    assert "is not empty" in fault(*training, "--out", tmp_path / "exported")


def test_train_without_an_architecture_is_one_line(fault: Callable[..., str], tmp_path: Path) -> None:
    assert "no such file" in fault("train", tmp_path / "none.yaml", "--out", tmp_path / "model")


def _recorded(folder: Path, **changes: Any) -> Training:
    """The folder is an export whose training is this."""
    recipe = dataclasses.asdict(
        Recipe(steps=3, batch=2, context=16, learning_rate=0.0011, evaluation_tokens=64, num_evaluations=2)
    )
    values: dict[str, Any] = {
        "architecture_id": load(folder).architecture.id if (folder / MODEL_FILE).exists() else "0" * 12,
        "origin": "run quick-1, trial 7",
        "recipe": {**recipe, "betas": list(recipe["betas"])},
        "tokens": 96,
        "loss": 5.5,
        "corpus": "files",
        "corpus_sha256": "00ff",
        "corpus_options": {"kind": "files", "validation_frac": 0.3},
        "tokenizer": "bytes",
        "device": "cpu",
        "threads": 1,
        "hardware": "a processor",
        "software": "depthweave 0.1.0",
    }
    training = Training(**{**values, **changes})
    write_training(folder, training)
    return training


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
    _recorded(folder, architecture_id=architecture.id, tokenizer="bpe:300")
    out = tmp_path / "model"
    command = ("train", folder / ARCHITECTURE_FILE, "--corpus", corpus_folder, "--tokens", "128", "--out", out)
    code, printed, _ = run(*command)
    assert code == 0
    assert "not the text of the export: that was files 00ff" in printed
    training = read_training(out)
    assert training is not None
    assert (training.recipe["steps"], training.recipe["batch"], training.recipe["learning_rate"]) == (4, 2, 0.0011)
    # Read as for the export of an earlier version, which knew no other rule.
    assert training.corpus_options == {
        "kind": "files",
        "validation_frac": 0.3,
        "division": "documents",
        "split": "train",
        "column": "text",
    }
    assert training.tokenizer == "bpe:300"
    assert (out / "tokenizer.json").read_text(encoding="utf-8") == with_padding(tokens.tokenizer_json)
    (folder / "tokenizer.json").unlink()
    code, _, error = run(*command[:-1], tmp_path / "other")
    assert code == 2
    assert "put the tokenizer.json of its export beside" in error


def test_trained_export_trains_again_to_the_same_bits(
    training: list[object], run: Cli, corpus_folder: Path, tmp_path: Path
) -> None:
    assert run(*training, "--out", tmp_path / "first").code == 0
    code, printed, _ = run("train", tmp_path / "first", "--corpus", corpus_folder, "--out", tmp_path / "second")
    assert code == 0
    assert "the recorded training again" in printed
    assert printed.rstrip().endswith(", the recorded loss bit for bit")
    first, second = (load_file(tmp_path / name / MODEL_FILE) for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    card = (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    assert f"again as `{load(tmp_path / 'first').architecture.id}` of depthweave train" in card


def test_another_loss_than_the_recorded_one_is_printed(
    architecture_file: Path, corpus_folder: Path, run: Cli, tmp_path: Path
) -> None:
    spec = CorpusSpec(kind="files", paths=(str(corpus_folder),), validation_frac=0.3, division="documents")
    sha256 = load_corpus(spec).sha256
    _recorded(architecture_file.parent, corpus_sha256=sha256)
    code, printed, _ = run("train", architecture_file.parent, "--corpus", corpus_folder, "--out", tmp_path / "again")
    assert code == 0
    assert "the recorded loss is 5.5 on a processor (depthweave 0.1.0)" in printed


def test_resized_training_keeps_the_pattern_and_cites_the_old_run(
    architecture_file: Path, corpus_folder: Path, run: Cli, tmp_path: Path
) -> None:
    folder = architecture_file.parent
    architecture = load(folder).architecture
    write_architecture(architecture_file, architecture, rule=parse_rule("1x1"))
    _recorded(folder)
    out = tmp_path / "large"
    sizes = ("--width", "32", "--depth", "4", "--tokens", "64")
    code, printed, _ = run("train", architecture_file, "--corpus", corpus_folder, *sizes, "--out", out)
    assert code == 0
    assert "learning rate 0.00055" in printed
    large = load(out).architecture
    assert (large.fusion, large.depth, large.width, large.heads, large.feed_forward) == ("dwa", 4, 32, 4, 32)
    assert large.wiring == strided_wiring(4)
    assert read_rule(out / ARCHITECTURE_FILE) == parse_rule("1x1")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"resized from `{architecture.id}` of run quick-1, trial 7, whose validation loss was 5.5000" in card
    # An export of an export is one too.
    assert run("train", out, "--corpus", corpus_folder, "--tokens", "64", "--out", tmp_path / "b").code == 0


def test_resized_training_without_a_rule_says_how_its_wiring_is_moved(
    architecture_file: Path, corpus_folder: Path, run: Cli, tmp_path: Path
) -> None:
    architecture = load(architecture_file.parent).architecture
    out, sizes = tmp_path / "large", ("--depth", "4", "--tokens", "64")
    code, printed, _ = run("train", architecture_file, "--corpus", corpus_folder, *sizes, "--out", out)
    assert code == 0
    assert f"no rule is known for the wiring of architecture {architecture.id}: each site and source i" in printed
    wanted = [[2 * site.block, [2 * source for source in site.sources]] for site in architecture.wiring]
    assert load(out).architecture.to_dict()["sites"] == wanted
    assert read_rule(out / ARCHITECTURE_FILE) is None


def test_text_of_an_export_from_elsewhere_is_never_read_by_itself(
    architecture_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("words " * 1000)
    for options, asked in (
        ({"kind": "files", "paths": [str(secret)]}, "--corpus PATH"),
        ({"kind": "hub", "dataset": "someone/stories"}, "--corpus hub:someone/stories"),
    ):
        _recorded(architecture_file.parent, corpus_options=options)
        line = fault("train", architecture_file, "--out", tmp_path / "model")
        assert line.endswith(f"which it does not hold: give it with {asked}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "33"], "width is 33: it must be a multiple of 8, the width of a head: take 32 or 40"),
        (["--depth", "0"], "depth is 0"),
        (["--further", "--width", "32"], "--further starts from the weights of the export"),
    ],
)
def test_bad_size_of_train_is_one_line(
    arguments: list[str], message: str, training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    assert message in fault(*training, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()

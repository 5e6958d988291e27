"""A run that goes on: nothing that its results depend on has changed, and whose files are read is said before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.store.run_store import RunStore
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.run_folder.resuming import keep_spec, resumed, spec_of
from depthweave.search.spec.sources import logger_sentences, text_sentence
from depthweave.trainers import CorpusSpec
from tests.reports.synthetic import make_record
from tests.search.commandline import Cli
from tests.search.ledger_runs import as_earlier_version
from tests.search.search_runs import prepared_search


@pytest.fixture
def text(corpus_folder: Path, tmp_path: Path) -> Path:
    """A copy of the text, which may be moved and changed."""
    return Path(shutil.copytree(corpus_folder, tmp_path / "text"))


@pytest.fixture
def prepared(small_spec: dict[str, Any], text: Path) -> PreparedSearch:
    return prepared_search({**small_spec, "corpus": {**small_spec["corpus"], "paths": [str(text)]}})


@pytest.fixture
def run_folder(prepared: PreparedSearch, tmp_path: Path) -> Path:
    """A run of one complete trial, of the recipe's training."""
    folder = tmp_path / "run"
    store = create_run(prepared, out=folder)
    record = make_record(
        0,
        run_id=store.info.run_id,
        architecture_id=prepared.reference.architecture.id,
        corpus_sha256=prepared.data.corpus_sha256,
        recipe=json.dumps({"steps": prepared.spec.recipe.steps, "precision": "float32", "gone": 1}),
    )
    store.append(record, evaluations=[], weights=[])
    return folder


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / "spec.yaml"
    spec = path.read_text(encoding="utf-8")
    assert old in spec
    path.write_text(spec.replace(old, new), encoding="utf-8")


_EDITS = [
    ("steps: 6", "steps: 8", "recipe.steps is 8, was 6"),
    ("seed: 0", "seed: 1", "seed is 1, was 0"),
    ("tokenizer: bytes", "tokenizer: bpe:300", "tokenizer is 'bpe:300', was 'bytes'"),
    ("validation_frac: 0.3", "validation_frac: 0.2", "corpus.validation_frac is 0.2, was 0.3"),
    ("device: cpu", "device: auto", "resources.device is 'auto', was 'cpu'"),
    ("objectives: [perplexity, latency, memory_bytes]", "objectives: [perplexity, latency]", "objectives is "),
]


@pytest.mark.parametrize("command", [("search", "--resume", "--out"), ("confirm",)], ids=["resume", "confirm"])
@pytest.mark.parametrize(("old", "new", "message"), _EDITS)
def test_changed_spec_file_is_named_and_refused(
    old: str, new: str, message: str, command: tuple[str, ...], run_folder: Path, fault: Callable[..., str]
) -> None:
    _edit(run_folder, old, new)
    line = fault(*command, run_folder)
    assert f"{run_folder}/spec.yaml was changed since the run began: {message}" in line
    assert "what may change is name, loggers, search.trials" in line


def test_what_may_change_in_the_spec_file_is_accepted_and_said(run_folder: Path) -> None:
    _edit(run_folder, "trials: 100", "trials: 7")
    _edit(run_folder, "max_concurrent: null", "max_concurrent: 3")
    said: list[str] = []
    store = RunStore.open(run_folder)
    prepared = resumed(store, given=None, overrides=[], local=True, say=said.append)
    assert (prepared.spec.search.trials, prepared.spec.resources.max_concurrent) == (7, 3)
    assert said[:2] == [
        f"{run_folder}/spec.yaml: resources.max_concurrent is 3, was None when the run began",
        f"{run_folder}/spec.yaml: search.trials is 7, was 100 when the run began",
    ]


def test_spec_file_that_is_gone_costs_nothing(prepared: PreparedSearch, run_folder: Path) -> None:
    (run_folder / "spec.yaml").unlink()
    assert spec_of(RunStore.open(run_folder)) == prepared.spec


@pytest.mark.parametrize("is_earlier", [False, True])
def test_spec_file_that_is_no_text_is_named_with_what_to_do(is_earlier: bool, run_folder: Path) -> None:
    if is_earlier:
        as_earlier_version(run_folder)
    path = run_folder / "spec.yaml"
    path.write_bytes(path.read_bytes().replace(b"steps", b"st\xe4ps"))
    store = RunStore.open(run_folder)
    remedy = "restore it" if is_earlier else "delete it: run.json holds the spec too"
    with pytest.raises(ValueError, match=f"^{path}: is damaged: not UTF-8 text .*; {remedy}$"):
        spec_of(store)
    if is_earlier:
        with pytest.raises(ValueError, match=f"^{path}: is damaged: not UTF-8 text"):
            _ = store.spec_yaml
    else:
        assert "steps: 6" in store.spec_yaml


def test_run_of_an_earlier_version_goes_on_and_keeps_its_spec_from_then_on(
    run_folder: Path, fault: Callable[..., str]
) -> None:
    as_earlier_version(run_folder)
    said: list[str] = []
    store = RunStore.open(run_folder)
    prepared = resumed(store, given=None, overrides=[], local=True, say=said.append)
    assert said[0] == (f"{run_folder}: begun by an earlier version without a spec in run.json: the spec is added now")
    keep_spec(store, prepared.spec)
    _edit(run_folder, "seed: 0", "seed: 1")
    assert "seed is 1, was 0" in fault("search", "--resume", "--out", run_folder)


def test_run_of_an_earlier_version_whose_records_had_another_recipe_is_refused(
    run_folder: Path, fault: Callable[..., str]
) -> None:
    as_earlier_version(run_folder)
    _edit(run_folder, "steps: 6", "steps: 8")
    assert "recipe.steps is 8, was 6" in fault("search", "--resume", "--out", run_folder)


@pytest.mark.parametrize("command", [("search", "--resume", "--out"), ("confirm",)], ids=["resume", "confirm"])
def test_text_that_moved_is_asked_for_and_another_one_is_refused(
    command: tuple[str, ...], text: Path, run_folder: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    moved = text.rename(tmp_path / "elsewhere")
    line = fault(*command, run_folder)
    assert f"corpus.paths: {text} does not exist" in line
    assert "give the path of the run's text with --set 'corpus.paths=[PATH]'" in line
    # Under the same path, and named by the command line: another text is another text.
    other = Path(shutil.copytree(moved, text))
    (other / "0.txt").write_text("another text " * 300, encoding="utf-8")
    assert "give the same text, or start a new run" in fault(*command, run_folder)
    assert "give the same text" in fault(*command, run_folder, "--set", f"corpus.paths=[{other}]")


def test_text_that_moved_goes_on_wherever_it_is_the_same(
    prepared: PreparedSearch, text: Path, run_folder: Path
) -> None:
    moved, said = text.rename(text.parent / "elsewhere"), list[str]()
    overrides = [f"corpus.paths=[{moved}]"]
    store = RunStore.open(run_folder)
    found = resumed(store, given=None, overrides=overrides, local=True, say=said.append)
    assert found.data.corpus_sha256 == prepared.data.corpus_sha256
    assert said[0] == f"reading the text: {moved}, named by the command line"
    # It need not be said a second time.
    keep_spec(store, found.spec)
    assert (
        resumed(RunStore.open(run_folder), given=None, overrides=[], local=True, say=said.append).space
        == prepared.space
    )
    moved_sentence = f"{run_folder}/spec.yaml: corpus.paths is {[str(moved)]}, was {[str(text)]} when the run began"
    assert moved_sentence in said


@pytest.mark.parametrize("command", [("search", "--resume", "--out"), ("confirm",)], ids=["resume", "confirm"])
def test_run_without_a_hash_of_its_text_names_the_files_that_it_reads(
    command: tuple[str, ...], text: Path, prepared: PreparedSearch, run: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "stranger"
    store = create_run(prepared, out=folder)
    architecture_id = prepared.reference.architecture.id
    record = make_record(0, run_id=store.info.run_id, architecture_id=architecture_id, corpus_sha256="")
    store.append(record, evaluations=[], weights=[])
    as_earlier_version(folder, without=["corpus_sha256"])
    answer = run(*command, folder)
    assert answer.code == 2
    assert f"reading the text: {text}, named by {folder}/spec.yaml" in answer.out
    assert "neither run.json nor a record says which text the run was trained on" in answer.err


def test_hash_of_the_records_is_enough(run_folder: Path) -> None:
    as_earlier_version(run_folder, without=["corpus_sha256"])
    resumed(RunStore.open(run_folder), given=None, overrides=[], local=True, say=lambda line: None)


def test_what_is_read_and_who_hears_is_named_plainly(tmp_path: Path) -> None:
    many = CorpusSpec(kind="files", paths=tuple(f"/books/{number}" for number in range(10)))
    line = text_sentence(many, named_by="x")
    assert "/books/7 and 2 other paths, named by x" in line
    hostile = CorpusSpec(kind="files", paths=("/books/\x1b[31mred\n",))
    assert text_sentence(hostile, named_by="x") == "reading the text: /books/[31mred , named by x"
    hub = CorpusSpec(kind="hub", dataset="org/name")
    assert (
        text_sentence(hub, named_by="x")
        == "reading the text: the dataset org/name, of the Hugging Face hub, named by x"
    )
    local = CorpusSpec(kind="hub", dataset=str(tmp_path))
    assert f"the dataset {tmp_path}, named by" in text_sentence(local, named_by="x")
    assert logger_sentences(["wandb"]) == ["every evaluation goes to wandb, as the spec says"]
    assert logger_sentences([]) == []

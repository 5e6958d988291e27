"""Pipes and devices in place of the files that commands read: one line, and no command waits for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import Architecture, Decoder, Wiring, save_model, write_architecture
from depthweave.trainers import CorpusSpec, load_corpus
from tests.reports.synthetic import make_info, make_record


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    architecture = Architecture(
        fusion="none", wiring=Wiring(1), width=8, heads=1, feed_forward=8, vocabulary=256, context=8
    )
    folder = tmp_path / "export"
    folder.mkdir()
    write_architecture(folder / "architecture.yaml", architecture)
    save_model(folder / "model.safetensors", Decoder(architecture))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "training.yaml").write_text("{}")
    return folder


@pytest.mark.parametrize("name", ["architecture.yaml", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_generate_reads_regular_files_alone(name: str, kind: str, exported: Path, fault: Callable[..., str]) -> None:
    (exported / "training.yaml").unlink()
    _spoil(exported / name, kind)
    message = fault("generate", exported)
    # A device is there through a link, and none is followed.
    assert f"{exported / name}: is a {'pipe (FIFO): give a regular file' if kind == 'pipe' else 'link'}" in message


@pytest.mark.parametrize("name", ["architecture.yaml", "training.yaml"])
def test_train_reads_regular_files_alone(name: str, exported: Path, fault: Callable[..., str], tmp_path: Path) -> None:
    _spoil(exported / name, "pipe")
    assert f"{exported / name}: is a pipe" in fault("train", exported, "--out", tmp_path / "out")


def test_spec_and_run_are_read_from_regular_files_alone(tmp_path: Path, fault: Callable[..., str]) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="name: x\n")
    store.append(make_record(0), evaluations=[], weights=[])
    os.mkfifo(tmp_path / "spec.yaml")
    assert "spec.yaml: is a pipe (FIFO)" in fault("search", tmp_path / "spec.yaml", "--out", tmp_path / "new")
    _spoil(tmp_path / "run" / "spec.yaml", "pipe")
    assert "spec.yaml: is a pipe (FIFO)" in fault("search", "--resume", "--out", store.where)
    # As an export reads it.
    with pytest.raises(ValueError, match=r"spec\.yaml: is a pipe"):
        _ = store.spec_yaml
    with pytest.raises(ValueError, match=r"spec\.yaml: is a pipe"):
        store.copy_out("spec.yaml", tmp_path / "copy")
    _spoil(tmp_path / "run" / "run.json", "pipe")
    assert "holds no run" in fault("show", store.where)


def test_text_that_is_a_pipe_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "text.txt")
    with pytest.raises(ValueError, match=r"text\.txt: is a pipe \(FIFO\)"):
        load_corpus(CorpusSpec(kind="files", paths=(str(tmp_path / "text.txt"),)))


def test_empty_path_of_a_corpus_is_refused() -> None:
    with pytest.raises(ValueError, match=r"corpus\.paths \['a', ''\]: an entry is empty"):
        CorpusSpec(kind="files", paths=("a", ""))


def test_empty_folder_of_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="the folder of a run is empty"):
        RunStore.create("", info=make_info(), spec_yaml="")


def _spoil(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

"""An export refuses changed or lost files of the run, and its own files are checked when they are read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import subprocess
from pathlib import Path

import pytest
import torch
from pyarrow import fs
from safetensors.torch import load_file, save_file

from depthweave.reports.analysis.retention import why_absent
from depthweave.reports.export import export, read_training
from depthweave.reports.export.byte_tokenizer import byte_tokenizer_json
from depthweave.reports.export.padding import with_padding
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import Decoder, load, save_model
from tests.reports.export.conftest import keep_weights, record_of
from tests.reports.synthetic import make_info, make_record

_TOKENIZER = byte_tokenizer_json().replace("255", "0")


def _flip(path: Path, *, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture
def summed(store: RunStore, model: Decoder) -> RunStore:
    """A run as searches leave it now: weights with their checksum beside them."""
    folder = Path(store.checkpoint_dir(12))
    folder.mkdir(parents=True)
    save_model(folder / "model.safetensors", model, with_checksum=True)
    return store


@pytest.fixture
def run_with_tokenizer(tmp_path: Path, model: Decoder) -> RunStore:
    """A run whose model has a vocabulary of byte pairs."""
    store = RunStore.create(tmp_path / "bpe", info=make_info(), spec_yaml="", tokenizer_json=_TOKENIZER)
    keep_weights(store, model)
    return store


def test_flipped_bit_of_kept_weights_is_named_and_nothing_is_exported(summed: RunStore, tmp_path: Path) -> None:
    path = Path(summed.checkpoint_dir(12)) / "model.safetensors"
    _flip(path, bit=8 * (path.stat().st_size - 2) + 6)
    with pytest.raises(ValueError, match=r"trial-00012/model\.safetensors: is damaged") as caught:
        export(summed, record_of(), out=tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
    _flip(path, bit=8 * (path.stat().st_size - 2) + 6)
    assert export(summed, record_of(), out=tmp_path / "out").is_dir()


def test_sums_are_checked_in_object_storage_too(memory: fs.FileSystem, model: Decoder, tmp_path: Path) -> None:
    store = RunStore.create("/bucket/run", info=make_info(), spec_yaml="", filesystem=memory)
    save_model(tmp_path / "model.safetensors", model, with_checksum=True)
    for name in ("model.safetensors.sha256", "model.safetensors"):
        store.storage.copy_in(tmp_path / name, f"checkpoints/trial-00012/{name}")
    assert export(store, record_of(), out=tmp_path / "out").is_dir()
    _flip(tmp_path / "model.safetensors", bit=9000)
    store.storage.copy_in(tmp_path / "model.safetensors", "checkpoints/trial-00012/model.safetensors")
    with pytest.raises(ValueError, match=r"^/bucket/run/checkpoints/trial-00012/model\.safetensors: is damaged"):
        export(store, record_of(), out=tmp_path / "again")


def test_weights_of_an_earlier_version_are_exported_and_said_to_be_unchecked(
    trained: RunStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        out = export(trained, record_of(), out=tmp_path / "out")
    (line,) = [item.getMessage() for item in caplog.records]
    assert line.endswith("model.safetensors has no checksum, because an earlier version wrote it: it is not checked")
    assert subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=out, check=True, capture_output=True)
    listed = {line.split()[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in out.iterdir()} - {"SHA256SUMS"}


@pytest.mark.parametrize("name", ["architecture.yaml", "model.safetensors"])
def test_changed_file_of_an_export_is_not_loaded(summed: RunStore, tmp_path: Path, name: str) -> None:
    out = export(summed, record_of(), out=tmp_path / "out")
    _flip(out / name, bit=8 * ((out / name).stat().st_size // 2))
    with pytest.raises(ValueError, match=f"{name}: is not as it was written") as caught:
        load(out)
    assert len(str(caught.value).splitlines()) == 1
    (out / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: is missing, but SHA256SUMS lists it"):
        load(out)


def test_export_of_an_earlier_version_loads(summed: RunStore, model: Decoder, tmp_path: Path) -> None:
    out = export(summed, record_of(), out=tmp_path / "out")
    (out / "SHA256SUMS").unlink()
    tokens_BT = torch.arange(8)[None]
    assert torch.equal(load(out)(tokens_BT), model(tokens_BT))
    text = (out / "training.yaml").read_text()
    (out / "training.yaml").write_text("\n".join(line for line in text.splitlines() if "tokenizer_sha256" not in line))
    training = read_training(out)
    assert training is not None
    assert training.tokenizer_sha256 == ""


def test_lost_tokenizer_is_refused_and_never_replaced_by_bytes(run_with_tokenizer: RunStore, tmp_path: Path) -> None:
    store, record = run_with_tokenizer, record_of(tokenizer="bpe:256")
    assert (export(store, record, out=tmp_path / "whole") / "tokenizer.json").read_text() == with_padding(_TOKENIZER)
    (Path(store.where) / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json: is gone, and trial 12 was trained with bpe:256") as caught:
        export(store, record, out=tmp_path / "out")
    assert f"depthweave search --resume --out {store.where}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_changed_tokenizer_is_refused(run_with_tokenizer: RunStore, tmp_path: Path) -> None:
    path = Path(run_with_tokenizer.where) / "tokenizer.json"
    path.write_text(_TOKENIZER.replace('"dropout": null', '"dropout": 0.5'))
    with pytest.raises(ValueError, match=r"tokenizer\.json: is not the run's"):
        export(run_with_tokenizer, record_of(tokenizer="bpe:256"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{}", "[]", "words", byte_tokenizer_json().replace('"!": 33,', "")])
def test_tokenizer_of_another_vocabulary_is_refused_in_a_run_without_its_checksum(
    trained: RunStore, tmp_path: Path, content: str
) -> None:
    trained.write_bytes("tokenizer.json", content.encode())
    with pytest.raises(ValueError, match=r"tokenizer\.json: (cannot be read|has 255 tokens, trial 12 has 256)"):
        export(trained, record_of(tokenizer="bpe:256"), out=tmp_path / "out")
    # A stray file beside a model of bytes is none of its own.
    out = export(trained, record_of(), out=tmp_path / "bytes")
    assert (out / "tokenizer.json").read_text() != content


def test_sum_of_the_tokenizer_is_in_run_and_export(run_with_tokenizer: RunStore, tmp_path: Path) -> None:
    own = hashlib.sha256(_TOKENIZER.encode()).hexdigest()
    assert RunStore.open(run_with_tokenizer.where).info.tokenizer_sha256 == own
    out = export(run_with_tokenizer, record_of(tokenizer="bpe:256"), out=tmp_path / "out")
    training = read_training(out)
    assert training is not None
    assert training.tokenizer_sha256 == hashlib.sha256((out / "tokenizer.json").read_bytes()).hexdigest()


def test_weights_deleted_by_hand_are_not_said_to_be_off_the_front(store: RunStore, tmp_path: Path) -> None:
    slow = {"latency": 99.0, "latency_low": 98.0, "latency_high": 99.0}
    front, behind = record_of(), make_record(13, perplexity=99.0, memory_bytes=2**60, **slow)
    plain = dataclasses.replace(behind, trial=14, fusion="none", architecture_id="plain", wiring="[]")
    for item in (front, behind, plain):
        store.append(item, evaluations=[], weights=[])
    message = {
        front.trial: "are gone: the run keeps them, because it is on the front, so something else has deleted them",
        behind.trial: "were not kept, because it is not on the front",
        plain.trial: "are gone: the run keeps them, because it is a plain baseline",
    }
    for item in (front, behind, plain):
        assert why_absent(store, item).startswith(message[item.trial])
    with pytest.raises(ValueError, match=r"something else has deleted them; .* trains it again"):
        export(store, front, out=tmp_path / "out")


def test_run_json_with_a_flipped_bit_is_one_line_or_the_same_run(store: RunStore) -> None:
    path = Path(store.where) / "run.json"
    whole, info = path.read_bytes(), store.info
    assert "sha256" in json.loads(whole)
    message = []
    for bit in range(0, 8 * len(whole), 31):
        path.write_bytes(whole)
        _flip(path, bit=bit)
        try:
            assert RunStore.open(store.where).info == info
        except ValueError as error:
            message.append(str(error))
    assert all(line.startswith(f"{path}: ") and len(line.splitlines()) == 1 for line in message)
    assert len(message) > 8 * len(whole) // 62


def test_weights_of_other_sizes_than_the_record_s_are_not_exported(trained: RunStore, tmp_path: Path) -> None:
    path = Path(trained.checkpoint_dir(12)) / "model.safetensors"
    weights = load_file(path)
    # No note of an architecture in it.
    save_file({**weights, "embedding.weight": torch.zeros(256, 8)}, path)
    with pytest.raises(ValueError, match=r"weights of trial 12: the file .* width is 8 in it, and 16 in its record"):
        export(trained, record_of(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_link_is_refused(summed: RunStore, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match="out is a link: give --out the folder itself"):
        export(summed, record_of(), out=tmp_path / "out")

"""`depthweave train`, `generate` and `measure` with files that were changed, and two trainings into one folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from depthweave.search.commands import train as train_command
from depthweave.search.commands.train_lock import locked_folder
from depthweave.spaces import Architecture, Decoder, save_model, strided_wiring, write_architecture
from depthweave.spaces.checksums import CHECKSUMS_FILE, verified_values
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers import train
from tests.search.commandline import Cli


@pytest.fixture
def training(tmp_path: Path, corpus_folder: Path) -> list[object]:
    """Arguments of a training of eight steps and four evaluations."""
    folder = tmp_path / "exported"
    folder.mkdir()
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(2), width=16, heads=2, feed_forward=16, vocabulary=256, context=32
    )
    write_architecture(folder / "architecture.yaml", architecture)
    save_model(folder / MODEL_FILE, Decoder(architecture, seed=9))
    sets = ("batch=4", "num_evaluations=4", "evaluation_tokens=512", "learning_rate=1e-3")
    return [
        *("train", folder, "--corpus", corpus_folder, "--tokens", "1024"),
        *(item for text in sets for item in ("--set", text)),
    ]


@pytest.fixture
def trained(training: list[object], run: Cli, tmp_path: Path) -> Path:
    """A folder that a training left."""
    assert run(*training, "--out", tmp_path / "model").code == 0
    return tmp_path / "model"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_trained_folder_lists_the_sums_of_all_its_files(trained: Path) -> None:
    assert subprocess.run(["sha256sum", "--strict", "-c", CHECKSUMS_FILE], cwd=trained, check=True, capture_output=True)
    listed = {line.split()[1] for line in (trained / CHECKSUMS_FILE).read_text().splitlines()}
    assert listed == {path.name for path in trained.iterdir()} - {CHECKSUMS_FILE}


@pytest.mark.parametrize("name", ["architecture.yaml", "training.yaml", MODEL_FILE])
def test_changed_file_of_a_folder_is_named_by_each_command_that_reads_it(
    trained: Path, training: list[object], fault: Callable[..., str], tmp_path: Path, corpus_folder: Path, name: str
) -> None:
    _flip(trained / name)
    again = ("train", trained, "--corpus", corpus_folder, "--tokens", "64", "--out", tmp_path / "next")
    uses: dict[str, list[tuple[object, ...]]] = {
        "architecture.yaml": [again, ("generate", trained), ("measure", trained, trained / "architecture.yaml")],
        "training.yaml": [again, ("generate", trained), (*training, "--out", trained)],
        MODEL_FILE: [(*again, "--further"), ("generate", trained), (*training, "--out", trained)],
    }
    for arguments in uses[name]:
        assert fault(*arguments).startswith(f"{trained / name}: is not as it was written")
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize(("name", "message"), [("state.pt", "is damaged"), ("curve.json", "is damaged: remove it")])
def test_changed_file_of_an_interrupted_training_is_named(
    training: list[object], run: Cli, fault: Callable[..., str], tmp_path: Path, name: str, message: str
) -> None:
    out = tmp_path / "model"

    def interrupted(*given: Any, **named: Any) -> Iterator[Any]:
        evaluations = train(*given, **named)
        yield next(evaluations)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_command, "train", interrupted)
        assert run(*training, "--out", out).code == 130
    _flip(out / name)
    assert fault(*training, "--out", out).startswith(f"{out / name}: {message}")
    _flip(out / name)
    # As an earlier version left it.
    (out / "state.pt.sha256").unlink()
    (out / "curve.json").write_text(json.dumps(verified_values(json.loads((out / "curve.json").read_text()))["curve"]))
    assert run(*training, "--out", out).code == 0
    assert not {"state.pt", "curve.json"} & {path.name for path in out.iterdir()}


def test_second_training_into_a_folder_is_refused_while_the_first_runs(
    training: list[object], fault: Callable[..., str], run: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    with locked_folder(out):
        message = fault(*training, "--out", out)
    assert message == f"--out {out}: another training writes there; wait for it, or name another folder"
    assert run(*training, "--out", out).code == 0


@pytest.mark.parametrize("name", ["architecture.yaml", MODEL_FILE, "tokenizer.json"])
def test_link_in_an_export_is_refused_by_generate(
    trained: Path, fault: Callable[..., str], tmp_path: Path, name: str
) -> None:
    (trained / CHECKSUMS_FILE).unlink()
    (trained / name).rename(tmp_path / "elsewhere")
    (trained / name).symlink_to(tmp_path / "elsewhere")
    assert f"{trained / name}: is a link" in fault("generate", trained)

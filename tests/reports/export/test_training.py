"""A `training.yaml` is read as it was written, and every fault is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from depthweave.reports.export.training import TRAINING_FILE, Training, read_training, write_training

TRAINING = Training(
    architecture_id="0123456789ab",
    origin="run a, trial 3",
    # 1e-05 is a string to YAML unless it is written with a point.
    recipe={"seed": 0, "learning_rate": 1e-05, "betas": [0.9, 0.95], "grad_clip": None},
    tokens=100,
    loss=0.1 + 0.2,
    corpus="stdlib-3.11.7",
    corpus_sha256="00ff",
    corpus_options={"kind": "stdlib"},
    tokenizer="bytes",
    device="cpu",
    threads=1,
    hardware="a processor",
    software="depthweave 0.1.0",
    parent={"architecture_id": "ba9876543210", "origin": "run b, trial 1", "loss": 1.5, "how": "from scratch as"},
)


def test_training_round_trip_keeps_every_digit(tmp_path: Path) -> None:
    write_training(tmp_path, TRAINING)
    assert read_training(tmp_path) == TRAINING


def test_training_of_a_folder_without_one_is_none(tmp_path: Path) -> None:
    assert read_training(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "steps: 3"}, "recipe is 'steps: 3'"),
        ({"loss": "low"}, "loss is 'low'"),
        ({"threads": None}, "threads is None"),
        ({"parent": ["run"]}, r"parent is \['run'\]"),
        ({"parent": {"origin": "x"}}, "parent is .*: it needs architecture_id, origin, how, loss"),
        ({"threads": 0}, "threads is 0, it must be at least 1"),
        ({"threads": True}, "threads is True"),
        ({"tokens": -1}, "tokens is -1, it must be at least 1"),
        ({"loss": -1.0}, "loss is -1.0, it must be at least 0"),
    ],
)
def test_damaged_training_is_one_line_that_names_the_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    write_training(tmp_path, TRAINING)
    path = tmp_path / TRAINING_FILE
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message) as error:
        read_training(tmp_path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_hostile_training_is_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (tmp_path / TRAINING_FILE).write_text(f"recipe: !!python/object/apply:os.system ['touch {mark}']\n")
    with pytest.raises(ValueError, match="could not determine a constructor"):
        read_training(tmp_path)
    assert not mark.exists()

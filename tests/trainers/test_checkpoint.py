"""Checkpoints hold plain content, are whole or absent, and the error for a bad file names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.checksums import checksum_path
from depthweave.trainers.checkpoint import TrainingState
from depthweave.trainers.recipe import Recipe


@pytest.fixture
def state(architecture: Architecture, recipe: Recipe) -> TrainingState:
    return TrainingState.start(architecture, recipe=recipe, device="cpu")


def _write(values: dict[str, Any], path: Path) -> None:
    """A checkpoint of these values, without a checksum, as earlier versions wrote it."""
    torch.save(values, path)
    checksum_path(path).unlink(missing_ok=True)


def test_save_then_load_keeps_architecture_recipe_and_counts(state: TrainingState, tmp_path: Path) -> None:
    state.step, state.train_s, state.evaluation_s, state.num_losses = 5, 1.5, 0.25, 1
    state.loss_sum += 3.0
    state.save(tmp_path / "new" / "state.pt")
    again = TrainingState.load(tmp_path / "new" / "state.pt", device="cpu")
    assert again.architecture == state.architecture
    assert again.recipe == state.recipe
    assert (again.step, again.train_s, again.evaluation_s, again.num_losses) == (5, 1.5, 0.25, 1)
    assert again.loss_sum.item() == 3.0
    assert [group["weight_decay"] for group in again.optimizer.param_groups] == [0.1, 0.0, 0.0]


def test_state_of_an_earlier_version_says_how_its_weights_were_drawn(state: TrainingState, tmp_path: Path) -> None:
    state.save(tmp_path / "state.pt")
    values = torch.load(tmp_path / "state.pt", weights_only=True)
    assert values["recipe"].pop("initialisation") == "nested"
    _write(values, tmp_path / "state.pt")
    assert TrainingState.load(tmp_path / "state.pt", device="cpu").recipe.initialisation == "by_shape"


def test_save_holds_nothing_that_only_pickle_can_read(state: TrainingState, tmp_path: Path) -> None:
    state.save(tmp_path / "state.pt")
    assert isinstance(torch.load(tmp_path / "state.pt", weights_only=True), dict)


def test_save_that_fails_leaves_the_old_file_and_nothing_else(
    state: TrainingState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.save(tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()

    def fail(values: object, file: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        state.save(tmp_path / "state.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.pt", "state.pt.sha256"]
    assert (tmp_path / "state.pt").read_bytes() == before


def test_load_of_a_bad_file_names_it(state: TrainingState, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(ValueError, match=r"state\.pt does not exist"):
        TrainingState.load(path)
    state.save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^[^\n]*state\.pt: is damaged[^\n]*$"):
            TrainingState.load(path)
    checksum_path(path).unlink()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^checkpoint [^\n]*state\.pt is damaged[^\n]*$"):
            TrainingState.load(path)
    _write({"weights": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="was not written by depthweave"):
        TrainingState.load(path)
    _write({"format": 99}, path)
    with pytest.raises(ValueError, match="has format 99"):
        TrainingState.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("step", "../1"), ("architecture", {}), ("recipe", {"evil": 1}), ("model", {}), ("optimizer", 3)],
)
def test_load_of_a_checkpoint_with_other_values_is_one_line(
    state: TrainingState, name: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    state.save(path)
    values = torch.load(path, weights_only=True)
    _write({**values, name: value}, path)
    with pytest.raises(ValueError, match=r"^checkpoint .*|^architecture.*") as error:
        TrainingState.load(path)
    assert len(str(error.value).splitlines()) == 1
    _write({key: item for key, item in values.items() if key != name}, path)
    with pytest.raises(ValueError, match="train again"):
        TrainingState.load(path)

"""The trainings of the wide table: its parts, the choice of learning rates, and that nothing is trained twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import train_wide_table as wide
from benchmarks.cache import Cache
from depthweave.spaces import Architecture, costs_of
from depthweave.trainers import Recipe

Trainings = list[tuple[str, str, Recipe]]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Trainings that end at once, with the lowest loss at a rate of 0.032."""
    done: Trainings = []

    def train(architecture: Architecture, *, recipe: Recipe, part: str) -> dict[str, Any]:
        done.append((part, architecture.id, recipe))
        known = {"architecture_id": architecture.id, "seed": recipe.seed, "fusion": architecture.fusion}
        return {**known, "loss": [2.0, 1.0 + abs(recipe.learning_rate - 0.032)]}

    monkeypatch.setattr(wide, "_trained", train)
    monkeypatch.setattr(wide, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(wide, "Cache", lambda name: Cache(name, folder=tmp_path))
    return done


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def main(*options: str) -> None:
        monkeypatch.setattr("sys.argv", ["train_wide_table", *options])
        wide.main()

    return main


def test_every_model_of_every_part_has_twenty_tokens_a_parameter() -> None:
    for name, part in wide.PARTS.items():
        tokens = part.steps * wide.RECIPE.tokens_per_step
        for item in wide.space(name):
            embedding = item.architecture.vocabulary * item.architecture.width
            assert tokens >= 20 * (costs_of(item.architecture).parameters + embedding)


def test_small_part_has_all_fusions_and_the_others_are_among_its_patterns() -> None:
    patterns = {
        part: {(item.architecture.fusion, item.architecture.wiring) for item in wide.space(part)} for part in wide.PARTS
    }
    assert {fusion for fusion, _ in patterns["small"]} == set(wide.FUSIONS)
    assert len(wide.space("small")) >= 150
    assert patterns["english"] <= patterns["small"]
    assert len(patterns["large"] & patterns["small"]) >= len(wide.space("small")) / 4


def test_each_model_trains_once_a_seed_at_the_rate_of_its_family_and_width(
    trained: Trainings, run: Callable[..., None]
) -> None:
    run("--part", "large")
    of_part = [(key, recipe) for part, key, recipe in trained if part == "large"]
    assert len(of_part) == len({(key, recipe.seed) for key, recipe in of_part}) == 2 * len(wide.space("large"))
    widths = {item.architecture.id: item.architecture.width for item in wide.space("large")}
    for key, recipe in of_part:
        assert recipe.learning_rate == pytest.approx(0.032 * 32 / widths[key])
    # Three rates, then one above the highest as long as that is best.
    assert sorted({recipe.learning_rate for part, _, recipe in trained if part == "small"}) == pytest.approx(
        [0.004, 0.008, 0.016, 0.032, 0.064]
    )
    once = len(trained)
    run("--part", "large")
    assert len(trained) == once


def test_progress_names_the_lowest_difference_of_a_family(
    trained: Trainings, run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Cache("wide_table", folder=tmp_path)
    whole = wide.space("small")
    plain = whole.plain(depth=6).architecture.id
    for item in whole:
        if item.architecture.depth == 6 and str(item.rule) in ("None", "1x1", "1x4"):
            loss = {"none": 2.0, "dwa": 1.9 if str(item.rule) == "1x4" else 1.95}.get(item.architecture.fusion, 2.5)
            kept.keep({"part": "small", "architecture_id": item.architecture.id, "seed": 0, "loss": [3.0, loss]})
    assert plain in {run["architecture_id"] for run in kept.runs()}
    run("--part", "small", "--progress")
    assert not trained
    assert "| dwa | 6 | -0.1000 | 1x4 (1 seeds) |" in capsys.readouterr().out


def test_english_without_its_data_is_refused_before_anything_trains(
    trained: Trainings, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DEPTHWEAVE_DATA", raising=False)
    with pytest.raises(SystemExit):
        run()
    assert not trained
    assert "DEPTHWEAVE_DATA is not set" in capsys.readouterr().err

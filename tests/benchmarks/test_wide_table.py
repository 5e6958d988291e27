"""The wide table: its parts, the choice of learning rates, that nothing is trained twice, and the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks import latencies
from benchmarks.cache import Cache, Run
from benchmarks.connectivity_problems import EDITIONS
from benchmarks.latencies import read
from benchmarks.warm_start import CASES, with_source
from benchmarks.wide_table import __main__ as command
from benchmarks.wide_table import training
from benchmarks.wide_table.parts import FUSIONS, PARTS, RECIPE, SEEDS, space
from benchmarks.wide_table.table import SCHEMA, write
from depthweave.spaces import Architecture, costs_of
from depthweave.trainers import Measurement, Recipe
from tests.search.ledger_runs import make_measurement

Trainings = list[tuple[str, str, Recipe]]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Trainings that end at once, with the lowest loss at a rate of 0.032."""
    done: Trainings = []

    def train(architecture: Architecture, *, recipe: Recipe, part: str) -> dict[str, Any]:
        done.append((part, architecture.id, recipe))
        known = {"architecture_id": architecture.id, "seed": recipe.seed, "fusion": architecture.fusion}
        return {**known, "loss": [2.0, 1.0 + abs(recipe.learning_rate - 0.032)]}

    monkeypatch.setattr(training, "_trained", train)
    monkeypatch.setattr(training, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(command, "Cache", lambda name: Cache(name, folder=tmp_path))
    return done


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def main(*options: str) -> None:
        monkeypatch.setattr("sys.argv", ["wide_table", *options])
        command.main()

    return main


def test_every_model_of_every_part_has_twenty_tokens_a_parameter() -> None:
    for name, part in PARTS.items():
        tokens = part.steps * RECIPE.tokens_per_step
        for item in space(name):
            embedding = item.architecture.vocabulary * item.architecture.width
            assert tokens >= 20 * (costs_of(item.architecture).parameters + embedding)


def test_small_part_has_all_fusions_and_the_others_are_among_its_patterns() -> None:
    patterns = {part: {(item.architecture.fusion, item.architecture.wiring) for item in space(part)} for part in PARTS}
    assert {fusion for fusion, _ in patterns["small"]} == set(FUSIONS)
    assert len(space("small")) >= 150
    assert patterns["english"] <= patterns["small"]
    assert len(patterns["large"] & patterns["small"]) >= len(space("small")) / 4


def test_each_model_trains_once_a_seed_at_the_rate_of_its_family_and_width(
    trained: Trainings, run: Callable[..., None]
) -> None:
    run("train", "--part", "large")
    of_part = [(key, recipe) for part, key, recipe in trained if part == "large"]
    assert len(of_part) == len({(key, recipe.seed) for key, recipe in of_part}) == 2 * len(space("large"))
    widths = {item.architecture.id: item.architecture.width for item in space("large")}
    for key, recipe in of_part:
        assert recipe.learning_rate == pytest.approx(0.032 * 32 / widths[key])
    # Three rates, then one above the highest as long as that is best.
    assert sorted({recipe.learning_rate for part, _, recipe in trained if part == "small"}) == pytest.approx(
        [0.004, 0.008, 0.016, 0.032, 0.064]
    )
    once = len(trained)
    run("train", "--part", "large")
    assert len(trained) == once


def test_progress_names_the_lowest_difference_of_a_family(
    trained: Trainings, run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Cache("wide_table", folder=tmp_path)
    whole = space("small")
    plain = whole.plain(depth=6).architecture.id
    for item in whole:
        if item.architecture.depth == 6 and str(item.rule) in ("None", "1x1", "1x4"):
            loss = {"none": 2.0, "dwa": 1.9 if str(item.rule) == "1x4" else 1.95}.get(item.architecture.fusion, 2.5)
            kept.keep({"part": "small", "architecture_id": item.architecture.id, "seed": 0, "loss": [3.0, loss]})
    assert plain in {run["architecture_id"] for run in kept.runs()}
    run("progress", "--part", "small")
    assert not trained
    assert "| dwa | 6 | -0.1000 | 1x4 (1 seeds) |" in capsys.readouterr().out


def test_english_without_its_data_is_refused_before_anything_trains(
    trained: Trainings, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DEPTHWEAVE_DATA", raising=False)
    with pytest.raises(SystemExit):
        run("train")
    assert not trained
    assert "DEPTHWEAVE_DATA is not set" in capsys.readouterr().err


def _runs(part: str) -> list[Run]:
    """Trainings of a part, as the benchmark keeps them."""
    return [
        {
            "part": part,
            "architecture_id": item.architecture.id,
            "seed": seed,
            "budget": item.budget,
            **{name: getattr(item.architecture, name) for name in ("fusion", "depth", "width", "feed_forward")},
            **costs_of(item.architecture)._asdict(),
            "learning_rate": 0.01,
            "tokens": [10, 20],
            "loss": [2.0, 1.0 + seed],
            "train_loss": [2.0, 1.0],
            "train_s": 1.0,
            **dict.fromkeys(("corpus", "corpus_sha256", "torch", "hardware"), "made up"),
        }
        for item in space(part)
        for seed in SEEDS
    ]


def test_written_file_explains_itself_and_has_every_training_of_its_parts(
    run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def measured(architectures: list[Architecture], **settings: Any) -> list[Measurement]:
        asked.append(len(architectures))
        assert settings["reference"] == space("english").plain().architecture
        return [make_measurement(latency=2.0) for _ in architectures]

    monkeypatch.setattr(latencies, "measure_in_turn", measured)
    monkeypatch.setattr(command, "LATENCIES", tmp_path / "latencies.jsonl")
    run("measure", "--part", "english", "--only", "5")
    with pytest.raises(SystemExit, match=rf"english: {len(space('english')) - 5} latencies are missing"):
        write(_runs("english"), costs=read(tmp_path / "latencies.jsonl"), parts=("english",), to=tmp_path / "t.parquet")
    run("measure", "--part", "english")
    assert sum(asked) == len(space("english"))

    costs = read(tmp_path / "latencies.jsonl")
    with pytest.raises(SystemExit, match="english: 1 trainings are missing"):
        write(_runs("english")[1:], costs=costs, parts=("english",), to=tmp_path / "t.parquet")
    write(_runs("english"), costs=costs, parts=("english",), to=tmp_path / "t.parquet")
    found = pq.read_table(tmp_path / "t.parquet")
    assert found.schema.equals(SCHEMA, check_metadata=False)
    assert all(field.metadata[b"meaning"] for field in found.schema)
    assert {(row["architecture_id"], row["seed"]) for row in found.to_pylist()} == {
        (item.architecture.id, seed) for item in space("english") for seed in SEEDS
    }
    for row in found.to_pylist():
        architecture = space("english")[row["architecture_id"]].architecture
        assert [(site["block"], tuple(site["sources"])) for site in row["sites"]] == list(architecture.wiring)
        assert (row["latency"], row["loss"][-1]) == (2.0, 1.0 + row["seed"])


def test_warm_start_pairs_rows_of_two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wide.parquet"
    costs = {
        item.architecture.id: {
            **dataclasses.asdict(make_measurement(latency=2.0)),
            "hardware": "made up",
            "torch": "made up",
        }
        for part in PARTS
        for item in space(part)
    }
    write([run for part in PARTS for run in _runs(part)], costs=costs, to=path)
    for name in PARTS:
        monkeypatch.setitem(EDITIONS, name, dataclasses.replace(EDITIONS[name], path=path))
    sizes = {
        name: {(len(target.curves.ids), len(source.curves.ids)) for target, source in CASES[name].problems()}
        for name in ("wide larger", "wide deeper", "other text")
    }
    small, deep = len(space("small")), sum(item.architecture.depth == 12 for item in space("small"))
    assert sizes == {
        "wide larger": {(len(space("large")), small)},
        "wide deeper": {(deep, small - deep)},
        "other text": {(len(space("english")), small)},
    }
    target, source = next(CASES["other text"].problems())
    losses = CASES["other text"].losses(source)
    assert (target.steps, target.tokens) == (RECIPE.steps, 10)
    architectures = CASES["other text"].target.architectures(target.curves.ids)
    assert set(architectures) < set(losses.architectures)
    assert with_source(target, architectures=architectures, source=losses).problem.candidates.source_logs_NK is not None

"""The replay of pruners: what it reads, what it refuses, and a planted front that the chooser keeps for little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.pruning_replay import CONTENDERS, NUM_EPOCHS, PLACE, main, read_curves, run

_NUM = 60


@pytest.fixture(name="table")
def _table(tmp_path: Path) -> Path:
    """Sixty curves. Those with even numbers are a fifth of a nat worse than others of their cost."""
    generator = np.random.default_rng(0)
    epochs = np.arange(1, NUM_EPOCHS + 1)
    rows = []
    for number in range(_NUM):
        end = 5.0 - 0.01 * number + (0.2 + 0.3 * generator.random()) * (number % 2 == 0)
        losses = end + generator.uniform(0.8, 1.2) * (epochs**-0.5 - NUM_EPOCHS**-0.5)
        rows.append(
            {"recipe_id": number, "status": "OK", "val_loss": losses, "wall_time_s": np.full(50, 10.0 + number)}
        )
    rows.append({**rows[0], "recipe_id": 97, "status": "EXP"})
    rows.append({**rows[0], "recipe_id": 98, "val_loss": rows[0]["val_loss"][:20]})
    rows.append({**rows[0], "recipe_id": 99, "val_loss": np.full(NUM_EPOCHS, np.nan)})
    path = tmp_path / "curves.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_usable_graphs_are_whole_finite_and_ok(table: Path) -> None:
    curves = read_curves(table)
    assert curves.ids == tuple(str(number) for number in range(_NUM))
    assert curves.costs_NC[:3, 0].tolist() == [10.0, 11.0, 12.0]


@pytest.mark.parametrize("workers", [1, 4])
def test_planted_front_is_kept_for_less_than_all(table: Path, workers: int) -> None:
    curves = read_curves(table)
    # Thirty of the sixty are the front itself, and the cheapest of all is never hopeless.
    found = run(curves, CONTENDERS["pareto"], seed=0, workers=workers)
    assert found.kept > 0.95
    assert found.hypervolume > 0.999
    assert found.compute < 0.65
    assert found.audit > 0.0
    assert found == run(curves, CONTENDERS["pareto"], seed=0, workers=workers)


def test_without_pruner_all_is_spent_and_all_is_kept(table: Path) -> None:
    assert run(read_curves(table), CONTENDERS["none"], seed=0, workers=4) == (1.0, 0.0, 1.0, 1.0, 1.0)


def test_prints_a_row_each_and_one_json_line(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--table", str(table), "--orders", "2", "--workers", "1", "--only", "mo-asha, eta 3", "asha, eta 3"]
    monkeypatch.setattr("sys.argv", ["pruning_replay", *arguments])
    main()
    *_, first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("| mo-asha, eta 3 | 1 |")
    assert second.startswith("| asha, eta 3 | 1 |")
    assert set(json.loads(last)["mean"]) == {"mo-asha, eta 3, 1 workers", "asha, eta 3, 1 workers"}


def test_absent_curves_are_said_plainly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(PLACE, raising=False)
    monkeypatch.setattr("sys.argv", ["pruning_replay"])
    with pytest.raises(SystemExit):
        main()
    assert "the curves are not there (None): give the Parquet file by --table or DEPTHWEAVE_CURVES" in (
        " ".join(capsys.readouterr().err.split())
    )

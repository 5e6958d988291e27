"""The trainings that chose learning rates: which rate wins, and that the file is read back or refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.store.learning_rates import (
    LEARNING_RATES_FILE,
    RateTraining,
    RateTrainings,
    read_rate_trainings,
    write_rate_trainings,
)
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import add_checksum
from tests.reports.synthetic import make_info


def trainings_of(losses: dict[tuple[str, int], dict[float, float | None]], *, run_id: str = "run") -> RateTrainings:
    """Returns trainings with these losses by family, depth and rate."""
    return RateTrainings(
        run_id=run_id,
        steps=50,
        tokens=1000,
        seed=7,
        trainings=tuple(
            RateTraining(
                family=family,
                depth=depth,
                architecture_id=f"{family}-{depth}",
                width=48,
                learning_rate=rate,
                loss=loss,
                reason=None if loss is not None else "the loss was not finite at step 3",
            )
            for (family, depth), own in losses.items()
            for rate, loss in own.items()
        ),
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path / "run", info=make_info(run_id="run"), spec_yaml="{}")


def test_lowest_loss_chooses_and_of_equal_losses_the_lower_rate() -> None:
    found = trainings_of(
        {
            ("dwa", 4): {2e-3: 2.0, 4e-3: 1.9, 8e-3: 2.1},
            ("dwa", 6): {2e-3: 2.0, 4e-3: None, 8e-3: 1.5},
            ("none", 4): {8e-3: 1.5, 4e-3: 1.5, 2e-3: 1.6},
            ("none", 6): {2e-3: None, 4e-3: None},
        }
    )
    assert found.chosen() == {("dwa", 4): 4e-3, ("dwa", 6): 8e-3, ("none", 4): 4e-3, ("none", 6): 2e-3}
    assert found.at_an_end() == {("dwa", 6): "highest"}
    assert found.without_loss() == [("none", 6)]


def test_file_is_read_back_equal_and_absent_without_one(store: RunStore) -> None:
    assert read_rate_trainings(store) is None
    found = trainings_of({("dwa", 4): {2e-3: 2.0, 4e-3: None}})
    write_rate_trainings(store, found)
    assert read_rate_trainings(store) == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run_id": "other"}, "belongs to run other"),
        ({"steps": -1}, "-1 is not a whole number"),
        ({"seed": True}, "True is not a whole number"),
        ({"trainings": 3}, "cannot be read"),
        ({"trainings": [{"family": "dwa"}]}, "cannot be read"),
    ],
)
def test_file_of_another_run_or_with_impossible_values_is_refused(
    store: RunStore, change: dict[str, Any], said: str
) -> None:
    values = {**dataclasses.asdict(trainings_of({("dwa", 4): {2e-3: 2.0}})), **change}
    store.write_bytes(LEARNING_RATES_FILE, json.dumps(add_checksum(values)).encode())
    with pytest.raises(ValueError, match=said) as caught:
        read_rate_trainings(store)
    assert "restore" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0}, {"width": 0}, {"learning_rate": "x"}, {"loss": "low"}, {"depth": 2.5}, {"reason": 1}],
)
def test_training_with_an_impossible_value_is_refused(store: RunStore, change: dict[str, Any]) -> None:
    values = json.loads(json.dumps(dataclasses.asdict(trainings_of({("dwa", 4): {2e-3: 2.0}}))))
    values["trainings"][0] |= change
    store.write_bytes(LEARNING_RATES_FILE, json.dumps(add_checksum(values)).encode())
    with pytest.raises(ValueError, match="cannot be read"):
        read_rate_trainings(store)


def test_flipped_bit_is_noticed(store: RunStore) -> None:
    write_rate_trainings(store, trainings_of({("dwa", 4): {2e-3: 2.0}}))
    text = store.read_bytes(LEARNING_RATES_FILE).replace(b"0.002", b"0.006")
    store.write_bytes(LEARNING_RATES_FILE, text)
    with pytest.raises(ValueError, match=r"cannot be read \(it is damaged"):
        read_rate_trainings(store)

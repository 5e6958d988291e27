"""What is left in Tune of a trial that ended."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.experiment import Trial

from depthweave.search.tune.loop import free_trial_memory


def ended(config: dict[str, Any], *, num_results: int) -> Trial:
    """A trial that reported so often."""
    trial = Trial(
        "trial", trial_id="a", config=config, evaluated_params=dict(config), experiment_tag=str(config), stub=True
    )
    for number in range(num_results):
        trial.update_last_result({"loss": 1.0 / (1 + number), "config": config, "training_iteration": number})
    return trial


@pytest.mark.parametrize("num_results", [1, 30])
def test_what_is_left_of_an_ended_trial_does_not_depend_on_its_architecture(num_results: int) -> None:
    large = {"trial": 1, "architecture": {"sites": [[block, list(range(block))] for block in range(1, 48)]}}
    trials = [ended({"trial": 1}, num_results=1), ended(large, num_results=num_results)]
    for trial in trials:
        free_trial_memory(trial)
    small_json, large_json = ([len(text) for text in trial.get_json_state()] for trial in trials)
    assert large_json[0] == small_json[0]
    # Times, and how many reports there were.
    assert large_json[1] <= small_json[1] + 100
    assert trials[1].last_result["done"], "Tune would ask the worker for a first report"

"""The learning rate of each fusion and depth: what trains, what is kept, and that trials then have their rate."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.store.learning_rates import (
    LEARNING_RATES_FILE,
    RateGroup,
    read_rate_trainings,
    write_rate_trainings,
)
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import run_confirmation, run_search
from depthweave.search.learning_rates import (
    ONE_RATE,
    LearningRates,
    chosen_rates,
    rate_of_width,
    representatives,
    short_recipe,
)
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.rate_trainings import CHECKPOINTS, RateLedger
from depthweave.search.spec.loading import make_spec
from depthweave.search.training_length import training_sentences
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.trainers import Recipe
from tests.search.ledger_runs import make_report
from tests.search.search_runs import RecordingProgress, prepared_search, resume, search
from tests.search.warm_runs import add_records, evaluation_of, opened

_RATES = "recipe.learning_rate=[2e-3, 8e-3]"
_GROUPS = [RateGroup(family, depth) for family in ("dwa", "none") for depth in (2, 4, 6)]


@pytest.fixture
def prepared(small_spec: dict[str, Any]) -> PreparedSearch:
    return prepared_search(small_spec, _RATES, "space.budgets=[20000, 40000]", "recipe.steps=30")


def _ended(ledger: RateLedger, prepared: PreparedSearch, *, name: str, loss: float | None) -> LiveTrial:
    """Runs the ledger's next training to this loss; it crashes without one."""
    live = ledger.next(name)
    assert live is not None
    recipe = short_recipe(prepared.spec)
    if loss is None:
        ledger.fail(name, "OSError: the device is gone")
    else:
        reports = (evaluation_of(recipe, index, loss=loss) for index in range(recipe.num_evaluations))
        ledger.report(name, make_report(*reports))
    ledger.finish(name, crashed=loss is None)
    return live


def test_densest_architecture_of_the_smallest_budget_trains_for_its_family_and_depth(prepared: PreparedSearch) -> None:
    found = representatives(prepared.space)
    assert list(found) == _GROUPS
    for (family, depth), candidate in found.items():
        peers = [
            item
            for item in prepared.space
            if (item.architecture.fusion, item.architecture.depth, item.budget) == (family, depth, 20_000)
        ]
        assert candidate in peers
        most = max(num_skip_connections(item.architecture.wiring) for item in peers)
        assert num_skip_connections(candidate.architecture.wiring) == most


def test_training_is_a_third_as_long_with_a_seed_that_no_trial_has(prepared: PreparedSearch) -> None:
    short, spec = short_recipe(prepared.spec), prepared.spec
    assert (short.steps, short.num_evaluations) == (10, 2)
    assert short.seed not in range(spec.seed, spec.seed + 1000)
    assert dataclasses.replace(short, steps=30, num_evaluations=3, seed=0) == dataclasses.replace(
        spec.recipe, num_evaluations=3
    )
    last = make_spec({"seed": 2**32 - 1, "recipe": {"steps": 2, "num_evaluations": 1}})
    assert (short_recipe(last).steps, short_recipe(last).seed) == (1, 2**31 - 1)


def test_cost_is_said_before(prepared: PreparedSearch) -> None:
    line = training_sentences(prepared.space, spec=prepared.spec)[-1]
    assert line.startswith(
        "learning rates: 2 to choose from for each of 6 pairs of fusion family and depth, by 12 trainings of 10 steps"
    )
    trials = min(prepared.spec.search.trials, len(prepared.space))
    assert f"({12 * 10 / (30 * trials):.0%} of the tokens of all trials" in line


def test_rate_is_that_of_family_and_depth_at_its_width_others_keep_the_recipes_own(
    prepared: PreparedSearch,
) -> None:
    recipe = Recipe(learning_rate=4e-3)
    group = RateGroup("dwa", 2)
    width = representatives(prepared.space)[group].architecture.width
    rates = LearningRates(by_group={group: 8e-3}, widths={group: width})
    widths = set()
    for candidate in prepared.space:
        own = candidate.architecture
        wanted = 4e-3
        if (own.fusion, own.depth) == group:
            wanted = float(f"{8e-3 * width / own.width:.3g}")
            widths.add(own.width)
        assert rates.recipe(recipe, own) == dataclasses.replace(recipe, learning_rate=wanted)
        assert ONE_RATE.recipe(recipe, own) is recipe
    assert min(widths) == width < max(widths)


def test_auto_falls_with_the_width_up_to_a_bound(small_spec: dict[str, Any], tmp_path: Path) -> None:
    assert [rate_of_width(width) for width in (16, 40, 48, 96, 768)] == [0.01, 0.01, 0.00833, 0.00417, 0.000521]
    prepared = prepared_search(small_spec, "recipe.learning_rate=auto", "space.budgets=[20000, 2000000]")
    recipe, widths = prepared.spec.recipe, {item.architecture.width for item in prepared.space}
    assert len(widths) > 2
    with opened(prepared, create_run(prepared, out=tmp_path / "run")) as run:
        for candidate in prepared.space:
            own = run.rates.recipe(recipe, candidate.architecture)
            assert own == dataclasses.replace(recipe, learning_rate=rate_of_width(candidate.architecture.width))
    line = training_sentences(prepared.space, spec=prepared.spec)[-1]
    assert line.startswith(f"learning rate: 0.01 at width {min(widths)}, ")


def test_every_training_is_kept_as_soon_as_it_ends_and_none_is_repeated(
    prepared: PreparedSearch, tmp_path: Path
) -> None:
    store = create_run(prepared, out=tmp_path / "run")
    with opened(prepared, store) as run:
        ledger = RateLedger(run, workers=2)
        first = _ended(ledger, prepared, name="a", loss=2.5)
        _ended(ledger, prepared, name="b", loss=2.25)
        kept = read_rate_trainings(store)
        assert kept is not None
        assert [(item.group, item.learning_rate, item.loss) for item in kept.trainings] == [
            (_GROUPS[0], 2e-3, 2.5),
            (_GROUPS[0], 8e-3, 2.25),
        ]
        assert chosen_rates(store, spec=prepared.spec).by_group == {_GROUPS[0]: 8e-3}
        again = RateLedger(run, workers=2)
        following = again.next("c")
        assert following is not None
        assert (following.number, first.number) == (2, 0), "numbers name the folders of checkpoints"
        assert again.next("d") is not None
        assert again.next("e") is None, "two workers"


def test_crash_is_tried_again_and_then_kept_with_its_reason(small_spec: dict[str, Any], tmp_path: Path) -> None:
    prepared = prepared_search(small_spec, _RATES, "recipe.steps=30", "search.retries=1")
    store = create_run(prepared, out=tmp_path / "run")
    with opened(prepared, store) as run:
        ledger = RateLedger(run, workers=1)
        numbers = [_ended(ledger, prepared, name=f"{place}", loss=None).number for place in range(4)]
        assert numbers == [0, 0, 1, 1]
        assert [item.reason for item in ledger.found.trainings] == ["OSError: the device is gone"] * 2
        assert ledger.found.chosen() == {_GROUPS[0]: 2e-3}, "the lowest, the safest"
        assert not ledger.ended


def test_rates_that_are_gone_are_not_chosen_again(prepared: PreparedSearch, tmp_path: Path) -> None:
    store = create_run(prepared, out=tmp_path / "run")
    add_records(store, prepared, losses=[2.0])
    with pytest.raises(ValueError, match=rf"{LEARNING_RATES_FILE}: is missing, and the trials have its rates"):
        chosen_rates(store, spec=prepared.spec)


class _Interrupting(RecordingProgress):
    """Ctrl-C when the third training of a rate has ended."""

    def on_phase(self, text: str) -> None:
        if text.startswith("choosing learning rates: 3 of"):
            signal.raise_signal(signal.SIGINT)


def _rate_of(record: Record) -> float:
    return float(json.loads(record.recipe)["learning_rate"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_search_chooses_rates_once_and_trains_confirms_and_takes_over_with_them(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    values = {**small_spec, "objectives": ["perplexity", "parameters"]}
    prepared = prepared_search(values, _RATES, "search.trials=5", "recipe.steps=30", "resources.max_concurrent=1")
    store = create_run(prepared, out=tmp_path / "run")
    first = run_search(prepared, store, address=ray_address, progress=_Interrupting())
    assert (first.ending, first.records) == ("interrupted", [])
    kept = read_rate_trainings(store)
    assert kept is not None
    assert len(kept.trainings) == 3

    second = resume(prepared, out=tmp_path / "run", address=ray_address)
    assert (second.ending, len(second.records)) == ("done", 5)
    found = read_rate_trainings(store)
    assert found is not None
    assert found.trainings[:3] == kept.trainings
    assert len(found.trainings) == 12
    assert not (tmp_path / "run" / CHECKPOINTS).exists()
    chosen = found.chosen()
    assert set(chosen) == set(_GROUPS)
    assert len(set(chosen.values())) == 1, "so short a training wants the highest; the other one is tested below"
    assert {_rate_of(item) for item in second.records} == set(chosen.values())

    # Another choice, as if the plain model had been better with the lower rate: further trainings follow the file.
    lower = [
        dataclasses.replace(item, loss=0.1) if (item.family, item.learning_rate) == ("none", 2e-3) else item
        for item in found.trainings
    ]
    write_rate_trainings(store, dataclasses.replace(found, trainings=tuple(lower)))
    confirmed = run_confirmation(
        prepared, RunStore.open(tmp_path / "run"), num_seeds=2, address=ray_address, progress=RecordingProgress()
    )
    further = confirming(confirmed.records)
    assert {(item.fusion, _rate_of(item)) for item in further} == {("none", 2e-3), ("dwa", 8e-3)}
    assert {item.state for item in further} == {"complete"}

    # A search with the same list takes over what it would train alike.
    other = prepared_search(
        values, _RATES, "search.trials=2", "recipe.steps=30", f"search.warm_start=['{tmp_path}/run']"
    )
    taken = search(other, out=tmp_path / "other", address=ray_address)
    assert sum(item.taken_from is not None for item in taken.records) == 5

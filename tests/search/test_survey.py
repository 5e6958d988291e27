"""The survey: how much of the space it measures, where it is kept, and that trials take it over."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayError

from depthweave.reports.store.run_store import RunStore
from depthweave.search.isolated_measurement import PortionResult, kinds_of
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.samplers import of_space
from depthweave.search.surrogate.cost_model import cost_error, predicted_cost
from depthweave.search.survey import (
    SURVEY_FILE,
    measuring_limit_s,
    needs_survey,
    read_survey,
    survey_size,
    surveyed_ids,
    take_survey,
)
from depthweave.spaces.checksums import add_checksum
from tests.search.ledger_runs import make_measurement
from tests.search.search_runs import RecordingProgress, prepared_search, search

_LARGER = ("space.depths=[2, 3, 4, 5, 6]", "space.dilations=[1, 2, 3]")
_LONG = ("recipe.steps=175", "recipe.num_evaluations=3")
_SURVEYED = 12
"""14 architectures of so many steps are 2,450 steps; a twentieth of them are 12 measurements of 10."""


class Gauge:
    """Measures nothing: the latency of an architecture is 1 and its place in the space in hundredths."""

    def __init__(self, *, fails_after: int = 1000) -> None:
        self.asked: list[list[list[str]]] = []
        self.limits_s: list[float] = []
        self._fails_after = fails_after

    def __call__(
        self,
        prepared: PreparedSearch,
        store: RunStore,
        portions: Sequence[Sequence[str]],
        *,
        time_limit_s: float,
        kinds: Sequence[str],
    ) -> list[PortionResult]:
        if len(self.asked) == self._fails_after:
            raise RayError("the node is gone\nand much more")
        self.asked.append([list(item) for item in portions])
        self.limits_s.append(time_limit_s)
        return [
            PortionResult("an abacus", [make_measurement(latency=latency_of(prepared, item)) for item in portion])
            for portion in portions
        ]


def latency_of(prepared: PreparedSearch, architecture_id: str) -> float:
    return 1.0 + [item.architecture.id for item in prepared.space].index(architecture_id) / 100


@pytest.fixture
def prepared(small_spec: dict[str, Any]) -> PreparedSearch:
    return prepared_search(small_spec, *_LONG)


@pytest.fixture
def store(prepared: PreparedSearch, tmp_path: Path) -> RunStore:
    return create_run(prepared, out=tmp_path / "run")


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    made = Gauge()
    monkeypatch.setattr("depthweave.search.survey.measure_in_parallel", made)
    return made


def taken(prepared: PreparedSearch, store: RunStore, *, workers: int = 1) -> dict[str, float]:
    survey = take_survey(prepared, store, workers=workers, progress=RecordingProgress())
    assert survey == read_survey(store)
    return {key: item.latency for key, item in survey.measurements.items()}


def plain_ids(prepared: PreparedSearch) -> set[str]:
    return {item.architecture.id for item in prepared.space if item.architecture.fusion == "none"}


def test_few_are_measured_once_and_the_reference_first(prepared: PreparedSearch, store: RunStore, gauge: Gauge) -> None:
    found = taken(prepared, store)
    assert found == {item: latency_of(prepared, item) for item in found}
    assert list(found) == surveyed_ids(prepared)
    assert len(found) == _SURVEYED < len(prepared.space)
    assert gauge.asked[0] == [[prepared.reference.architecture.id]]
    # One worker: eight in turn, then the rest.
    assert [len(portion) for portions in gauge.asked for portion in portions] == [1, 8, 3]
    # The spec's limit is less than five of the reference's steps.
    assert gauge.limits_s == [0.05] * 3
    assert taken(prepared, store) == found
    assert len(gauge.asked) == 3, "the second time there was nothing left"


def test_all_workers_measure_at_once(prepared: PreparedSearch, store: RunStore, gauge: Gauge) -> None:
    expected = taken(prepared, store, workers=4)
    assert [[len(portion) for portion in portions] for portions in gauge.asked] == [[1], [3, 3, 3, 2]]
    assert list(expected) == surveyed_ids(prepared), "how many measure does not change what is measured"


def test_surveyed_architectures_lie_far_apart_and_some_are_plain(prepared: PreparedSearch) -> None:
    chosen = surveyed_ids(prepared)
    assert chosen[0] == prepared.reference.architecture.id
    assert 1 <= len(plain_ids(prepared) & set(chosen)) <= _SURVEYED // 3 + 1
    fusions = {item.architecture.fusion for item in prepared.space}
    assert {prepared.space[item].architecture.fusion for item in chosen} == fusions


def test_interrupted_survey_continues_where_it_was(
    prepared: PreparedSearch, store: RunStore, monkeypatch: pytest.MonkeyPatch, gauge: Gauge
) -> None:
    broken = Gauge(fails_after=2)
    monkeypatch.setattr("depthweave.search.survey.measure_in_parallel", broken)
    heard: list[str] = []
    listening = RecordingProgress()
    monkeypatch.setattr(listening, "on_phase", heard.append)
    assert len(take_survey(prepared, store, workers=1, progress=listening).measurements) == 9
    assert heard[0] == f"measuring {_SURVEYED} architectures before training"
    assert heard[1] == "measuring before training ended early (the node is gone): trials measure themselves"
    monkeypatch.setattr("depthweave.search.survey.measure_in_parallel", gauge)
    assert list(taken(prepared, store)) == surveyed_ids(prepared)
    again = {item for portions in gauge.asked for portion in portions for item in portion}
    assert not again & {item for portions in broken.asked for portion in portions for item in portion}


def test_survey_of_a_run_that_measured_the_whole_space_is_taken_as_it_is(
    prepared: PreparedSearch, store: RunStore, gauge: Gauge
) -> None:
    ids = [item.architecture.id for item in prepared.space]
    measured = {item: dataclasses.asdict(make_measurement(latency=latency_of(prepared, item))) for item in ids}
    earlier = json.dumps({"hardware": "an abacus", "measurements": measured})
    store.write_bytes(SURVEY_FILE, earlier.encode())
    assert taken(prepared, store) == {item: latency_of(prepared, item) for item in ids}
    assert gauge.asked == []


def test_survey_takes_a_twentieth_of_the_trainings() -> None:
    # 14 trainings of 6 steps are 84 steps: a twentieth of them, at 10 a measurement, is none.
    assert survey_size(14, trials=20, steps=6) == 0
    # 14 x 114 steps are 1,596: 7 measurements, which tell too little. 14 x 115 are 8.
    assert survey_size(14, trials=14, steps=114) == 0
    assert survey_size(14, trials=14, steps=115) == 8
    assert survey_size(14, trials=13, steps=115) == 0
    assert survey_size(14, trials=24, steps=100_000) == 14, "there are no more"
    assert survey_size(10_000, trials=24, steps=200) == 24, "the trials count, not the space"


def test_trial_is_timed_no_longer_than_the_survey_timed(
    prepared: PreparedSearch, store: RunStore, gauge: Gauge
) -> None:
    patient = dataclasses.replace(
        prepared,
        spec=prepared.spec.model_copy(
            update={"resources": prepared.spec.resources.model_copy(update={"measure_limit_s": 60.0})}
        ),
    )
    assert measuring_limit_s(patient, read_survey(store)) == 60.0
    take_survey(patient, store, workers=1, progress=RecordingProgress())
    # Half of ten steps of the reference, 0.06 s times its relative latency.
    expected = 0.3 * latency_of(patient, patient.reference.architecture.id)
    assert measuring_limit_s(patient, read_survey(store)) == pytest.approx(expected)


def test_costs_of_a_whole_space_follow_from_a_dozen(
    small_spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random choice would need several times as many: the extremes of a fusion show its prices."""
    monkeypatch.setattr("depthweave.search.survey.survey_size", lambda *args, **kwargs: 12)
    prepared = prepared_search(small_spec, *_LONG, *_LARGER, "space.fusions=[none, dwa, dwatt, concat]")
    parameters = Parameters(prepared.space)
    candidates = of_space(parameters, objectives=("perplexity", "latency"))
    # What a machine does: so much an operation, a block, a connection of each fusion.
    prices_H = np.random.default_rng(0).uniform(0.5, 2.0, size=candidates.cost_features_NH.shape[1])
    latency_N = candidates.cost_features_NH / candidates.cost_features_NH.mean(axis=0) @ prices_H
    rows = [parameters.architecture_ids.index(item) for item in surveyed_ids(prepared)]
    known_N = np.full(len(latency_N), np.nan)
    known_N[rows] = latency_N[rows]
    error_N = np.abs(np.exp(predicted_cost(candidates, known_N).mean_N) / latency_N - 1.0)
    assert np.median(error_N) < 0.03
    assert error_N.max() < 0.15


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], True),
        (["objectives=[perplexity, memory_bytes]"], True),
        (["objectives=[perplexity, parameters, forward_flops]"], False),
        (["search.sampler=tpe"], False),
    ],
)
def test_only_a_sampler_that_weighs_measured_costs_measures_first(
    small_spec: dict[str, Any], overrides: list[str], expected: bool
) -> None:
    assert needs_survey(prepared_search(small_spec, *overrides)) == expected


@pytest.mark.parametrize(
    ("objectives", "step", "expected"),
    [
        (("perplexity", "latency"), False, ("forward",)),
        (("perplexity", "latency"), True, ("forward", "step")),
        (("perplexity", "step_latency"), False, ("forward", "step")),
        (("perplexity", "decode_latency"), False, ("forward", "decode")),
    ],
)
def test_what_is_timed_follows_from_the_objectives(
    objectives: tuple[str, ...], step: bool, expected: tuple[str, ...]
) -> None:
    assert kinds_of(objectives, step=step) == expected


def test_candidates_have_the_measured_costs_and_no_others(
    prepared: PreparedSearch, store: RunStore, gauge: Gauge
) -> None:
    survey = take_survey(prepared, store, workers=1, progress=RecordingProgress())
    one = next(iter(survey.measurements))
    objectives = ("perplexity", "latency", "parameters", "memory_bytes")
    candidates = of_space(Parameters(prepared.space), objectives=objectives, measured={one: survey.measurements[one]})
    row = Parameters(prepared.space).architecture_ids.index(one)
    assert candidates.costs_NC[row].tolist()[::2] == [latency_of(prepared, one), 1000]
    assert np.isnan(candidates.costs_NC[:, [0, 2]]).all(axis=1).sum() == len(prepared.space) - 1
    assert np.isfinite(candidates.costs_NC[:, 1]).all()


def test_survey_of_a_part_says_how_well_the_rest_is_predicted(
    small_spec: dict[str, Any], tmp_path: Path, gauge: Gauge, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_search(small_spec, *_LARGER, "recipe.steps=100", "objectives=[perplexity, latency]")
    heard: list[str] = []
    listening = RecordingProgress()
    monkeypatch.setattr(listening, "on_phase", heard.append)
    take_survey(prepared, create_run(prepared, out=tmp_path / "run"), workers=1, progress=listening)
    assert re.fullmatch(
        r"latency of the others is predicted with a median error of \d+\.\d% \(measured ones held out\)", heard[-1]
    )


def test_error_of_predicted_costs_is_that_of_held_out_ones(prepared: PreparedSearch) -> None:
    space = of_space(Parameters(prepared.space), objectives=("perplexity", "forward_flops"))
    # A cost that is a power of a hint is predicted, one by chance is not.
    chance = np.exp(np.random.default_rng(0).normal(size=(len(prepared.space), 1)))
    known = cost_error(space, 0)
    assert known is not None
    assert known < 0.02
    by_chance = cost_error(dataclasses.replace(space, costs_NC=chance), 0)
    assert by_chance is not None
    assert by_chance > 0.2
    few = np.full((len(prepared.space), 1), np.nan)
    few[:5] = 1.0
    assert cost_error(dataclasses.replace(space, costs_NC=few), 0) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"hardware": "x", "measurements": {"a": {"latency": 1}}}'])
def test_damaged_survey_is_one_line(prepared: PreparedSearch, store: RunStore, text: str) -> None:
    store.write_bytes(SURVEY_FILE, text.encode())
    with pytest.raises(ValueError, match=r"survey\.json: cannot be read \(.*\); delete it") as caught:
        read_survey(store)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_search_measures_first_and_its_trials_take_the_costs_over(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_search(small_spec, *_LARGER, "search.trials=4", "objectives=[perplexity, memory_bytes]")
    monkeypatch.setattr("depthweave.search.survey.survey_size", lambda *args, **kwargs: 9)
    records = search(prepared, out=tmp_path / "run", address=ray_address).records
    values = json.loads((tmp_path / "run" / SURVEY_FILE).read_text())["measurements"]
    assert len(values) == 9
    known = [item for item in records if item.architecture_id in values]
    assert known, "plain architectures come first, in the survey and in the search"
    for record in known:
        assert record.latency == values[record.architecture_id]["latency"]
        assert record.memory_bytes == values[record.architecture_id]["memory_bytes"]
        assert record.measure_s == 0.0
    for record in records:
        if record.architecture_id not in values:
            assert record.measure_s > 0.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1.0", "latency is -1.0, it must be at least 0"),
        ("1e999", "Infinity is not finite"),
        ("NaN", "NaN is not finite"),
    ],
)
def test_survey_with_an_impossible_cost_is_refused_in_one_line(
    value: str, message: str, prepared: PreparedSearch, store: RunStore, gauge: Gauge
) -> None:
    taken(prepared, store)
    text = store.read_bytes("survey.json").decode()
    start = text.index('"latency": ') + len('"latency": ')
    text = text[:start] + value + text[text.index(",", start) :]
    # A malicious edit has a valid checksum.
    store.write_bytes("survey.json", json.dumps(add_checksum(json.loads(text))).encode())
    with pytest.raises(ValueError, match=rf"survey\.json: cannot be read \(.*{message}.*\); delete it") as caught:
        read_survey(store)
    assert len(str(caught.value).splitlines()) == 1

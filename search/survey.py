"""Speed and memory of some architectures, measured before anything trains; those of the others are predicted.

A cost takes a second to measure and a loss minutes to train, so a sampler that weighs the two need not guess the costs.
But seconds add up: the survey takes a twentieth of the trainings' time at most. It measures architectures that lie far
apart first. From a dozen of them the costs of the others are predicted within 3 % (`surrogate/cost_model.py`).

All workers measure at once, a few architectures each, in turn with the reference. Trials take over the survey's
measurements, and measure the other architectures before they train. The number of measurements does not depend on the
clock: the same spec has the same costs before training.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter
from ray.exceptions import RayError

from depthweave.reports.formatting import plural
from depthweave.reports.store.bounds import json_value
from depthweave.reports.store.columns import check_numbers
from depthweave.reports.store.objectives import OBJECTIVES, cost_names
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.failures.causes import reason_of
from depthweave.search.isolated_measurement import PortionResult, kinds_of, measure_in_parallel
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch
from depthweave.search.samplers import SAMPLERS, of_space
from depthweave.search.surrogate.cost_model import cost_error
from depthweave.search.surrogate.space_filling import space_filling_subset
from depthweave.search.trials.live_trial import Progress
from depthweave.spaces.checksums import add_checksum, verified_values
from depthweave.spaces.hosted import is_plain
from depthweave.trainers import Measurement

SURVEY_FILE = "survey.json"
MEASURING_STEPS = 10
"""Measuring an architecture takes about as long as this many training steps."""
_MAX_FRAC = 0.05
"""The survey's largest share of the time of all trainings, where no training is stopped."""
_MIN_SIZE = 8
"""Fewer measurements predict too little, and each trial measures its own architecture."""
_MAX_PORTION = 8
"""Architectures that one process measures in turn."""


class Survey(NamedTuple):
    """The costs that were measured before training."""

    hardware: str
    """Processor or accelerator; empty where nothing was measured."""
    measurements: Mapping[str, Measurement]
    """By architecture id."""


def needs_survey(prepared: PreparedSearch) -> bool:
    """Returns whether the search measures first: its sampler weighs costs, and some of them have to be measured."""
    measured = any(OBJECTIVES[name].cost and OBJECTIVES[name].measured for name in prepared.spec.objectives)
    return SAMPLERS[prepared.spec.search.sampler].needs_costs and measured


def read_survey(store: RunStore) -> Survey:
    """Returns the survey of a run folder, empty where there is none. Raises `ValueError` where its file is damaged."""
    if not store.has_file(SURVEY_FILE):
        return Survey("", {})
    try:
        values = verified_values(json_value(store.read_bytes(SURVEY_FILE).decode()))
        measurements = TypeAdapter(dict[str, Measurement]).validate_python(values["measurements"])
        for item in measurements.values():
            check_numbers(dataclasses.asdict(item), row_class=Record)
        return Survey(str(values["hardware"]), measurements)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{store.where}/{SURVEY_FILE}: cannot be read ({reason}); delete it, and trials measure themselves"
        ) from None


def take_survey(prepared: PreparedSearch, store: RunStore, *, workers: int, progress: Progress) -> Survey:
    """Measures what the run folder's survey lacks, until it is complete or its time is spent.

    Where Ray fails the search continues: its trials measure their own architectures.
    """
    survey, reference_id = read_survey(store), prepared.reference.architecture.id
    wanted = surveyed_ids(prepared)
    missing = [item for item in wanted if item not in survey.measurements]
    settings, started = prepared.spec.search, time.monotonic()
    for portions in _batches(missing, reference_id=reference_id, workers=workers):
        elapsed_s = time.monotonic() - started
        if settings.time_budget_s is not None and elapsed_s > _MAX_FRAC * settings.time_budget_s:
            break
        if not survey.measurements:
            progress.on_phase(f"measuring {plural(len(wanted), 'architecture')} before training")
        try:
            results = measure_in_parallel(
                prepared,
                store,
                portions,
                time_limit_s=measuring_limit_s(prepared, survey),
                kinds=kinds_of(prepared.spec.objectives, step=portions == [[reference_id]]),
            )
        except RayError as error:
            reason = reason_of(error)
            progress.on_phase(f"measuring before training ended early ({reason}): trials measure themselves")
            break
        for portion, result in zip(portions, results, strict=True):
            # Costs of another kind of device do not predict those of this one.
            if survey.hardware not in ("", result.hardware):
                survey = Survey("", {})
            survey = _extended(survey, portion, result)
        store.write_bytes(SURVEY_FILE, _to_json(survey))
    if len(survey.measurements) < len(prepared.space):
        for line in _predictions(prepared, survey):
            progress.on_phase(line)
    return survey


def surveyed_ids(prepared: PreparedSearch) -> list[str]:
    """Returns ids of the architectures to measure before training: the reference, the plain ones, others far apart."""
    parameters = Parameters(prepared.space)
    rows = {item: row for row, item in enumerate(parameters.architecture_ids)}
    candidates = of_space(parameters, objectives=())
    plain = [item.architecture.id for item in prepared.space if is_plain(item.architecture)]
    reference_id = prepared.reference.architecture.id
    first = [rows[item] for item in (reference_id, *plain)]
    size = survey_size(
        len(prepared.space),
        trials=prepared.spec.search.trials,
        steps=prepared.task.schedule(prepared.spec.recipe).steps,
    )
    return [parameters.architecture_ids[row] for row in space_filling_subset(candidates, first=first, count=size)]


def survey_size(num_architectures: int, *, trials: int, steps: int) -> int:
    """Returns how many architectures to measure before training: all, or as many as fit into the survey's time.

    0 where that is too few. `steps` is the length of a training.
    """
    size = int(_MAX_FRAC * steps * min(trials, num_architectures) / MEASURING_STEPS)
    return min(num_architectures, size) if size >= _MIN_SIZE else 0


def measuring_limit_s(prepared: PreparedSearch, survey: Survey) -> float:
    """Returns for how long an architecture is timed: the spec's limit, or less if the survey timed a training step."""
    limit_s = prepared.spec.resources.measure_limit_s
    reference = survey.measurements.get(prepared.reference.architecture.id)
    if reference is None or reference.step_latency_s is None:
        return limit_s
    # The other half of the steps counts the memory and makes the first rounds.
    return min(limit_s, MEASURING_STEPS / 2 * reference.step_latency_s)


def _predictions(prepared: PreparedSearch, survey: Survey) -> Iterator[str]:
    """Yields a line for each cost: how well it is predicted for the architectures that were not measured."""
    objectives = prepared.spec.objectives
    candidates = of_space(Parameters(prepared.space), objectives=objectives, measured=survey.measurements)
    for axis, name in enumerate(cost_names(objectives)):
        error = cost_error(candidates, axis) if np.isnan(candidates.costs_NC[:, axis]).any() else None
        if error is not None:
            yield f"{name} of the others is predicted with a median error of {error:.1%} (measured ones held out)"


def _batches(missing: Sequence[str], *, reference_id: str, workers: int) -> Iterator[list[list[str]]]:
    """Yields what is measured at the same time: a portion for each worker.

    The first batch is the reference alone: the time of its training step limits the time of the others.
    """
    others = [item for item in missing if item != reference_id]
    if len(others) < len(missing):
        yield [[reference_id]]
    size = max(1, min(_MAX_PORTION, math.ceil(len(others) / workers)))
    portions = [list(others[start : start + size]) for start in range(0, len(others), size)]
    for start in range(0, len(portions), workers):
        yield portions[start : start + workers]


def _extended(survey: Survey, ids: Sequence[str], result: PortionResult) -> Survey:
    # A trial that takes over a measurement spends no time on it.
    added = [dataclasses.replace(item, measure_s=0.0, waited_s=0.0) for item in result.measurements]
    return Survey(result.hardware, {**survey.measurements, **dict(zip(ids, added, strict=True))})


def _to_json(survey: Survey) -> bytes:
    measurements = {key: dataclasses.asdict(item) for key, item in survey.measurements.items()}
    return json.dumps(add_checksum({"hardware": survey.hardware, "measurements": measurements}), indent=1).encode()

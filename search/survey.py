"""Speed and memory of candidates, measured before anything trains; those of all others are predicted from them.

A cost takes a second to measure and a loss minutes to train, so a sampler that weighs the two need not guess the first.
But seconds add up: measured is what takes a twentieth of the trainings' time, the architectures that lie far apart
first, from a dozen of which the others are told within 3 % (`samplers/cost_model.py`). All workers measure at once, a
few architectures each, in turn with the reference; trials take over what is known, and measure themselves what is not,
before they train. How many is not left to the clock: the same spec has the same costs before it.
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
from depthweave.search.isolated_measurement import Found, kinds_of, measure_at_once
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch
from depthweave.search.samplers import SAMPLERS, of_space
from depthweave.search.surrogate.cost_model import cost_error
from depthweave.search.surrogate.space_filling import space_filling_subset
from depthweave.search.trials.live_trial import Progress
from depthweave.spaces.checksums import check_seal, seal
from depthweave.trainers import Measurement

SURVEY_FILE = "survey.json"
MEASURING_STEPS = 10
"""Measuring takes about as long as so many training steps."""
_SHARE_FRAC = 0.05
"""Of the time that the trainings take if none is stopped, the most that a survey takes."""
_LEAST = 8
"""Fewer tell too little of the others, and trials measure themselves."""
_IN_TURN = 8
"""Architectures in the same rounds."""


class Survey(NamedTuple):
    """What was measured before training."""

    hardware: str
    """Processor or accelerator; empty where nothing was measured."""
    measurements: Mapping[str, Measurement]
    """By architecture id."""


def has_survey(prepared: PreparedSearch) -> bool:
    """Whether a search of this kind measures first: its sampler weighs costs that only measuring tells."""
    measured = any(OBJECTIVES[name].cost and OBJECTIVES[name].measured for name in prepared.spec.objectives)
    return SAMPLERS[prepared.spec.search.sampler].needs_costs and measured


def read_survey(store: RunStore) -> Survey:
    """The survey of a run folder, empty where there is none; `ValueError` where its file is damaged."""
    if not store.has_file(SURVEY_FILE):
        return Survey("", {})
    try:
        values = check_seal(json_value(store.read_bytes(SURVEY_FILE).decode()))
        measurements = TypeAdapter(dict[str, Measurement]).validate_python(values["measurements"])
        for item in measurements.values():
            check_numbers(dataclasses.asdict(item), row_class=Record)
        return Survey(str(values["hardware"]), measurements)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        told = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{store.where}/{SURVEY_FILE}: cannot be read ({told}); delete it, and trials measure themselves"
        ) from None


def take_survey(prepared: PreparedSearch, store: RunStore, *, workers: int, progress: Progress) -> Survey:
    """Measure what the run folder's survey lacks, until all is measured or the time for it is spent.

    That Ray fails costs no result: trials then measure themselves.
    """
    survey, reference_id = read_survey(store), prepared.reference.architecture.id
    wanted = surveyed_ids(prepared)
    left = [item for item in wanted if item not in survey.measurements]
    settings, started = prepared.spec.search, time.monotonic()
    for portions in _waves(left, reference_id=reference_id, workers=workers):
        elapsed_s = time.monotonic() - started
        if settings.time_budget_s is not None and elapsed_s > _SHARE_FRAC * settings.time_budget_s:
            break
        if not survey.measurements:
            progress.on_phase(f"measuring {plural(len(wanted), 'architecture')} before training")
        try:
            found = measure_at_once(
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
        for portion, item in zip(portions, found, strict=True):
            # Costs of another kind of device are no guide to those of this one.
            if survey.hardware not in ("", item.hardware):
                survey = Survey("", {})
            survey = _with(survey, portion, item)
        store.write_bytes(SURVEY_FILE, _to_json(survey))
    if len(survey.measurements) < len(prepared.space):
        for line in _predictions(prepared, survey):
            progress.on_phase(line)
    return survey


def surveyed_ids(prepared: PreparedSearch) -> list[str]:
    """What is measured before training: the reference, plain architectures, and others far apart."""
    parameters = Parameters(prepared.space)
    rows = {item: row for row, item in enumerate(parameters.architecture_ids)}
    candidates = of_space(parameters, objectives=())
    plain = [item.architecture.id for item in prepared.space if item.architecture.fusion == "none"]
    reference_id = prepared.reference.architecture.id
    first = [rows[item] for item in (reference_id, *plain)]
    size = survey_size(len(prepared.space), trials=prepared.spec.search.trials, steps=prepared.spec.recipe.steps)
    return [parameters.architecture_ids[row] for row in space_filling_subset(candidates, first=first, count=size)]


def survey_size(num_architectures: int, *, trials: int, steps: int) -> int:
    """How many of a space are measured before training: all, or as many as take `_SHARE_FRAC` of the trainings' time.

    None where only a few would fit into that. `steps` are those of a training.
    """
    size = int(_SHARE_FRAC * steps * min(trials, num_architectures) / MEASURING_STEPS)
    return min(num_architectures, size) if size >= _LEAST else 0


def measuring_limit_s(prepared: PreparedSearch, survey: Survey) -> float:
    """How long one architecture is timed: the spec's limit, or less where the survey knows a training step's time."""
    limit_s = prepared.spec.resources.measure_limit_s
    reference = survey.measurements.get(prepared.reference.architecture.id)
    if reference is None or reference.step_latency_s is None:
        return limit_s
    # Half of the steps go into counting the memory and into the first rounds.
    return min(limit_s, MEASURING_STEPS / 2 * reference.step_latency_s)


def _predictions(prepared: PreparedSearch, survey: Survey) -> Iterator[str]:
    """How well the costs that were not measured are predicted from those that were."""
    objectives = prepared.spec.objectives
    candidates = of_space(Parameters(prepared.space), objectives=objectives, measured=survey.measurements)
    for axis, name in enumerate(cost_names(objectives)):
        error = cost_error(candidates, axis) if np.isnan(candidates.costs_NC[:, axis]).any() else None
        if error is not None:
            yield f"{name} of the others is predicted with a median error of {error:.1%} (measured ones held out)"


def _waves(left: Sequence[str], *, reference_id: str, workers: int) -> Iterator[list[list[str]]]:
    """What is measured at the same time: a portion for each worker.

    The reference alone comes first: its training step says how long the others may take.
    """
    others = [item for item in left if item != reference_id]
    if len(others) < len(left):
        yield [[reference_id]]
    size = max(1, min(_IN_TURN, math.ceil(len(others) / workers)))
    portions = [list(others[start : start + size]) for start in range(0, len(others), size)]
    for start in range(0, len(portions), workers):
        yield portions[start : start + workers]


def _with(survey: Survey, ids: Sequence[str], found: Found) -> Survey:
    # The time is not a trial's.
    told = [dataclasses.replace(item, measure_s=0.0, waited_s=0.0) for item in found.measurements]
    return Survey(found.hardware, {**survey.measurements, **dict(zip(ids, told, strict=True))})


def _to_json(survey: Survey) -> bytes:
    measurements = {key: dataclasses.asdict(item) for key, item in survey.measurements.items()}
    return json.dumps(seal({"hardware": survey.hardware, "measurements": measurements}), indent=1).encode()

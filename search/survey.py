"""Speed and memory of the candidates, measured before anything trains.

A cost takes a second to measure and a loss minutes to train, so a sampler that weighs the two need not guess the first.
One process measures a few architectures at a time, in turn with the reference, with the cluster otherwise idle; trials
take over what stands here, and measure themselves what does not. Where that would take long beside the trainings, an
even part of the space is measured, and the sampler predicts the rest. How many is not left to the clock: the same spec
has the same costs before it.
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

from depthweave.reports.objectives import OBJECTIVES
from depthweave.reports.store import RunStore
from depthweave.search.alone import Found, kinds_of, measure_alone
from depthweave.search.entry import Progress
from depthweave.search.parameters import Parameters
from depthweave.search.samplers import of_space
from depthweave.search.samplers.cost_model import cost_error
from depthweave.search.setting import Setting
from depthweave.trainers import Measurement

SURVEY_FILE = "survey.json"
NUM_SURVEYED = 12
"""Architectures from which the costs of the others are predicted."""
MEASURING_STEPS = 10
"""Measuring takes about as long as so many training steps."""
_SHARE_FRAC = 0.05
"""Of the time that the trainings take if none is stopped, the most that a survey takes."""
_LEAST = 16
"""Fewer are not worth the start of a process."""
_IN_TURN = 8
"""Architectures in the same rounds."""
_TELL_S = 10.0
"""A line of progress at most as often."""


class Survey(NamedTuple):
    """What was measured before training."""

    hardware: str
    """Processor or accelerator; empty where nothing was measured."""
    measurements: Mapping[str, Measurement]
    """By architecture id."""


def has_survey(setting: Setting) -> bool:
    """Whether a search of this kind measures first: its sampler weighs costs that only measuring tells."""
    measured = {item.name for item in dataclasses.fields(Measurement)}
    costs = {name for name in setting.spec.objectives if OBJECTIVES[name].cost}
    return setting.spec.search.sampler == "known-cost" and bool(costs & measured)


def read_survey(store: RunStore) -> Survey:
    """The survey of a run folder, empty where there is none; `ValueError` where its file is damaged."""
    if not store.has_file(SURVEY_FILE):
        return Survey("", {})
    try:
        values = json.loads(store.read_bytes(SURVEY_FILE))
        measurements = TypeAdapter(dict[str, Measurement]).validate_python(values["measurements"])
        return Survey(str(values["hardware"]), measurements)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        told = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{store.where}/{SURVEY_FILE}: cannot be read ({told}); delete it, and trials measure themselves"
        ) from None


def take_survey(setting: Setting, store: RunStore, *, workers: int, progress: Progress) -> Survey:
    """Measure what the run folder's survey lacks, until all is measured or the time for it is spent.

    That Ray fails costs no result: trials then measure themselves.
    """
    survey, reference_id = read_survey(store), setting.reference.architecture.id
    wanted = _order(setting)[: survey_size(setting, workers=workers)]
    left = [item for item in wanted if item not in survey.measurements]
    settings, started, told_s = setting.spec.search, time.monotonic(), -math.inf
    # The reference alone comes first: its training step says how long the others may take.
    for chunk in _chunks(left):
        elapsed_s = time.monotonic() - started
        if settings.time_budget_s is not None and elapsed_s > _SHARE_FRAC * settings.time_budget_s:
            break
        if elapsed_s > told_s + _TELL_S:
            told_s = elapsed_s
            progress.on_phase(f"measuring before training: {len(survey.measurements)} of {len(wanted)} architectures")
        try:
            found = measure_alone(
                setting,
                chunk,
                time_limit_s=_time_limit_s(setting, survey.measurements.get(reference_id)),
                kinds=kinds_of(setting.spec.objectives, step=chunk == [reference_id]),
            )
        except RayError as error:
            first = str(error).strip().splitlines()[0]
            progress.on_phase(f"measuring before training ended early ({first}): trials measure themselves")
            break
        # Costs of another kind of device are no guide to those of this one.
        if survey.hardware not in ("", found.hardware):
            survey = Survey("", {})
        survey = _with(survey, chunk, found)
        store.write_bytes(SURVEY_FILE, _to_json(survey))
    if len(survey.measurements) < len(setting.space):
        for line in _predictions(setting, survey):
            progress.on_phase(line)
    return survey


def survey_size(setting: Setting, *, workers: int) -> int:
    """How many architectures are measured before training: all, or as many as take a fifth of the trainings' time."""
    most_steps = setting.spec.recipe.steps * min(setting.spec.search.trials, len(setting.space)) / workers
    size = int(_SHARE_FRAC * most_steps / MEASURING_STEPS)
    return min(len(setting.space), size) if size >= _LEAST else 0


def _predictions(setting: Setting, survey: Survey) -> Iterator[str]:
    """How well the costs that were not measured are predicted from those that were."""
    objectives = setting.spec.objectives
    candidates = of_space(Parameters(setting.space), objectives=objectives, measured=survey.measurements)
    for axis, name in enumerate(item for item in objectives if OBJECTIVES[item].cost):
        error = cost_error(candidates, axis) if np.isnan(candidates.costs_NC[:, axis]).any() else None
        if error is not None:
            yield f"{name} of the others is predicted with a median error of {error:.1%} (measured ones held out)"


def _order(setting: Setting) -> list[str]:
    """The reference, the other plain architectures, then the space by chance: a part of it is an even one."""
    generator = np.random.default_rng([setting.spec.seed, 1])
    ids = [item.architecture.id for item in setting.space]
    shuffled = [ids[place] for place in generator.permutation(len(ids))]
    reference_id = setting.reference.architecture.id
    plain = {item.architecture.id for item in setting.space if item.architecture.fusion == "none"}
    return sorted(shuffled, key=lambda item: (item != reference_id, item not in plain))


def _chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    if ids:
        yield list(ids[:1])
    for start in range(1, len(ids), _IN_TURN):
        yield list(ids[start : start + _IN_TURN])


def _time_limit_s(setting: Setting, reference: Measurement | None) -> float:
    limit_s = setting.spec.resources.measure_limit_s
    if reference is None or reference.step_latency_s is None:
        return limit_s
    # Half of the steps go into counting the memory.
    return min(limit_s, MEASURING_STEPS / 2 * reference.step_latency_s)


def _with(survey: Survey, ids: Sequence[str], found: Found) -> Survey:
    # The time is not a trial's.
    told = [dataclasses.replace(item, measure_s=0.0, waited_s=0.0) for item in found.measurements]
    return Survey(found.hardware, {**survey.measurements, **dict(zip(ids, told, strict=True))})


def _to_json(survey: Survey) -> bytes:
    measurements = {key: dataclasses.asdict(item) for key, item in survey.measurements.items()}
    return json.dumps({"hardware": survey.hardware, "measurements": measurements}, indent=1).encode()

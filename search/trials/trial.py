"""A Ray Tune trial: measure one architecture, train it, and hand over an evaluation at a time.

A class trainable, so that Ray keeps the process and its loaded torch for the next trial: a new process costs seconds,
a reset almost nothing. The trial keeps its own checkpoint in the run folder; Ray's are not used.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from ray.tune import Trainable

from depthweave.reports.store.columns import check_numbers
from depthweave.reports.store.records import Record
from depthweave.search.cluster.placement import ANYWHERE, Placement
from depthweave.search.scratch import device_locks
from depthweave.search.trials.checkpoints import PROGRESS_FILE, STATE_FILE, Checkpoints
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.checksums import check_seal, seal
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers import Evaluation, HeldOutLoss, Kind, Measurement, Recipe, hardware
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.machine import free_memory, with_precision
from depthweave.trainers.recipe import Precision
from depthweave.trainers.tasks import AnyTask, TaskData, TaskState

REPORT = "report"
"""Key of the `TrialReport` in a Tune result."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a run share."""

    task: AnyTask
    """What they are trained for."""
    reference: Architecture
    """What latencies are relative to."""
    recipe: Recipe
    device: str
    threads: int
    """Torch threads of a trial on a CPU."""
    measure_limit_s: float
    kinds: tuple[Kind, ...]
    """What a trial times of itself."""
    measured: Mapping[str, Measurement]
    """By architecture id, what was measured before: such a trial does not measure."""
    measured_on: str
    """The hardware that this holds for."""
    locks: str
    """Where trials of a machine find the locks by which they share its devices, for `device_locks`."""
    checkpoints: str
    """Address of all trials' checkpoints, which every worker reaches."""
    placement: Placement = ANYWHERE
    """Where they may run."""
    run_id: str = ""
    """Of the run, as loggers name it."""
    tests: bool = False
    """Whether a training that ends is evaluated on the test part: those of a confirmation are, of a search never."""


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """What a trial tells its driver at one evaluation."""

    measurement: Measurement
    evaluations: tuple[Evaluation, ...]
    """Those that the driver has not seen; all of them after a trial was continued."""
    wall_s: float
    """Time of the trial on its workers so far, without the times it lay interrupted."""
    attempts: int
    """Times the trial was started."""
    device: str
    hardware: str
    threads: int
    host: str
    test: HeldOutLoss | None = None
    """On the test part, of a training that has ended and was asked for it."""
    precision: Precision | None = None
    """Of the training, where the recipe says `auto`; reports of earlier versions have none, for theirs named it."""
    note: str = ""
    """What the user is to know, once: that what it had saved is damaged, and that it began again."""


def write_progress(folder: Path, report: TrialReport) -> None:
    """All that a trial has reported so far, `evaluations` being all of them, is on disk whole."""
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that was given up for lost may write still, beside the one that goes on.
    scratch = folder / f".{PROGRESS_FILE}.{os.getpid()}"
    scratch.write_text(json.dumps(seal(dataclasses.asdict(report))), encoding="utf-8")
    scratch.replace(folder / PROGRESS_FILE)


def read_progress(checkpoints: Checkpoints, number: int) -> TrialReport | None:
    """What a trial had reported when it last saved itself, all evaluations included; `None` where it never did, or
    where what it saved cannot be read any more.

    The last evaluation may be beyond the saved training state, and is then made again.
    """
    data = checkpoints.read(number, PROGRESS_FILE)
    if data is None or not checkpoints.has_state(number):
        return None
    try:
        # Less its sum it is read as JSON again: pydantic then takes numbers and lists as they are written there.
        found = TypeAdapter(TrialReport).validate_json(json.dumps(check_seal(json.loads(data))))
        check_numbers(dataclasses.asdict(found.measurement), row_class=Record)
        return found
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def read_architecture_id(folder: Path, *, task: AnyTask) -> str | None:
    """The architecture whose training the folder can go on with; `None` where there is none, or none can be read."""
    try:
        state: TaskState = task.load_state(folder / STATE_FILE, device="cpu")
    except ValueError:
        return None
    return state.architecture.id


class ArchitectureTrial(Trainable):
    """Config: `trial` (its number), `architecture` (as `Architecture.to_dict`), and what may be absent:

    `seed` (else the recipe's), `heard` (evaluations that the driver knows; else none) and `paused` (whether it goes
    on from a pause after those; else, with a checkpoint, it was interrupted).
    """

    # Set anew for every trial by `_begin`.
    _measurement: Measurement | None
    _history: list[Evaluation]
    _unseen: list[Evaluation]
    _is_ahead: bool
    _state: TaskState
    _lock: DeviceLock
    _evaluations: Iterator[Evaluation]
    _earlier_s: float
    _attempts: int
    _note: str

    def setup(self, config: dict[str, Any], *, data: TaskData, plan: TrialPlan) -> None:
        self._task, self._data, self._plan = plan.task, data, plan
        self._checkpoints = Checkpoints(plan.checkpoints)
        torch.set_num_threads(plan.threads)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._measurement is None:
            self._measurement = self._measure()
        ended = False
        # A checkpoint that the driver has not heard of is told before training goes on: it may stand at a rung.
        if not self._is_ahead:
            with self._lock.shared():
                evaluation = next(self._evaluations, None)
            ended = evaluation is None
            if evaluation is not None:
                self._history.append(evaluation)
                self._unseen.append(evaluation)
        self._is_ahead = False
        last = self._history[-1] if self._history else None
        done = ended or (last is not None and (last.diverged or last.step == self._plan.recipe.steps))
        report = TrialReport(
            measurement=self._measurement,
            evaluations=tuple(self._unseen),
            wall_s=self._wall_s(),
            attempts=self._attempts,
            device=self._state.device.type,
            hardware=hardware(self._state.device),
            threads=torch.get_num_threads(),
            host=platform.node(),
            test=self._held_out_loss() if done else None,
            precision=with_precision(self._state.recipe, device=self._state.device).precision,
            note=self._note,
        )
        self._save(dataclasses.replace(report, note=""), final=done)
        self._unseen, self._note = [], ""
        # Saving takes time, which is the trial's too.
        return {REPORT: dataclasses.replace(report, wall_s=self._wall_s()), "done": done}

    def _begin(self, config: dict[str, Any]) -> None:
        self._started = time.perf_counter()
        self._forget()
        self._number = config["trial"]
        self._folder = self._checkpoints.fetch(self._number)
        self._architecture = Architecture.from_dict(config["architecture"])
        recipe, seed = self._plan.recipe, config.get("seed")
        if seed is not None:
            recipe = dataclasses.replace(recipe, seed=seed)
        if recipe.compile:
            # Of the graphs of earlier architectures the compiler keeps a few, and then silently stops compiling.
            torch.compiler.reset()
        self._measurement = None
        self._history = []
        self._earlier_s, self._attempts, self._note = 0.0, 1, ""
        state, progress = self._saved(), read_progress(self._checkpoints, self._number)
        if state is not None and progress is None:
            self._note = f"trial {self._number}: {self._folder / PROGRESS_FILE} is damaged or gone; it begins again"
        if state is not None and progress is not None:
            self._state = state
            self._go_on(progress, heard=config.get("heard", 0), paused=config.get("paused", False))
        else:
            self._state = self._task.start(self._architecture, recipe=recipe, device=self._plan.device)
        self._unseen = list(self._history)
        self._is_ahead = len(self._history) > config.get("heard", 0)
        folder = device_locks(self._plan.locks, device_type=self._state.device.type)
        self._lock = DeviceLock(folder, device=self._state.device)
        self._evaluations = self._task.train(self._state, self._data, give_way=self._lock.give_way)

    def _forget(self) -> None:
        """Gives the device back what the trial before had, for this one and for others that share it."""
        state = self.__dict__.pop("_state", None)
        self._evaluations = iter(())
        if state is not None:
            device = state.device
            del state
            free_memory(device)

    def _held_out_loss(self) -> HeldOutLoss | None:
        if not self._plan.tests or self._state.diverged or self._state.step < self._plan.recipe.steps:
            return None
        # No measurement beside it.
        with self._lock.shared():
            found: HeldOutLoss | None = self._task.test(self._state, self._data)
            return found

    def _measure(self) -> Measurement:
        here = hardware(self._state.device)
        self._plan.placement.check(here)
        known = self._plan.measured.get(self._architecture.id)
        if known is not None and self._plan.measured_on == here:
            return known
        measured: list[Measurement] = self._task.measure(
            [self._architecture],
            reference=self._plan.reference,
            recipe=self._plan.recipe,
            device=self._state.device,
            time_limit_s=self._plan.measure_limit_s,
            kinds=self._plan.kinds,
            lock=self._lock,
        )
        return measured[0]

    def _save(self, report: TrialReport, *, final: bool) -> None:
        """The trial can go on from here; after its end only the weights stay."""
        # The progress first: evaluations beyond the saved state are dropped on loading, and made again, the same.
        write_progress(self._folder, dataclasses.replace(report, evaluations=tuple(self._history)))
        self._state.save(self._folder / STATE_FILE)
        saved = [PROGRESS_FILE, STATE_FILE]
        if final and not self._state.diverged:
            self._task.save_weights(self._state, self._folder / MODEL_FILE)
            saved.append(MODEL_FILE)
        self._checkpoints.keep(self._number, saved)

    def _saved(self) -> TaskState | None:
        """The state to go on from; `None` where there is none, or none of this architecture that can be read."""
        if not (self._folder / STATE_FILE).exists():
            return None
        try:
            state: TaskState = self._task.load_state(self._folder / STATE_FILE, device=self._plan.device)
        except ValueError as error:
            # A disk that lost a part of it costs the trial its training, not its result: it begins anew.
            self._note = f"trial {self._number}: {error}; it begins again"
            return None
        if state.architecture != self._architecture:
            path = self._folder / STATE_FILE
            self._note = f"trial {self._number}: {path} is of another architecture; it begins again"
            return None
        return state

    def _go_on(self, progress: TrialReport, *, heard: int, paused: bool) -> None:
        self._measurement = progress.measurement
        self._history = [item for item in progress.evaluations if item.step <= self._state.step]
        self._earlier_s = progress.wall_s
        self._attempts = progress.attempts + (not paused or len(self._history) > heard)

    def _wall_s(self) -> float:
        return self._earlier_s + time.perf_counter() - self._started

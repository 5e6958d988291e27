"""A Ray Tune trial: it measures one architecture, trains it, and reports one evaluation at a time.

A class trainable, so that Ray reuses the process and its loaded torch for the next trial: a new process costs seconds,
a reset almost nothing. The trial has its own checkpoint in the run folder; Ray's checkpoints are not used.
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
from depthweave.search.learning_rates import ONE_RATE, LearningRates
from depthweave.search.scratch import device_locks
from depthweave.search.trials.checkpoints import PROGRESS_FILE, Checkpoints
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.checksums import add_checksum, verified_values
from depthweave.spaces.hosted import architecture_from_dict
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.trainers import Evaluation, HeldOutLoss, Kind, Measurement, Recipe, hardware
from depthweave.trainers.checkpoint import STATE_FILE
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.machine import free_memory, with_precision
from depthweave.trainers.recipe import Precision
from depthweave.trainers.tasks import AnyTask, TaskData, TaskState

REPORT = "report"
"""Key of the `TrialReport` in a Tune result."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a run have in common."""

    task: AnyTask
    """What they are trained for."""
    reference: Architecture
    """The architecture that latencies are relative to."""
    recipe: Recipe
    rates: LearningRates = ONE_RATE
    """The learning rates that replace the recipe's."""
    device: str
    threads: int
    """Torch threads of a trial on a CPU."""
    measure_limit_s: float
    kinds: tuple[Kind, ...]
    """What a trial times of its architecture."""
    measured: Mapping[str, Measurement]
    """Earlier measurements by architecture id, which trials take over."""
    measured_on: str
    """The hardware that they hold for."""
    locks: str
    """Where the trials of a machine find the locks of its devices, for `device_locks`."""
    checkpoints: str
    """Address of all trials' checkpoints, which every worker can reach."""
    placement: Placement = ANYWHERE
    """The nodes that trials may use."""
    run_id: str = ""
    """The run's name for loggers."""
    evaluates_test: bool = False
    """Whether a complete training is evaluated on the test part: in a confirmation it is, in a search never."""


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """What a trial reports to its driver at one evaluation."""

    measurement: Measurement
    evaluations: tuple[Evaluation, ...]
    """Those that were not reported before; all of them after the trial was continued."""
    wall_s: float
    """Time of the trial on its workers so far, without interruptions."""
    attempts: int
    """Number of starts of the trial."""
    device: str
    hardware: str
    threads: int
    host: str
    test: HeldOutLoss | None = None
    """The loss on the test part, where the training is complete and the plan asks for it."""
    precision: Precision | None = None
    """The precision of the training. Absent in the reports of earlier versions, whose recipes always named one."""
    note: str = ""
    """A line for the user, reported once: the trial's checkpoint is damaged, and it starts again."""


def write_progress(folder: Path, report: TrialReport) -> None:
    """Writes the report of a trial, with all its evaluations, as a complete file."""
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that was taken for lost may still write at the same time.
    scratch = folder / f".{PROGRESS_FILE}.{os.getpid()}"
    scratch.write_text(json.dumps(add_checksum(dataclasses.asdict(report))), encoding="utf-8")
    scratch.replace(folder / PROGRESS_FILE)


def read_progress(checkpoints: Checkpoints, number: int) -> TrialReport | None:
    """Returns a trial's report at its last checkpoint, with all evaluations; `None` without a readable checkpoint.

    The last evaluation may be later than the saved training state. The trial then makes it again.
    """
    data = checkpoints.read(number, PROGRESS_FILE)
    if data is None or not checkpoints.has_state(number):
        return None
    try:
        # As JSON again, without its checksum: from JSON pydantic accepts numbers and lists as they are written.
        found = TypeAdapter(TrialReport).validate_json(json.dumps(verified_values(json.loads(data))))
        check_numbers(dataclasses.asdict(found.measurement), row_class=Record)
        return found
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def read_architecture(folder: Path, *, task: AnyTask) -> Architecture | None:
    """Returns the architecture whose training state is in the folder; `None` where none can be read."""
    try:
        state: TaskState = task.load_state(folder / STATE_FILE, device="cpu")
    except ValueError:
        return None
    return state.architecture


class ArchitectureTrial(Trainable):
    """Trains the architecture of its config.

    The config has `trial` (its number), `architecture` (as `Architecture.to_dict`) and, optionally, `seed` and
    `learning_rate` (else those of the plan), `num_reported` (evaluations that the driver has; else 0) and `paused`
    (whether the trial paused after these; a trial with a checkpoint that did not pause was
    interrupted).
    """

    # Set by `_begin` for every trial.
    _measurement: Measurement | None
    _history: list[Evaluation]
    _unseen: list[Evaluation]
    _has_unreported: bool
    _state: TaskState
    _lock: DeviceLock
    _evaluations: Iterator[Evaluation]
    _earlier_s: float
    _attempts: int
    _note: str

    def setup(self, config: dict[str, Any], *, data: TaskData, plan: TrialPlan) -> None:
        self._task, self._data, self._plan = plan.task, data, plan
        self._checkpoints = Checkpoints(plan.checkpoints)
        self._num_steps = self._task.schedule(plan.recipe).steps
        torch.set_num_threads(plan.threads)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._measurement is None:
            self._measurement = self._measure()
        ended = False
        # Evaluations that the driver does not have are reported before training continues: one may be at a rung.
        if not self._has_unreported:
            with self._lock.shared():
                evaluation = next(self._evaluations, None)
            ended = evaluation is None
            if evaluation is not None:
                self._history.append(evaluation)
                self._unseen.append(evaluation)
        self._has_unreported = False
        last = self._history[-1] if self._history else None
        done = ended or (last is not None and (last.diverged or last.step == self._num_steps))
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
        # The time of saving is the trial's too.
        return {REPORT: dataclasses.replace(report, wall_s=self._wall_s()), "done": done}

    def _begin(self, config: dict[str, Any]) -> None:
        self._started = time.perf_counter()
        self._release_state()
        self._number = config["trial"]
        self._folder = self._checkpoints.fetch(self._number)
        self._architecture = architecture_from_dict(config["architecture"])
        recipe = self._plan.rates.recipe(self._plan.recipe, self._architecture)
        own = {name: config[name] for name in ("seed", "learning_rate") if config.get(name) is not None}
        recipe, num_reported = dataclasses.replace(recipe, **own), config.get("num_reported", 0)
        if recipe.compile:
            # The compiler keeps a few graphs of earlier architectures, and then silently stops compiling.
            torch.compiler.reset()
        self._measurement = None
        self._history = []
        self._earlier_s, self._attempts, self._note = 0.0, 1, ""
        state, progress = self._load_state(), read_progress(self._checkpoints, self._number)
        if state is not None and progress is None:
            self._note = f"trial {self._number}: {self._folder / PROGRESS_FILE} is damaged or missing; it starts again"
        if state is not None and progress is not None:
            self._state = state
            self._restore(progress, num_reported=num_reported, paused=config.get("paused", False))
        else:
            self._state = self._task.start(self._architecture, recipe=recipe, device=self._plan.device)
        self._unseen = list(self._history)
        self._has_unreported = len(self._history) > num_reported
        folder = device_locks(self._plan.locks, device_type=self._state.device.type)
        self._lock = DeviceLock(folder, device=self._state.device)
        self._evaluations = self._task.train(self._state, self._data, give_way=self._lock.give_way)

    def _release_state(self) -> None:
        """Frees the device memory of the previous trial, for this one and for others on the device."""
        state = self.__dict__.pop("_state", None)
        self._evaluations = iter(())
        if state is not None:
            device = state.device
            del state
            free_memory(device)

    def _held_out_loss(self) -> HeldOutLoss | None:
        if not self._plan.evaluates_test or self._state.diverged or self._state.step < self._num_steps:
            return None
        # Nothing is measured meanwhile.
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
        """Saves the trial's checkpoint; at its end also the weights, which are kept."""
        # The progress first: evaluations beyond the saved state are dropped on loading, and the same are made again.
        write_progress(self._folder, dataclasses.replace(report, evaluations=tuple(self._history)))
        self._state.save(self._folder / STATE_FILE)
        saved = [PROGRESS_FILE, STATE_FILE]
        if final and not self._state.diverged:
            self._task.save_weights(self._state, self._folder / MODEL_FILE)
            saved.append(MODEL_FILE)
        self._checkpoints.keep(self._number, saved)

    def _load_state(self) -> TaskState | None:
        """Returns the saved training state; `None` where none of this architecture can be read."""
        if not (self._folder / STATE_FILE).exists():
            return None
        try:
            state: TaskState = self._task.load_state(self._folder / STATE_FILE, device=self._plan.device)
        except ValueError as error:
            # A damaged checkpoint costs the trial its training, not its result.
            self._note = f"trial {self._number}: {error}; it starts again"
            return None
        if state.architecture != self._architecture:
            path = self._folder / STATE_FILE
            self._note = f"trial {self._number}: {path} is of another architecture; it starts again"
            return None
        return state

    def _restore(self, progress: TrialReport, *, num_reported: int, paused: bool) -> None:
        self._measurement = progress.measurement
        self._history = [item for item in progress.evaluations if item.step <= self._state.step]
        self._earlier_s = progress.wall_s
        self._attempts = progress.attempts + (not paused or len(self._history) > num_reported)

    def _wall_s(self) -> float:
        return self._earlier_s + time.perf_counter() - self._started

"""Curves of a running search for other programs: TensorBoard, MLflow, Weights & Biases, by Ray's own callbacks.

Ray's callbacks log whatever numbers a result holds, under Ray's name for the trial, into Ray's folder. Ours are told
each evaluation as plain numbers against tokens, under the trial's own number, so that one that was paused goes on in
its curve. The store is the truth all the same: a logger that fails is left out, and the search goes on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ray.air.constants import TRAINING_ITERATION
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.result import TIMESTEPS_TOTAL

from depthweave.search.trials.checkpoints import trial_folder
from depthweave.search.trials.trial import REPORT, TrialReport

logger = logging.getLogger(__name__)

_COSTS = ("latency", "memory_bytes")


def make_loggers(names: Sequence[str], *, folder: Path, run_id: str) -> list[Callback]:
    """Callbacks for Ray Tune. `folder` takes what is kept in files; `run_id` names the run where runs of many meet."""
    return [EvaluationLogger(_make(name, run_id), name=name, folder=folder / name, run_id=run_id) for name in names]


@dataclass(eq=False, kw_only=True)
class ShownTrial:
    """What Ray's callbacks want to know of a trial."""

    trial_id: str
    number: int
    config: dict[str, Any]
    local_path: str
    experiment_dir_name: str
    checkpoint: None = None
    seen: set[int] = field(default_factory=set)
    """Evaluations that were told."""

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The same."""
        return self.config

    def init_local_path(self) -> None:
        """The folder is there."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return f"trial-{self.number:05d}"


class EvaluationLogger(Callback):
    """Tells one of Ray's callbacks each evaluation once, as numbers."""

    def __init__(self, sink: LoggerCallback, *, name: str, folder: Path, run_id: str) -> None:
        self._sink, self._name, self._folder, self._run_id = sink, name, folder, run_id
        self._shown: dict[int, ShownTrial] = {}
        self._failed = False

    def setup(self, *_: Any, **info: Any) -> None:
        """The sink is ready."""
        self._tell(lambda: self._sink.setup())

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or goes on."""
        self._tell(lambda: self._sink.log_trial_start(self._of(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reports."""
        self._tell(partial(self._log, iteration, trial, result[REPORT]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ended, was stopped or waits."""
        self._tell(lambda: self._sink.log_trial_end(self._of(trial), failed=False))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial crashed for good."""
        self._tell(lambda: self._sink.log_trial_end(self._of(trial), failed=True))

    def _log(self, iteration: int, trial: Trial, report: TrialReport) -> None:
        shown = self._of(trial)
        for values in numbers_of(report, seen=shown.seen):
            self._sink.log_trial_result(iteration, shown, values)

    def _of(self, trial: Trial) -> ShownTrial:
        number = trial.config["trial"]
        if number not in self._shown:
            sizes = {
                key: value
                for key, value in trial.config["architecture"].items()
                if isinstance(value, (str, int, float, bool))
            }
            self._shown[number] = ShownTrial(
                trial_id=f"{self._run_id}-{number:05d}",
                number=number,
                config={"trial": number, **sizes},
                local_path=str(trial_folder(self._folder, number)),
                experiment_dir_name=self._run_id,
            )
            # Not every sink makes it.
            self._shown[number].init_local_path()
        return self._shown[number]

    def _tell(self, what: Callable[[], Any]) -> None:
        if self._failed:
            return
        try:
            what()
        except Exception as error:
            self._failed = True
            first = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning("logger %s failed (%s): the search goes on without it", self._name, first)


def numbers_of(report: TrialReport, *, seen: set[int]) -> list[dict[str, float]]:
    """The evaluations of a report that were not seen, each with the trial's costs; they are seen after the call."""
    costs = {name: getattr(report.measurement, name) for name in _COSTS}
    found = []
    for item in report.evaluations:
        if item.index in seen:
            continue
        seen.add(item.index)
        losses = {name: getattr(item, name) for name in ("loss", "train_loss")}
        # Not a number where the task has none.
        quality = {name: getattr(item, name) for name in ("perplexity", "bits_per_byte")}
        losses |= {name: value for name, value in quality.items() if not math.isnan(value)}
        told = {name: float(value) for name, value in (losses | costs).items() if value is not None}
        found.append(told | {TIMESTEPS_TOTAL: item.tokens, TRAINING_ITERATION: item.index + 1})
    return found


def _make(name: str, run_id: str) -> LoggerCallback:
    # Each is imported where it is wanted: all are slow, and two are extras.
    if name == "tensorboard":
        from ray.tune.logger import TBXLoggerCallback

        return TBXLoggerCallback()
    if name == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return MLflowLoggerCallback(experiment_name=run_id)
    from ray.air.integrations.wandb import WandbLoggerCallback

    # A trial that goes on after a pause goes on in its run.
    return WandbLoggerCallback(project="depthweave", group=run_id, resume="allow")

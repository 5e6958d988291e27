"""Curves of a running search for TensorBoard, MLflow and Weights & Biases, through Ray's own callbacks.

By themselves Ray's callbacks log all numbers of a result under Ray's name for the trial, into Ray's folder. Here they
get each evaluation as plain numbers against tokens, under our trial number, so that a paused trial continues its curve.
A logger that fails is dropped and the search continues: the store has all results.
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

from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.run_store import trial_name
from depthweave.search.trials.checkpoints import trial_folder
from depthweave.search.trials.trial import REPORT, TrialReport

logger = logging.getLogger(__name__)


def make_loggers(names: Sequence[str], *, folder: Path, run_id: str) -> list[Callback]:
    """Returns callbacks for Ray Tune. `folder` is for their files; `run_id` names the run on a shared server."""
    return [EvaluationLogger(_make(name, run_id), name=name, folder=folder / name, run_id=run_id) for name in names]


@dataclass(eq=False, kw_only=True)
class LoggedTrial:
    """A trial as Ray's callbacks read it."""

    trial_id: str
    number: int
    config: dict[str, Any]
    local_path: str
    experiment_dir_name: str
    checkpoint: None = None
    seen: set[int] = field(default_factory=set)
    """Indices of the evaluations that were logged."""

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """Another name of the config."""
        return self.config

    def init_local_path(self) -> None:
        """Creates the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return trial_name(self.number)


class EvaluationLogger(Callback):
    """Passes each evaluation once, as numbers, to one of Ray's callbacks."""

    def __init__(self, sink: LoggerCallback, *, name: str, folder: Path, run_id: str) -> None:
        self._sink, self._name, self._folder, self._run_id = sink, name, folder, run_id
        self._logged: dict[int, LoggedTrial] = {}
        self._failed = False

    def setup(self, *_: Any, **info: Any) -> None:
        """Sets the callback up."""
        self._call(lambda: self._sink.setup())

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial starts or continues."""
        self._call(lambda: self._sink.log_trial_start(self._of(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reports."""
        self._call(partial(self._log, iteration, trial, result[REPORT]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ended, stopped or paused."""
        self._call(lambda: self._sink.log_trial_end(self._of(trial), failed=False))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial crashed."""
        self._call(lambda: self._sink.log_trial_end(self._of(trial), failed=True))

    def _log(self, iteration: int, trial: Trial, report: TrialReport) -> None:
        logged = self._of(trial)
        for values in numbers_of(report, seen=logged.seen):
            self._sink.log_trial_result(iteration, logged, values)

    def _of(self, trial: Trial) -> LoggedTrial:
        number = trial.config["trial"]
        if number not in self._logged:
            sizes = {
                key: value
                for key, value in trial.config["architecture"].items()
                if isinstance(value, (str, int, float, bool))
            }
            self._logged[number] = LoggedTrial(
                trial_id=f"{self._run_id}-{number:05d}",
                number=number,
                config={"trial": number, **sizes},
                local_path=str(trial_folder(self._folder, number)),
                experiment_dir_name=self._run_id,
            )
            # Not every callback creates it.
            self._logged[number].init_local_path()
        return self._logged[number]

    def _call(self, function: Callable[[], Any]) -> None:
        if self._failed:
            return
        try:
            function()
        except Exception as error:
            self._failed = True
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning("logger %s failed (%s): the search continues without it", self._name, first_line)


def numbers_of(report: TrialReport, *, seen: set[int]) -> list[dict[str, float]]:
    """Returns the evaluations of a report that are not `seen`, each with the trial's costs, and adds them to `seen`."""
    costs = {it.name: it.of(report.measurement) for it in OBJECTIVES.values() if it.measured and it.source is None}
    new = []
    for item in report.evaluations:
        if item.index in seen:
            continue
        seen.add(item.index)
        losses = {name: getattr(item, name) for name in ("loss", "train_loss")}
        # A quality that the task does not have is not a number.
        quality = {name: getattr(item, name) for name in ("perplexity", "bits_per_byte")}
        losses |= {name: value for name, value in quality.items() if not math.isnan(value)}
        numbers = {name: float(value) for name, value in (losses | costs).items() if value is not None}
        new.append(numbers | {TIMESTEPS_TOTAL: item.tokens, TRAINING_ITERATION: item.index + 1})
    return new


def _make(name: str, run_id: str) -> LoggerCallback:
    # Imported where needed: all three are slow to import, and two are optional dependencies.
    if name == "tensorboard":
        from ray.tune.logger import TBXLoggerCallback

        return TBXLoggerCallback()
    if name == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return MLflowLoggerCallback(experiment_name=run_id)
    from ray.air.integrations.wandb import WandbLoggerCallback

    # A trial that continues after a pause continues its run.
    return WandbLoggerCallback(project="depthweave", group=run_id, resume="allow")

"""What a spec may ask of a task: its own quality columns beside any cost, and a confirmation where it has one."""

from __future__ import annotations

from collections.abc import Sequence

from depthweave.reports.store.objectives import objective
from depthweave.trainers.tasks import TASKS, task_of

DEFAULT_TASK = "language_modelling"
"""Of a spec without the key, and of every run of an earlier version."""


def default_objectives(task: object = DEFAULT_TASK) -> tuple[str, ...]:
    """Returns the objectives of a spec that names none; those of the default task where `task` is unknown."""
    name = task if isinstance(task, str) and task in TASKS else DEFAULT_TASK
    quality = task_of(name).quality
    return (quality.column, *quality.usual_costs)


def check_objectives(names: Sequence[str], *, task: str) -> None:
    """Raises `ValueError` where no objective is a quality of the task, or one is a quality of another task."""
    qualities = task_of(task).quality.columns
    allowed = " or ".join(qualities)
    if all(objective(name).cost for name in names):
        raise ValueError(f"{list(names)} are all costs, which need no training: add {allowed}")
    for name in names:
        if name in task_of(task).quality.unmeasured:
            raise ValueError(f"{name} has no meaning for the task {task}: leave it out")
        if not objective(name).cost and name not in qualities:
            raise ValueError(f"{name} is not measured by the task {task}: use {allowed}")


def check_confirms(task: str) -> None:
    """Raises `ValueError` where the models of the task cannot be confirmed with further seeds."""
    if not task_of(task).quality.confirms:
        raise ValueError(
            f"the task {task} has no confirmation, which compares losses in nats a token, or of the same draws: leave "
            "search.confirm out"
        )

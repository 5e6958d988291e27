"""The tasks that a spec can name."""

from __future__ import annotations

from collections.abc import Mapping

from depthweave.spaces.unknown_names import unknown_name
from depthweave.trainers.tasks.language_modelling import LanguageModelling
from depthweave.trainers.tasks.task import AnyTask
from depthweave.trainers.tasks.token_classification import TokenClassification

TASKS: Mapping[str, AnyTask] = {
    "language_modelling": LanguageModelling(),
    "token_classification": TokenClassification(),
}
"""Task by its name in a spec."""


def task_of(name: str) -> AnyTask:
    """Returns the task of that name. Raises a one-line `ValueError` that names the nearest known one."""
    if name in TASKS:
        return TASKS[name]
    raise ValueError(unknown_name("task", name, TASKS))

"""The tasks that a spec can name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from depthweave.trainers.tasks.language_modelling import LanguageModelling
from depthweave.trainers.tasks.task import AnyTask

TASKS: Mapping[str, AnyTask] = {
    "language_modelling": LanguageModelling(),
}
"""Task by its name in a spec."""


def task_of(name: str) -> AnyTask:
    """Returns the task of that name. Raises a one-line `ValueError` that names the nearest known one."""
    if name in TASKS:
        return TASKS[name]
    near = get_close_matches(name, TASKS, n=1, cutoff=0.0)
    raise ValueError(f"task '{name:.60}' is not known: did you mean '{near[0]}'? Known: {', '.join(TASKS)}")

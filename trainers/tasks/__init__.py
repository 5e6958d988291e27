"""What a model is trained for: the data, the loss and the quality of each task."""

from depthweave.trainers.tasks.registry import TASKS, task_of
from depthweave.trainers.tasks.task import AnyTask, DataRequest, Quality, RawData, Schedule, Task, TaskData, TaskState

__all__ = [
    "TASKS",
    "AnyTask",
    "DataRequest",
    "Quality",
    "RawData",
    "Schedule",
    "Task",
    "TaskData",
    "TaskState",
    "task_of",
]

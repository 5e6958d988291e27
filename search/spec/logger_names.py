"""The loggers that a spec may name, and checks that their packages are installed; `tune/loggers` makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from depthweave.reports.store.storage import Storage
from depthweave.spaces.unknown_names import unknown_name

LOGGERS: Mapping[str, str] = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Name in a spec, and the module that it needs; the extra of the package has the same name."""


def check_logger(name: str) -> str:
    """Returns the name; raises `ValueError`, with the nearest known one, where it is unknown."""
    if name not in LOGGERS:
        raise ValueError(unknown_name("logger", name, LOGGERS))
    return name


def check_storage(names: Sequence[str], *, storage: Storage) -> None:
    """Raises `ValueError`, one line, where a logger writes files and the run folder is object storage."""
    if "tensorboard" in names and not storage.is_local:
        raise ValueError(
            f"loggers: tensorboard writes files, but {storage.where} is object storage: leave it out "
            "(`show --watch` and `report --watch` follow a run there), or give --out on a disk"
        )


def check_installed(names: Sequence[str]) -> None:
    """Raises `ValueError`, one line, where the package of a logger is not installed."""
    for name in names:
        if find_spec(LOGGERS[name]) is None:
            raise ValueError(f"loggers: {name} is not installed: pip install 'depthweave[{name}]', or leave it out")

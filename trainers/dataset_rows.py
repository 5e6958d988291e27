"""Reads the rows of a dataset with the package `datasets`: a name on the Hugging Face hub, or a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class MissingDatasetsError(ImportError):
    """The package `datasets` is not installed."""


class RowsError(ValueError):
    """The rows cannot be read; the message is the reason, in one line."""


def load_rows(name: str, *, config: str | None = None, split: str = "train") -> Any:
    """Returns the rows of one split, from a folder of `save_to_disk` or anything that `load_dataset` takes.

    Raises `MissingDatasetsError` without the package, and `RowsError` where the rows cannot be read.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDatasetsError("the package datasets is missing; install depthweave[hub]") from None
    try:
        return _load(datasets, name=name, config=config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()
        raise RowsError(reason[0] if reason else type(error).__name__) from error


def _load(datasets: Any, *, name: str, config: str | None, split: str) -> Any:
    folder = Path(name).expanduser()
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        loaded = datasets.load_from_disk(str(folder))
        if not isinstance(loaded, datasets.DatasetDict):
            return loaded
        if split not in loaded:
            raise ValueError(f"its splits are {', '.join(loaded)}")
        return loaded[split]
    return datasets.load_dataset(str(folder) if folder.is_dir() else name, config, split=split)

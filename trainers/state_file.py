"""The file of a training's state: plain numbers, strings and tensors only, whole or absent, with a checksum beside it.

`torch.load(weights_only=True)` reads it. It is written under another name and then renamed, so it is never half there.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from depthweave.spaces.checksums import replace_with_checksum, verify_checksum


def write_state(path: str | Path, values: Mapping[str, Any]) -> None:
    """Writes the values, `format` among them. After the call the file is complete; a crash leaves the previous one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(dict(values), file)
            # Otherwise a power cut after the rename could leave an empty file.
            file.flush()
            os.fsync(file.fileno())
        replace_with_checksum(Path(scratch), path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def read_state(path: str | Path, *, version: int) -> dict[str, Any]:
    """Returns the values of a file of this format. Verifies its checksum first; raises a one-line `ValueError`."""
    path = Path(path)
    verify_checksum(path)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"checkpoint {path} does not exist; check the path") from None
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError):
        raise ValueError(f"checkpoint {path} is damaged or not a checkpoint; delete it and train again") from None
    if not isinstance(values, dict) or "format" not in values:
        raise ValueError(f"checkpoint {path} was not written by depthweave; give another file")
    if values["format"] != version:
        raise ValueError(f"checkpoint {path} has format {values['format']}, this version reads {version}; train again")
    return values


def lacking(path: str | Path, error: Exception) -> ValueError:
    """Returns the error about a file that was read but holds no whole state."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"checkpoint {path} lacks what a training needs ({reason}); train again")

"""Architectures and models as files: `architecture.yaml` and `model.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder

ARCHITECTURE_FILE = "architecture.yaml"
MODEL_FILE = "model.safetensors"


def write_architecture(
    path: str | Path, architecture: Architecture, *, pattern: Mapping[str, Any] | None = None
) -> None:
    """Write an architecture; `pattern` (dilation, period, budget) says how its wiring came about, for readers."""
    values: dict[str, Any] = {"id": architecture.id, "architecture": architecture.to_dict()}
    if pattern:
        values["pattern"] = dict(pattern)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)
    Path(path).write_text(text, encoding="utf-8")


def read_architecture(path: str | Path) -> Architecture:
    """The architecture in a file; `ValueError` names the file and the fault."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; give the {ARCHITECTURE_FILE} of an export") from None
    # ValueError: text that is not UTF-8, or a date or number out of range; RecursionError: brackets too deep.
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as YAML ({_first_line(error)})") from None
    if not isinstance(values, dict) or not isinstance(values.get("architecture"), dict):
        raise ValueError(f"{path}: has no `architecture` section; give the {ARCHITECTURE_FILE} of an export")
    try:
        return Architecture.from_dict(values["architecture"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_model(path: str | Path, model: Decoder) -> None:
    """Write a model's weights."""
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, str(path), metadata={"architecture_id": model.architecture.id})


def load(directory: str | Path) -> Decoder:
    """The model of an exported folder, in evaluation mode; `ValueError` names what is missing or does not fit."""
    directory = Path(directory)
    architecture = read_architecture(directory / ARCHITECTURE_FILE)
    path = directory / MODEL_FILE
    model = Decoder(architecture)
    try:
        with safe_open(str(path), framework="pt") as file:
            # Weights of another architecture may have the same shapes: the number of heads leaves no trace in them.
            written_for = (file.metadata() or {}).get("architecture_id", architecture.id)
        if written_for != architecture.id:
            raise ValueError(
                f"{path}: holds the weights of architecture {written_for}, while {ARCHITECTURE_FILE} beside it "
                f"describes {architecture.id}"
            )
        model.load_state_dict(load_file(str(path)))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; an exported folder holds it") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{path}: does not hold the weights of architecture {architecture.id} ({_first_line(error)})"
        ) from None
    return model.eval()


def _first_line(error: Exception) -> str:
    """What went wrong, in one line; torch names the parameter in the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__

"""Architectures and models as files: `architecture.yaml` and `model.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.checksums import SUMS_FILE, check_listed, check_plain, replace_with_sum
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.regular import NotRegularError, check_named, read_regular_text
from depthweave.spaces.saved_model import is_saved_model, load_saved, saved_architecture
from depthweave.spaces.space import Pattern
from depthweave.spaces.weights_file import check_weights
from depthweave.spaces.yaml_text import MAX_CHARACTERS, read_yaml

ARCHITECTURE_FILE = "architecture.yaml"
MODEL_FILE = "model.safetensors"

_MOST: Mapping[str, int] = {
    "depth": 10_000,
    "width": 2**20,
    "feed_forward": 2**22,
    "vocabulary": 2**24,
    "context": 2**20,
}
"""Of an architecture in a file: with more a model takes minutes to make, or no machine has room for it."""


def write_architecture(
    path: str | Path, architecture: Architecture, *, pattern: Mapping[str, Any] | None = None
) -> None:
    """Write an architecture; `pattern` (dilation, period, budget) says how its wiring came about, for readers."""
    values: dict[str, Any] = {"id": architecture.id, "architecture": architecture.to_dict()}
    if pattern:
        values["pattern"] = dict(pattern)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)
    Path(path).write_text(text, encoding="utf-8")


def architecture_file(path: Path) -> Path:
    """The architecture's file of an exported folder, or the file itself; `ValueError` where the folder's is a link."""
    if not path.is_dir():
        return path
    check_plain(path / ARCHITECTURE_FILE)
    return path / ARCHITECTURE_FILE


def read_architecture(path: str | Path) -> Architecture:
    """The architecture in a file, or of the model that transformers saved in its folder.

    Raises `ValueError` that names the file and the fault, which may be that it was changed.
    """
    path = Path(path)
    if path.name == ARCHITECTURE_FILE and (path.parent / SUMS_FILE).exists():
        check_listed(path.parent, path.name)
    saved = None if path.exists() else saved_architecture(path.parent)
    hint = f"give the {ARCHITECTURE_FILE} of an export"
    values = read_yaml_file(path, hint=hint) if saved is None else {"architecture": saved}
    if not isinstance(values.get("architecture"), dict):
        raise ValueError(f"{path}: has no `architecture` section; give the {ARCHITECTURE_FILE} of an export")
    try:
        architecture = Architecture.from_dict(values["architecture"])
        for name, most in _MOST.items():
            if getattr(architecture, name) > most:
                raise ValueError(f"architecture.{name} is {getattr(architecture, name):,}: at most {most:,} is read")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return architecture


def read_pattern(path: str | Path) -> Pattern | None:
    """The rule that made the wiring in a file; `None` where it names none. `ValueError` where it names no rule."""
    if not Path(path).exists() and saved_architecture(Path(path).parent) is not None:
        return None
    values = read_yaml_file(path, hint=f"give the {ARCHITECTURE_FILE} of an export").get("pattern")
    found = [values.get(name) for name in Pattern._fields] if isinstance(values, dict) else [None]
    if all(item is None for item in found):
        return None
    if any(isinstance(item, bool) or not isinstance(item, int) or item < 1 for item in found):
        raise ValueError(f"{path}: pattern is {values!r:.80}: it needs a dilation and a period, whole numbers from 1")
    return Pattern(*found)


def read_yaml_file(path: str | Path, *, hint: str) -> dict[Any, Any]:
    """The mapping in a YAML file of plain values; `ValueError` in one line, ending with `hint` where there is none."""
    try:
        values = read_yaml(read_regular_text(path, max_characters=MAX_CHARACTERS + 1))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; {hint}") from None
    except NotRegularError as error:
        raise ValueError(f"{error}; {hint}") from None
    # ValueError: no YAML, or text that is not UTF-8.
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as YAML ({_first_line(error)})") from None
    return values if isinstance(values, dict) else {}


def save_model(path: str | Path, model: Decoder, *, with_sum: bool = False) -> None:
    """Write a model's weights; `with_sum`: their sum beside them, as a run keeps them."""
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_weights(path, weights, architecture_id=model.architecture.id, with_sum=with_sum)


def save_weights(
    path: str | Path, weights: Mapping[str, Tensor], *, architecture_id: str, with_sum: bool = False
) -> None:
    """Write weights that are contiguous and on the CPU: the file is whole or not there, also over one being read."""
    path = Path(path)
    scratch = path.with_name(f".{path.name}.new")
    # Hugging Face reads no file that does not say its format.
    save_file(dict(weights), str(scratch), metadata={"architecture_id": architecture_id, "format": "pt"})
    # It writes for the owner alone; weights are read as every other file.
    scratch.chmod(0o644)
    if with_sum:
        replace_with_sum(scratch, path)
    else:
        scratch.replace(path)


def load(directory: str | Path) -> Decoder:
    """The model of an exported folder, or of one that transformers saved, in evaluation mode.

    Raises `ValueError` that names what is missing or does not fit.
    """
    check_named(directory, what="folder")
    directory = Path(directory)
    if is_saved_model(directory):
        return load_saved(directory)
    for name in (ARCHITECTURE_FILE, MODEL_FILE):
        check_listed(directory, name)
    architecture = read_architecture(directory / ARCHITECTURE_FILE)
    path = directory / MODEL_FILE
    try:
        check_weights(path, architecture)
        model = Decoder(architecture)
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

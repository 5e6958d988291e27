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
from depthweave.spaces.checksums import CHECKSUMS_FILE, check_listed, check_plain, replace_with_checksum
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.model_files import ARCHITECTURE_FILE, MODEL_FILE
from depthweave.spaces.regular import NotRegularError, check_named, read_regular_text
from depthweave.spaces.saved_model import is_saved_model, load_saved, saved_architecture
from depthweave.spaces.weights_file import check_weights
from depthweave.spaces.wiring_rules import WiringRule, strided_rule
from depthweave.spaces.wiring_text import parse_rule
from depthweave.spaces.yaml_text import MAX_CHARACTERS, read_yaml

_MOST: Mapping[str, int] = {
    "depth": 10_000,
    "width": 2**20,
    "feed_forward": 2**22,
    "vocabulary": 2**24,
    "context": 2**20,
}
"""Limits of an architecture in a file: a larger model takes minutes to build, or fits no machine."""


def write_architecture(
    path: str | Path, architecture: Architecture, *, rule: WiringRule | None = None, budget: int | None = None
) -> None:
    """Writes an architecture; `rule` tells readers what made its wiring, `budget` what it was fitted to."""
    values: dict[str, Any] = {"id": architecture.id, "architecture": architecture.to_dict()}
    pattern = {"rule": None if rule is None else rule.text, "budget": budget}
    if any(value is not None for value in pattern.values()):
        values["pattern"] = {name: value for name, value in pattern.items() if value is not None}
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)
    Path(path).write_text(text, encoding="utf-8")


def architecture_file(path: Path) -> Path:
    """Returns the architecture's file of an exported folder, or the file itself. `ValueError` if it is a link."""
    if not path.is_dir():
        return path
    check_plain(path / ARCHITECTURE_FILE)
    return path / ARCHITECTURE_FILE


def read_architecture(path: str | Path) -> Architecture:
    """Returns the architecture in a file, or of the model that transformers saved in its folder.

    Raises `ValueError` that names the file and the fault, for example that the file was changed.
    """
    path = Path(path)
    if path.name == ARCHITECTURE_FILE and (path.parent / CHECKSUMS_FILE).exists():
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


def read_rule(path: str | Path) -> WiringRule | None:
    """Returns the rule that made the wiring in a file, if it has one. `ValueError` if the rule is invalid.

    The file has it as `pattern: {rule: first:2}`; one of an earlier version as `pattern: {dilation: 4, period: 1}`.
    """
    if not Path(path).exists() and saved_architecture(Path(path).parent) is not None:
        return None
    values = read_yaml_file(path, hint=f"give the {ARCHITECTURE_FILE} of an export").get("pattern")
    if not isinstance(values, dict):
        return None
    if values.get("rule") is not None:
        try:
            return parse_rule(values["rule"])
        except ValueError as error:
            raise ValueError(f"{path}: pattern.rule: {error}") from None
    stride = [values.get(name) for name in ("dilation", "period")]
    if all(item is None for item in stride):
        return None
    if any(isinstance(item, bool) or not isinstance(item, int) or item < 1 for item in stride):
        raise ValueError(f"{path}: pattern is {values!r:.80}: it needs a dilation and a period, whole numbers from 1")
    return strided_rule(values["dilation"], values["period"])


def read_yaml_file(path: str | Path, *, hint: str) -> dict[Any, Any]:
    """Returns the mapping in a YAML file of plain values; `ValueError` in one line, which may end with `hint`."""
    try:
        values = read_yaml(read_regular_text(path, max_characters=MAX_CHARACTERS + 1))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; {hint}") from None
    except NotRegularError as error:
        raise ValueError(f"{error}; {hint}") from None
    # ValueError: invalid YAML, or text that is not UTF-8.
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as YAML ({_first_line(error)})") from None
    return values if isinstance(values, dict) else {}


def save_model(path: str | Path, model: Decoder, *, with_checksum: bool = False) -> None:
    """Writes a model's weights; `with_checksum` writes their checksum beside them, as a run keeps them."""
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_weights(path, weights, architecture_id=model.architecture.id, with_checksum=with_checksum)


def save_weights(
    path: str | Path, weights: Mapping[str, Tensor], *, architecture_id: str, with_checksum: bool = False
) -> None:
    """Writes contiguous weights that are on the CPU. The file appears whole, also over one that is being read."""
    path = Path(path)
    scratch = path.with_name(f".{path.name}.new")
    # Hugging Face refuses a file without its format.
    save_file(dict(weights), str(scratch), metadata={"architecture_id": architecture_id, "format": "pt"})
    # safetensors gives permissions to the owner only; weights get those of every other file.
    scratch.chmod(0o644)
    if with_checksum:
        replace_with_checksum(scratch, path)
    else:
        scratch.replace(path)


def load(directory: str | Path) -> Decoder:
    """Returns the model of an exported folder, or of one that transformers saved, in evaluation mode.

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
    """Returns the error in one line; torch names the parameter in its second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__

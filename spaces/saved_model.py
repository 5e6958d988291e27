"""Reads folders of models that transformers saved (`save_pretrained`, for example after fine-tuning).

Such a folder has `config.json` and weights under names with a prefix, and no `architecture.yaml`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.model_files import MODEL_FILE

CONFIG_FILE = "config.json"

_PREFIX = "decoder."
_MAX_BYTES = 10**6
"""Limit of a `config.json`; a site of a thousand sources has five thousand characters."""
_MAX_CONTEXT = 2**20
_OTHER_FORMATS = {
    "adapter_config.json": "holds an adapter alone: save model.merge_and_unload() with save_pretrained",
    f"{MODEL_FILE}.index.json": 'holds weights in several files: save it with max_shard_size="100GB"',
    "pytorch_model.bin": "holds weights as a pickle, which is not read: save it with transformers 4.57 or later",
}


def is_saved_model(folder: Path) -> bool:
    """Returns whether the weights of a folder are those of transformers, or should be, instead of ours."""
    path = folder / MODEL_FILE
    if not (folder / CONFIG_FILE).is_file() and not (folder / "adapter_config.json").is_file():
        return False
    if not path.is_file():
        return any((folder / name).is_file() for name in _OTHER_FORMATS)
    try:
        with safe_open(str(path), framework="pt") as file:
            return "architecture_id" not in (file.metadata() or {}) and any(
                name.startswith(_PREFIX)
                for name in file.keys()  # noqa: SIM118  # no mapping
            )
    # The reader of our own weights reports the fault.
    except Exception:
        return False


def saved_architecture(folder: Path) -> dict[str, Any] | None:
    """Returns the shape in a `config.json`, as `Architecture.from_dict` reads it; `None` if it is not one of ours.

    Raises `ValueError` if it is damaged, or the folder has no complete model.
    """
    for name, advice in _OTHER_FORMATS.items():
        if (folder / name).is_file() and not (folder / MODEL_FILE).is_file():
            raise ValueError(f"{folder}: {advice}")
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({str(error)[:80]})") from None
    if not isinstance(values, dict) or values.get("model_type") != "depthweave":
        return None
    names = {
        "fusion": "fusion",
        "depth": "num_hidden_layers",
        "sites": "sites",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "vocabulary": "vocab_size",
        "context": "max_position_embeddings",
    }
    missing = [theirs for theirs in names.values() if theirs not in values]
    if missing:
        raise ValueError(f"{path}: has no {missing[0]}: save the model with save_pretrained")
    return {ours: values[theirs] for ours, theirs in names.items()} | {"block": values.get("block", "gpt")}


def load_saved(folder: Path) -> Decoder:
    """Returns the model of such a folder, float32, in evaluation mode; `ValueError` names what does not fit."""
    values = saved_architecture(folder)
    path = folder / MODEL_FILE
    if values is None:
        raise ValueError(f"{folder / CONFIG_FILE}: is not of a Depthweave model, whose weights are beside it")
    try:
        architecture = Architecture.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE}: {error}") from None
    try:
        weights = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(str(path)).items()}
    except Exception as error:
        raise ValueError(f"{path}: cannot be read ({str(error)[:80]})") from None
    _check_sizes(weights, architecture, where=path)
    model = Decoder(architecture)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        line = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise ValueError(f"{path}: does not hold the weights that {CONFIG_FILE} describes ({line[:200]})") from None
    return model.eval()


def _check_sizes(weights: dict[str, Tensor], architecture: Architecture, *, where: Path) -> None:
    """Raises `ValueError` if the weights have other sizes, before a model is built."""
    a = architecture
    shapes = {
        "embedding.weight": (a.vocabulary, a.width),
        f"blocks.{a.depth - 1}.feed_forward.into.weight": (a.feed_forward, a.width),
    }
    for name, shape in shapes.items():
        held = tuple(weights[name].shape) if name in weights else None
        if held != shape:
            raise ValueError(f"{where}: {name} has the shape {held}, {CONFIG_FILE} says {shape}")
    if a.context > _MAX_CONTEXT:
        raise ValueError(f"{CONFIG_FILE} beside {where}: a context of {a.context:,}; at most {_MAX_CONTEXT:,} is read")

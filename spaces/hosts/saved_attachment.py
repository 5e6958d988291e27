"""Attached fusions in folders: written alone, and attached again from a folder of either kind.

`save_pretrained` of transformers writes a fusion with the host: its weights among the others, its description in
`config.json`. `save_fusion` writes the fusion alone, for hosts without a configuration and for frozen ones, as one file
whose header holds the description.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from depthweave.spaces.fusions import Fusion
from depthweave.spaces.hosts.attachable import check_attachable, make_fusion
from depthweave.spaces.hosts.attached_layers import MODULE_NAME
from depthweave.spaces.hosts.attaching import attachment_in, check_free, check_layers_free, host_of, install
from depthweave.spaces.hosts.description import AttachedFusion, read_description
from depthweave.spaces.hosts.layer_lists import LayerList, find_layers, width_of
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.regular import check_named, check_regular, read_regular_text

FUSION_FILE = "depthweave.safetensors"
_CONFIG_FILE = "config.json"
_INDEX_FILE = f"{MODEL_FILE}.index.json"
_MAX_CHARACTERS = 10**8
"""Limit of a JSON file; the index of a model of a hundred thousand tensors has 10 MB."""
_ADVICE = "give a folder that save_pretrained of a model with an attached fusion, or save_fusion, has written"


class _Saved(NamedTuple):
    """A fusion in a folder."""

    described: AttachedFusion
    weights: dict[str, Tensor]
    where: Path
    """The file to name in errors."""


def save_fusion(model: nn.Module, folder: str | Path) -> Path:
    """Writes the attached fusion alone, `depthweave.safetensors`, from which `restore` attaches it again.

    With PEFT's `modules_to_save` it is the active adapter's. Returns the file. Raises `ValueError` if there is none.
    """
    host = host_of(model)
    attachment = attachment_in(host)
    check_named(folder, what="folder")
    path = Path(folder) / FUSION_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    # A bound method knows the fusion behind what PEFT has put into its place.
    fusion = attachment.fusion.open.__self__  # type: ignore[attr-defined]
    weights = {name: weight.detach().contiguous().cpu() for name, weight in fusion.state_dict().items()}
    scratch = path.with_name(f".{path.name}.new")
    metadata = {"format": "pt", MODULE_NAME: json.dumps(attachment.described.to_dict())}
    save_file(weights, str(scratch), metadata=metadata)
    # safetensors gives permissions to the owner only; weights get those of every other file.
    scratch.chmod(0o644)
    scratch.replace(path)
    return path


def restore(model: nn.Module, folder: str | Path) -> Fusion:
    """Attaches the fusion of a saved folder to a model, with its weights, and returns it.

    `folder` was written by `save_fusion`, which is read first, or by `save_pretrained` of a model with an attached
    fusion, in one or several safetensors files; `model` is the host, for example from `from_pretrained(folder)`. Raises
    `ValueError`, one line, if the folder has no fusion, or one that does not fit the model: nothing is attached then.
    """
    host = host_of(model)
    check_free(host)
    saved = _read(folder)
    described = saved.described
    found = _layers(host, saved)
    check_layers_free(found)
    try:
        check_attachable(described.fusion, described.wiring)
    except ValueError as error:
        raise ValueError(f"{saved.where}: {error}") from None
    fusion = make_fusion(described.fusion, described.wiring, described.width, seed=0)
    _load(fusion, saved)
    install(host, found, fusion, described)
    return fusion


def _read(folder: str | Path) -> _Saved:
    check_named(folder, what="folder")
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; {_ADVICE}")
    if (folder / FUSION_FILE).exists():
        return _read_alone(folder / FUSION_FILE)
    config = folder / _CONFIG_FILE
    if not config.exists():
        adapter = "holds an adapter: attach the fusion as before it was trained, then load the adapter"
        advice = adapter if (folder / "adapter_config.json").exists() else f"has no {FUSION_FILE}; {_ADVICE}"
        raise ValueError(f"{folder}: {advice}")
    values = _read_json(config)
    if MODULE_NAME not in values:
        raise ValueError(f"{config}: describes no attached fusion; {_ADVICE}")
    described = read_description(values[MODULE_NAME], where=f"{config}: {MODULE_NAME}")
    weights: dict[str, Tensor] = {}
    owners: set[str] = set()
    for path, names in _weight_files(folder):
        for name, tensor in _read_tensors(path, names).items():
            owner, _, own = name.rpartition(f"{MODULE_NAME}.")
            owners.add(owner)
            weights[own] = tensor
    if len(owners) > 1:
        raise ValueError(f"{folder}: has fusions of {len(owners)} models: save the model that one is attached to")
    return _Saved(described, weights, folder)


def _read_alone(path: Path) -> _Saved:
    check_regular(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(MODULE_NAME, "null")
        values = json.loads(text)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read ({_one_line(error)})") from None
    return _Saved(read_description(values, where=f"{path}: {MODULE_NAME}"), _read_tensors(path, None), path)


def _weight_files(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yields the files of a folder with weights of a fusion, and their names in each."""
    index = folder / _INDEX_FILE
    if (folder / MODEL_FILE).exists() or not index.exists():
        path = folder / MODEL_FILE
        if not path.exists():
            raise ValueError(f"{folder}: has no {MODEL_FILE}: save the model with safe_serialization")
        yield path, _own_names(_names_in(path))
        return
    places = _read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(item, str) for item in (*places, *places.values())):
        raise ValueError(f"{index}: has no weight_map from names to files")
    files: dict[str, list[str]] = {}
    for name in _own_names(places):
        files.setdefault(places[name], []).append(name)
    for file, names in files.items():
        # No path that leads out of the folder.
        if Path(file).name != file:
            raise ValueError(f"{index}: names the file {file!r:.60}: the files are beside it")
        yield folder / file, names


def _own_names(names: Any) -> list[str]:
    return [name for name in names if name.startswith(f"{MODULE_NAME}.") or f".{MODULE_NAME}." in name]


def _names_in(path: Path) -> list[str]:
    check_regular(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys())
    except Exception as error:
        raise ValueError(f"{path}: cannot be read ({_one_line(error)})") from None


def _read_tensors(path: Path, names: list[str] | None) -> dict[str, Tensor]:
    if not path.exists():
        raise ValueError(f"{path}: no such file, and the index names it")
    check_regular(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
    except Exception as error:
        raise ValueError(f"{path}: cannot be read ({_one_line(error)})") from None


def _layers(host: nn.Module, saved: _Saved) -> LayerList:
    """Returns the layers that a saved fusion belongs between, checked against what it says of them."""
    given = saved.described.layers
    if given is None or isinstance(given, str):
        found = find_layers(host, given)
    else:
        modules = dict(host.named_modules())
        missing = [path for path in given if path not in modules]
        if missing:
            raise ValueError(f"{saved.where}: is attached to {missing[0]}, which the {type(host).__name__} lacks")
        found = find_layers(host, [modules[path] for path in given])
    depth, wanted = len(found.layers), saved.described.wiring.depth
    if depth != wanted:
        raise ValueError(
            f"{saved.where}: holds a fusion of {wanted} layers, and the {type(host).__name__} has {depth}: give the "
            "model that it was saved with"
        )
    width = saved.described.width if saved.described.width_given else width_of(host, found)
    if width != saved.described.width:
        raise ValueError(
            f"{saved.where}: holds a fusion of width {saved.described.width}, and the {type(host).__name__} has "
            f"{width}: give the model that it was saved with"
        )
    return found


def _load(fusion: Fusion, saved: _Saved) -> None:
    """Gives a fusion its saved weights; `ValueError` names the first that does not fit."""
    wanted = {name: tuple(weight.shape) for name, weight in fusion.state_dict().items()}
    held = {name: tuple(weight.shape) for name, weight in saved.weights.items()}
    described = f"{saved.described.fusion} of {saved.described.wiring.depth} layers"
    for name in sorted(wanted.keys() ^ held.keys()):
        fault = "is missing" if name in wanted else "is too many"
        raise ValueError(f"{saved.where}: does not hold the weights of {described}: {MODULE_NAME}.{name} {fault}")
    for name, shape in wanted.items():
        if held[name] != shape:
            raise ValueError(
                f"{saved.where}: {MODULE_NAME}.{name} has the shape {list(held[name])}, and {described} has "
                f"{list(shape)}"
            )
    with torch.no_grad():
        fusion.load_state_dict(saved.weights)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_regular_text(path, max_characters=_MAX_CHARACTERS))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({_one_line(error)})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: is no JSON object")
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:80]

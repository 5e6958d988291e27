"""Finds the list of layers of a model, and the width of their states, without knowing the library that made it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

_USUAL_NAMES = ("layers", "layer", "h", "blocks", "block")
"""Last names of lists of layers: `model.layers`, `transformer.h`, `encoder.layer`, `gpt_neox.layers`, ..."""
_WIDTH_NAMES = ("hidden_size", "d_model", "n_embd", "embed_dim")
_SHOWN = 6
"""Most lists that a message names."""

Layers = str | Sequence[nn.Module] | nn.ModuleList | nn.Sequential
"""A list of layers, or the path of one in its model."""


class LayerList(NamedTuple):
    """The layers of a model, in the order in which they run."""

    layers: tuple[nn.Module, ...]
    paths: tuple[str, ...]
    """The path of each in the model."""
    path: str | None
    """The path of the list whose items they are, all of them; `None` if there is none."""


def find_layers(model: nn.Module, given: Layers | None = None) -> LayerList:
    """Returns the layers of a model: those that are given, or those of its one list with a usual name.

    Raises `ValueError`, one line that names the lists there are.
    """
    if isinstance(given, str):
        try:
            given = list(model.get_submodule(given).children())
        except AttributeError:
            raise ValueError(
                f"layers is {given!r}, which is no part of {_kind(model)}: {_choice(_lists(model))}"
            ) from None
    if given is not None:
        return _checked(model, list(given))
    lists = _lists(model)
    usual = [path for path, found in lists.items() if path.rpartition(".")[2] in _USUAL_NAMES]
    # A sequence calls its layers itself, as in models of images. Most sequences are something else.
    usual = [path for path in usual if isinstance(lists[path], nn.ModuleList)] or usual
    # A list of layers inside a layer, such as experts, is not the model's.
    outer = [path for path in usual if not any(path.startswith(f"{other}.") for other in usual)]
    if len(outer) != 1:
        found = {path: lists[path] for path in outer} or lists
        problem = f"has {len(outer)} lists of layers" if outer else "has no list of layers with a usual name"
        raise ValueError(f"{_kind(model)} {problem}: {_choice(found)}")
    return _checked(model, list(lists[outer[0]].children()))


def width_of(model: nn.Module, layers: LayerList) -> int:
    """Returns the width of the states between the layers, from the first layer or the configuration.

    Raises `ValueError` if neither says it.
    """
    first = layers.layers[0]
    gains = [getattr(item, "weight", None) for item in first.modules() if "norm" in type(item).__name__.lower()]
    norms = {len(gain) for gain in gains if isinstance(gain, Tensor) and gain.ndim == 1}
    found: list[int] = [*_numbers(first), *(norms if len(norms) == 1 else ()), *_numbers(_text_config(model))]
    if not found:
        raise ValueError(f"the width of the states of {_kind(model)} is not known: give width=, such as width=768")
    return found[0]


def _checked(model: nn.Module, layers: Sequence[Any]) -> LayerList:
    names = {id(module): name for name, module in model.named_modules()}
    for layer in layers:
        if id(layer) not in names:
            raise ValueError(
                f"layers has a {type(layer).__name__} that is no part of {_kind(model)}: {_choice(_lists(model))}"
            )
    if not layers:
        raise ValueError(f"layers is empty: {_choice(_lists(model))}")
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError("layers has the same layer twice: layers that share weights cannot be told apart")
    paths = tuple(names[id(layer)] for layer in layers)
    owner = paths[0].rpartition(".")[0]
    items = [id(item) for item in model.get_submodule(owner).children()]
    return LayerList(tuple(layers), paths, owner if items == [id(layer) for layer in layers] else None)


def _lists(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the lists of modules in a model by path, the outermost first."""
    kinds = (nn.ModuleList, nn.Sequential)
    found = {path: module for path, module in model.named_modules() if isinstance(module, kinds) and len(module)}
    return dict(sorted(found.items(), key=lambda item: item[0].count(".")))


def _choice(lists: dict[str, nn.Module]) -> str:
    shown = [f"{path} ({_contents(found)})" for path, found in lists.items() if path][:_SHOWN]
    if not shown:
        return "give layers=[...], the modules that run one after the other"
    return f"give layers= the path of one, or a list of modules; there are {', '.join(shown)}"


def _contents(found: nn.Module) -> str:
    items = list(found.children())
    kinds = list(dict.fromkeys(type(item).__name__ for item in items))
    return f"{len(items)} {kinds[0]}" if len(kinds) == 1 else f"{len(items)} modules"


def _kind(model: nn.Module) -> str:
    return f"the {type(model).__name__}"


def _text_config(model: nn.Module) -> Any:
    """Returns the configuration of a model, that of its texts if it also has others."""
    config = getattr(model, "config", None)
    text_config = getattr(config, "get_text_config", None)
    return text_config() if callable(text_config) else config


def _numbers(owner: object) -> Iterable[int]:
    for name in _WIDTH_NAMES:
        value = getattr(owner, name, None)
        if type(value) is int and value > 0:
            yield value

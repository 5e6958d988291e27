"""Puts a fusion between the layers of an existing model, and takes it away again.

The host's layers run one after the other and hand on one tensor of states. The input of the first is state 0, the
output of layer i is state i, and a site after layer i changes what layer i+1 reads, or the final norm after the last.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from depthweave.spaces.fusions import Fusion, fusion_class
from depthweave.spaces.hosts.attachable import check_attachable, make_fusion
from depthweave.spaces.hosts.attached_layers import (
    MODULE_NAME,
    Attachment,
    attach_layer,
    attachment_of,
    detach_layer,
)
from depthweave.spaces.hosts.description import AttachedFusion
from depthweave.spaces.hosts.layer_lists import LayerList, Layers, find_layers, width_of
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_text import parse_rule


def attach(
    model: nn.Module,
    fusion: str,
    wiring: Wiring | str,
    *,
    layers: Layers | None = None,
    width: int | None = None,
    seed: int = 0,
) -> Fusion:
    """Puts a fusion between the layers of a model and returns it; it is `model.depthweave`, a module of the model.

    `wiring` is a wiring over the layers or a rule's text, such as `4x5`, `first:2` or `1xdepth`. `layers`, a list of
    modules or its path, is needed where the model has no list, or several, with a usual name; `width`, the size of a
    state, where neither the layers nor a configuration say it.

    The model computes what it did until the fusion is trained. First weights depend on the seed alone. They are float32
    (float64 in such a model), also if the model is of half precision; its states and their sums then stay in its type.
    All of the fusion's parameters are trained; `connection_parameters()` are meant to have no weight decay.

    Raises `ValueError`, one line, for a fusion that cannot be attached, layers that are not found, a wiring of another
    depth, and a model that has an attached fusion.
    """
    host = host_of(model)
    check_free(host)
    found = find_layers(host, layers)
    check_layers_free(found)
    described = _described(host, found, fusion, wiring, width=width, given=layers is not None)
    made = make_fusion(fusion, described.wiring, described.width, seed=seed)
    install(host, found, made, described)
    return made


def detach(model: nn.Module) -> None:
    """Makes a model plain again, without its fusion. Raises `ValueError` if it has none."""
    host = host_of(model)
    attachment = attachment_in(host)
    for module in host.modules():
        if attachment_of(module) is attachment:
            detach_layer(module)
    delattr(host, MODULE_NAME)
    config = _config(host)
    if config is not None and hasattr(config, MODULE_NAME):
        delattr(config, MODULE_NAME)


def host_of(model: nn.Module) -> nn.Module:
    """Returns the model that a fusion is attached to: inside `torch.compile` and an adapter of PEFT.

    Raises `ValueError` for what a fusion cannot be a part of.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}: give a torch module")
    if isinstance(model, (nn.Sequential, nn.ModuleList)):
        raise ValueError(f"model is a {type(model).__name__} itself: give the module that holds it")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise ValueError(f"attach the fusion before {type(model).__name__}, which has to know its parameters")
    compiled = getattr(model, "_orig_mod", model)
    adapted = getattr(compiled, "get_base_model", None)
    host = adapted() if callable(adapted) else compiled
    assert isinstance(host, nn.Module)
    return host


def attachment_in(host: nn.Module) -> Attachment:
    """Returns the attachment of a host. Raises `ValueError` if it has none."""
    for module in host.modules():
        attachment = attachment_of(module)
        if attachment is not None and attachment.host is host:
            return attachment
    raise ValueError(f"the {type(host).__name__} has no attached fusion: attach one first")


def check_free(host: nn.Module) -> None:
    """Raises `ValueError` if a fusion is attached to the host, or its name is taken."""
    if isinstance(getattr(host, MODULE_NAME, None), nn.Module):
        raise ValueError(f"the {type(host).__name__} has an attached fusion: detach it first")
    if hasattr(host, MODULE_NAME):
        raise ValueError(f"the {type(host).__name__} has an attribute {MODULE_NAME!r}, the name of an attached fusion")


def check_layers_free(found: LayerList) -> None:
    """Raises `ValueError` if a fusion is attached to the same layers through another model."""
    for layer, path in zip(found.layers, found.paths, strict=True):
        attachment = attachment_of(layer)
        if attachment is not None:
            raise ValueError(
                f"{path} is a layer of a {type(attachment.host).__name__} with an attached fusion: detach that first"
            )


def install(host: nn.Module, found: LayerList, fusion: Fusion, described: AttachedFusion) -> None:
    """Makes a fusion a module of the host, its layers call it, and the host's configuration describe it."""
    weight = _floating(found.layers[0])
    if weight is not None:
        fusion.to(device=weight.device, dtype=torch.float64 if weight.dtype == torch.float64 else torch.float32)
    fusion.train(host.training)
    attachment = Attachment(host, described)
    for number, layer in enumerate(found.layers, start=1):
        attach_layer(layer, attachment, number)
    host.add_module(MODULE_NAME, fusion)
    config = _config(host)
    if config is not None:
        setattr(config, MODULE_NAME, described.to_dict())


def _described(
    host: nn.Module, found: LayerList, fusion: str, wiring: Wiring | str, *, width: int | None, given: bool
) -> AttachedFusion:
    depth = len(found.layers)
    made = wiring if isinstance(wiring, Wiring) else parse_rule(wiring).wiring(depth)
    if made.depth != depth:
        raise ValueError(
            f"wiring is one of {made.depth} blocks, and the {type(host).__name__} has {depth} layers: give a wiring of "
            f"{depth} blocks, or a rule such as '4x5'"
        )
    check_attachable(fusion, made)
    canonical = fusion_class(fusion).canonical_wiring(made)
    if not canonical.sites and fusion != "none":
        raise ValueError(f"wiring {wiring!r:.60} leaves {fusion} no site that reads an earlier state: give another")
    return AttachedFusion(
        fusion=fusion,
        wiring=canonical,
        width=width_of(host, found) if width is None else width,
        width_given=width is not None,
        rule=wiring if isinstance(wiring, str) else None,
        layers=(found.paths if found.path is None else found.path) if given else None,
    )


def _floating(layer: nn.Module) -> torch.Tensor | None:
    """Returns a weight of a layer whose device and type the fusion follows."""
    weights = [weight for weight in layer.parameters() if weight.is_floating_point()]
    # Offloaded weights have no device of their own.
    return next((weight for weight in weights if weight.device.type != "meta"), None)


def _config(host: nn.Module) -> Any:
    """Returns the configuration that `save_pretrained` writes with a host's weights; `None` if it has none."""
    config = getattr(host, "config", None)
    return config if callable(getattr(config, "to_dict", None)) else None

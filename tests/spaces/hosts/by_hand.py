"""Runs a host's layers by hand and computes each site from its paper's formula: the slow reference of `attach`.

Axes: B batch, T tokens, D width, S sources of a site.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.wiring import Wiring

Weights = Mapping[str, Tensor]


def _dwa(weights: Weights, block: int, states: list[Tensor]) -> Tensor:
    shares_S = weights[f"weights.{block}"]
    return torch.stack([share * state for share, state in zip(shares_S, states, strict=True)]).sum(dim=0)


def _concat(weights: Weights, block: int, states: list[Tensor]) -> Tensor:
    maps_SDD = weights[f"maps.{block}"]
    whole = torch.cat(list(maps_SDD), dim=0)
    return states[-1] + torch.cat(states, dim=-1) @ whole


def _dwatt(weights: Weights, block: int, states: list[Tensor]) -> Tensor:
    own = {name.removeprefix(f"sites.{block}."): weight for name, weight in weights.items()}
    width = states[-1].shape[-1]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), own[f"{name}.weight"], own[f"{name}.bias"])

    def f(x: Tensor, name: str) -> Tensor:
        inner = F.gelu(F.linear(x, own[f"{name}.into.weight"], own[f"{name}.into.bias"]))
        return F.linear(norm(inner, f"{name}.norm"), own[f"{name}.out.weight"], own[f"{name}.out.bias"])

    query_BTD = 1 + F.elu(states[-1] + f(states[-1], "query"))
    keys_SD = own["positions_SK"] @ own["key_KD"]
    shares_BTS = torch.softmax(query_BTD @ keys_SD.T / math.sqrt(width), dim=-1)
    values = [norm(f(state, f"values.{place}"), f"value_norms.{place}") for place, state in enumerate(states)]
    return states[-1] + (shares_BTS.unsqueeze(-1) * torch.stack(values, dim=-2)).sum(dim=-2)


def _mudd(weights: Weights, block: int, states: list[Tensor]) -> Tensor:
    own = {name.removeprefix(f"sites.{block}."): weight for name, weight in weights.items()}
    rms_BT1 = (states[-1].square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    shares_BTS = F.gelu(states[-1] / rms_BT1 @ own["into_DK"]) @ own["out_KK"] + own["static_CS"][0]
    return (shares_BTS.unsqueeze(-1) * torch.stack(states, dim=-2)).sum(dim=-2)


_FORMULAS: dict[str, Callable[[Weights, int, list[Tensor]], Tensor]] = {
    "dwa": _dwa,
    "concat": _concat,
    "dwatt": _dwatt,
    "mudd": _mudd,
}


@torch.no_grad()
def logits_by_hand(
    plain: nn.Module, layers: nn.ModuleList, fusion: str, weights: Weights, wiring: Wiring, inputs: dict[str, Any]
) -> Tensor:
    """Returns the logits of a plain model whose layers are called one by one, with the sites between them."""
    called: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        called.append((args, kwargs))

    handles = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    plain(**inputs)
    for handle in handles:
        handle.remove()
    state_BTD = called[0][0][0]
    states, sources = [state_BTD], dict(wiring.sites)
    for number, (layer, (args, kwargs)) in enumerate(zip(layers, called, strict=True), start=1):
        output = layer(state_BTD, *args[1:], **kwargs)
        states.append(output[0] if isinstance(output, tuple) else output)
        state_BTD = states[-1]
        if number in sources:
            state_BTD = _FORMULAS[fusion](weights, number, [states[source] for source in sources[number]])
    # The rest of the model, its final norm and head, is its own.
    replaced = layers[-1].register_forward_hook(lambda _module, _args, _output: state_BTD)
    logits: Tensor = plain(**inputs).logits
    replaced.remove()
    return logits

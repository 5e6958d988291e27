"""Low-rank adapters of a host's linear layers, the only weights of the host that are then trained.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, by the package peft.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

RANK = 8
"""Rank of an adapter, the paper's usual one."""


def add_lora(model: nn.Module, *, seed: int) -> None:
    """Adds adapters to all linear layers of the model, in place, and freezes its own weights.

    The model computes what it did until they are trained. They are drawn from the seed; the global random state is left
    as it was. Raises a one-line `ValueError` without the package peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ValueError(
            "host.weights is lora, which needs the package peft: `pip install peft`, or use frozen or full"
        ) from None
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules="all-linear",
        # No state of a token depends on it.
        exclude_modules=r"pooler\..*",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # GPT-2 has its matrices transposed; peft sees it, and says so.
        warnings.filterwarnings("ignore", message=".*fan_in_fan_out")
        warnings.filterwarnings("ignore", message=".*exclude_modules")
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def merged(model: nn.Module) -> nn.Module:
    """Returns a copy of the model with its adapters added to its own weights; it computes the same without peft."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = copy.deepcopy(model)
    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    return model

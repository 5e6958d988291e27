"""Weights that are offloaded until the module that owns them is called, and models on several devices.

Libraries that offload (accelerate, for one) wrap each module's `forward`: weights come before and are gone after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from depthweave.spaces import FUSIONS, Architecture, Decoder, Wiring, generate, strided_wiring

_TOKENS_BT = (torch.arange(24) * 7 % 29).view(2, 12)


def _model(fusion: str, wiring: Wiring) -> Decoder:
    architecture = Architecture(
        fusion=fusion, wiring=wiring, width=16, heads=2, feed_forward=24, vocabulary=29, context=24
    )
    model = Decoder(architecture, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.eval()


def _offload(model: nn.Module) -> None:
    """Every parameter and buffer is without storage but inside the forward of the module that holds it."""
    for module in model.modules():
        held = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        if held:
            module.forward = _bringing(module, held, module.forward)  # type: ignore[method-assign]


def _bringing(module: nn.Module, held: dict[str, Tensor], forward: Callable[..., Any]) -> Callable[..., Any]:
    kept = {name: tensor.detach().clone() for name, tensor in held.items()}

    def place(*, there: bool) -> None:
        for name, tensor in kept.items():
            store = module._parameters if name in module._parameters else module._buffers
            moved = tensor.clone() if there else tensor.to("meta")
            store[name] = nn.Parameter(moved) if name in module._parameters else moved

    def called(*args: Any, **options: Any) -> Any:
        place(there=True)
        try:
            return forward(*args, **options)
        finally:
            place(there=False)

    place(there=False)
    return called


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("pattern", [(1, 1), (2, 3)])
def test_offloaded_weights_give_the_same_numbers(fusion: str, pattern: tuple[int, int]) -> None:
    model = _model(fusion, strided_wiring(12, dilation=pattern[0], period=pattern[1]))
    with torch.no_grad():
        logits, text = model(_TOKENS_BT), generate(model, _TOKENS_BT[:, :4], num_tokens=6)
    weights = model.connection_weights(_TOKENS_BT)
    _offload(model)
    with torch.no_grad():
        assert torch.equal(model(_TOKENS_BT), logits)
        assert torch.equal(generate(model, _TOKENS_BT[:, :4], num_tokens=6), text)
    assert model.connection_weights(_TOKENS_BT) == weights


def test_head_is_not_seen_by_hooks_on_the_embedding() -> None:
    # Noise on embeddings (NEFTune) would else be on the logits too.
    model, seen = _model("none", Wiring(2)), []
    model.embedding.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    model(_TOKENS_BT)
    assert seen == [(2, 12, 16)]


@pytest.mark.gpu
@pytest.mark.parametrize("fusion", FUSIONS)
def test_model_on_two_devices_sums_states_of_both(fusion: str) -> None:
    model = _model(fusion, strided_wiring(12))
    expected = model(_TOKENS_BT)
    expected.sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    for module in (model.fusion, model.norm, *model.blocks[6:]):
        _place(module, torch.device("cuda", 0))
    _place(model.embedding, torch.device("cpu"))
    for block in model.blocks[:6]:
        _place(block, torch.device("cpu"))
    logits = model(_TOKENS_BT)
    torch.testing.assert_close(logits.cpu(), expected, rtol=0, atol=1e-4)
    logits.sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.cpu(), gradient, rtol=1e-3, atol=1e-3)


def _place(module: nn.Module, device: torch.device) -> None:
    """The module is on a device, and so is what it or any part of it is called with."""

    def bringing(forward: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            args, options = tree_map(lambda it: it.to(device) if isinstance(it, Tensor) else it, (args, options))
            return forward(*args, **options)

        return called

    module.to(device)
    for part in module.modules():
        part.forward = bringing(part.forward)  # type: ignore[method-assign]

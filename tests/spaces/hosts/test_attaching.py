"""Fusions attached to models of transformers: the plain model at the start, and the layers run by hand afterwards.

Axes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.spaces import attach, detach, parse_rule
from tests.spaces.hosts.by_hand import logits_by_hand
from tests.spaces.hosts.tiny_hosts import (
    DECODERS,
    DEPTH,
    FAMILIES,
    FUSION_NAMES,
    LAYER_PATHS,
    draw,
    tiny_host,
    tokens,
)

# Earlier versions have only the name that is deprecated by now.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")


def _inputs(family: str, *, padded: bool = False) -> dict[str, Any]:
    tokens_BT = tokens()
    mask_BT = torch.ones_like(tokens_BT)
    if padded:
        tokens_BT[1, :3] = mask_BT[1, :3] = 0
    given: dict[str, Any] = {"input_ids": tokens_BT, "attention_mask": mask_BT}
    return given | ({"use_cache": False} if family in DECODERS else {})


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_attached_model_computes_exactly_what_it_did_and_is_plain_again(family: str) -> None:
    model = tiny_host(family)
    names, inputs = list(model.state_dict()), _inputs(family, padded=True)
    expected = model(**inputs).logits
    for name in FUSION_NAMES:
        fusion = attach(model, name, "1x1")
        assert torch.equal(model(**inputs).logits, expected), name
        draw(fusion)
        assert not torch.allclose(model(**inputs).logits, expected, rtol=1e-2, atol=1e-2), name
        assert [key for key in model.state_dict() if not key.startswith("depthweave.")] == names
        detach(model)
        assert torch.equal(model(**inputs).logits, expected), name
        assert list(model.state_dict()) == names
    assert "depthweave" not in model.config.to_dict()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_attached_model_equals_its_layers_run_by_hand(family: str) -> None:
    model = tiny_host(family).double()
    plain = copy.deepcopy(model)
    inputs = _inputs(family, padded=True)
    for name, rule in zip(FUSION_NAMES, ("1x1", "first:2", "1xdepth", "2x2"), strict=True):
        fusion = attach(model, name, rule)
        draw(fusion)
        weights = {key: weight.detach() for key, weight in fusion.state_dict().items()}
        layers = plain.get_submodule(LAYER_PATHS[family])
        expected = logits_by_hand(plain, layers, name, weights, parse_rule(rule).wiring(DEPTH), inputs)
        torch.testing.assert_close(model(**inputs).logits, expected, rtol=1e-9, atol=1e-9, msg=f"{name} {rule}")
        detach(model)


def _gradients(model: Any, inputs: dict[str, Any]) -> dict[str, Tensor]:
    model.zero_grad()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    return {key: parameter.grad.clone() for key, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_with_checkpointing_equal_those_without(family: str, reentrant: bool) -> None:
    model = tiny_host(family).train()
    inputs = _inputs(family)
    for name in FUSION_NAMES:
        fusion = attach(model, name, "1x1")
        draw(fusion, std=0.1)
        expected = _gradients(model, inputs)
        assert {key for key in expected if key.startswith("depthweave.")} == {
            f"depthweave.{key}" for key, _ in fusion.named_parameters()
        }
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        found = _gradients(model, inputs)
        model.gradient_checkpointing_disable()
        assert found.keys() == expected.keys()
        for key, gradient in expected.items():
            torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-7, msg=f"{name} {key}")
        detach(model)


@pytest.mark.parametrize("family", DECODERS)
@torch.no_grad()
def test_generation_with_the_cache_equals_that_without(family: str) -> None:
    model = tiny_host(family)
    for name in FUSION_NAMES:
        draw(attach(model, name, "1x2"))
        prompt_BT = tokens(2, 4)
        options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(prompt_BT)}
        cached = model.generate(prompt_BT, use_cache=True, **options)
        assert cached.shape == (2, 12)
        assert torch.equal(cached, model.generate(prompt_BT, use_cache=False, **options)), name
        assert torch.equal(
            model(prompt_BT, use_cache=False).logits[:, -1].argmax(dim=-1), cached[:, prompt_BT.shape[1]]
        )
        detach(model)


@pytest.mark.parametrize("family", DECODERS)
@torch.no_grad()
def test_beams_and_left_padding_give_what_each_prompt_gives_alone(family: str) -> None:
    model = tiny_host(family)
    draw(attach(model, "dwatt", "1x2"))
    short, long = tokens(2, 5)[0, :3], tokens(2, 5)[1]
    prompts_BT = torch.stack([torch.cat([torch.zeros(2, dtype=torch.int64), short]), long])
    mask_BT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": 2}
    together = model.generate(prompts_BT, attention_mask=mask_BT, **options)
    for row, prompt in ((0, short), (1, long)):
        alone = model.generate(prompt[None], attention_mask=torch.ones(1, len(prompt), dtype=torch.int64), **options)
        assert torch.equal(together[row, 5:], alone[0, len(prompt) :])


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_model_keeps_its_type_and_the_fusion_float32(family: str) -> None:
    precise = tiny_host(family)
    inputs = _inputs(family)
    for name in FUSION_NAMES:
        model = copy.deepcopy(precise).bfloat16()
        with torch.no_grad():
            expected = model(**inputs).logits
        fusion = attach(model, name, "1x1")
        assert {parameter.dtype for parameter in fusion.parameters()} == {torch.float32}
        assert model.dtype == torch.bfloat16
        with torch.no_grad():
            assert torch.equal(model(**inputs).logits, expected)
        draw(fusion, std=0.1)
        reference = attach(precise, name, "1x1")
        reference.load_state_dict(fusion.state_dict())
        logits = model(**inputs).logits
        assert logits.dtype == torch.bfloat16
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), inputs["input_ids"].flatten())
        loss.backward()
        precise.zero_grad()
        precise_logits = precise(**inputs).logits
        torch.nn.functional.cross_entropy(precise_logits.flatten(0, 1), inputs["input_ids"].flatten()).backward()
        _assert_near(logits.float(), precise_logits)
        for parameter in fusion.parameters():
            assert parameter.grad is not None
            assert parameter.grad.dtype == torch.float32
        _assert_near(_flat_gradient(fusion), _flat_gradient(reference))
        detach(precise)


def _flat_gradient(module: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None])


def _assert_near(found: Tensor, expected: Tensor) -> None:
    """bfloat16 has eight bits; a model of four layers loses a few percent of a vector's length."""
    with torch.no_grad():
        assert float((found - expected).norm() / expected.norm()) < 0.1


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_output_hidden_states_are_the_states_that_sites_read(family: str) -> None:
    model = tiny_host(family)
    inputs = _inputs(family)
    fusion = attach(model, "dwa", "1x2")
    draw(fusion)
    backbone = model.base_model
    seen: list[Tensor] = []
    layers = list(model.get_submodule(LAYER_PATHS[family]))
    handles = [layer.register_forward_hook(lambda _m, _a, output: seen.append(output)) for layer in layers]
    found = backbone(**inputs, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    states = found.hidden_states
    assert len(states) == DEPTH + 1
    for state, own in zip(states[1:-1], seen[:-1], strict=True):
        assert torch.equal(state, own)
    assert torch.equal(states[-1], found.last_hidden_state)
    # The site after layer 2 reads all of them up to its own; layer 3 reads their sum.
    mixed = sum(float(share) * state for share, state in zip(fusion.get_parameter("weights.2"), states, strict=False))
    given: list[Tensor] = []
    handle = layers[2].register_forward_pre_hook(lambda _m, args: given.append(args[0]))
    backbone(**inputs)
    handle.remove()
    torch.testing.assert_close(given[0], mixed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_moves_the_fusion_and_lowers_the_loss(family: str) -> None:
    model = tiny_host(family).train().requires_grad_(False)
    inputs = _inputs(family)
    fusion = attach(model, "dwatt", "1xdepth")
    optimizer = torch.optim.AdamW([item for item in model.parameters() if item.requires_grad], lr=1e-2)
    assert sum(map(len, (group["params"] for group in optimizer.param_groups))) == len(list(fusion.parameters()))
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    losses = []
    for _ in range(6):
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert moved == {key for key in before if key.startswith("depthweave.")}

"""Compiled hosts: the numbers of the uncompiled one, forward and backward, in few graphs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from depthweave.spaces import attach
from tests.fusion_names import others_are
from tests.spaces.hosts.tiny_hosts import FUSION_NAMES, PlainModel, draw, tiny_host, tokens


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", others_are(pytest.mark.slow, fast=["dwa"], names=FUSION_NAMES))
def test_compiled_model_is_one_graph_with_the_same_gradients(name: str) -> None:
    model = PlainModel()
    draw(attach(model, name, "1x1"), std=0.1)
    expected = model(tokens())
    expected.square().mean().backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for _ in range(2):
        model.zero_grad()
        found = compiled(tokens())
        found.square().mean().backward()
    assert counter.frame_count == 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-3, atol=1e-6, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "llama", "modernbert"])
@torch.no_grad()
def test_compiled_models_of_transformers_give_the_same_logits(family: str) -> None:
    model = tiny_host(family)
    draw(attach(model, "dwatt", "1x2"))
    inputs = {"input_ids": tokens(), "attention_mask": torch.ones_like(tokens())}
    expected = model(**inputs).logits
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(**inputs).logits, expected, rtol=1e-5, atol=1e-5)

"""An attached DWA against the authors' package `denseformer`, in a GPT-2 of transformers.

    DEPTHWEAVE_ORACLES=FOLDER python -m pytest tests/oracles/test_denseformer.py -m slow

FOLDER has a checkout of github.com/epfml/DenseFormer under the name DenseFormer. It needs `transformers`.

The other host is built as the package's README says: it calls `init_accumulators` after the embedding and a site after
each block. The package counts every site, also those that read only their own block; ours drops them, and theirs keep
the weight 1.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.spaces import attach
from tests.spaces.hosts.tiny_hosts import draw, tiny_host, tokens

pytestmark = pytest.mark.slow

_DEPTH = 12


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = Path(os.environ.get("DEPTHWEAVE_ORACLES", "."), "DenseFormer")
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    monkeypatch.syspath_prepend(str(folder))
    # The package stores states in tensors of the default type.
    torch.set_default_dtype(torch.float64)
    yield importlib.import_module("denseformer")
    torch.set_default_dtype(torch.float32)


def _their_logits(model: Any, modules: Any, tokens_BT: Tensor) -> Tensor:
    backbone = model.transformer
    positions_T = torch.arange(tokens_BT.shape[1])
    x_BTD = backbone.drop(backbone.wte(tokens_BT) + backbone.wpe(positions_T))
    mask_TT = torch.full((len(positions_T),) * 2, -torch.inf, dtype=x_BTD.dtype).triu(1)
    modules.init_accumulators(x_BTD)
    for number, block in enumerate(backbone.h):
        output = block(x_BTD, attention_mask=mask_TT[None, None])
        x_BTD = modules(output[0] if isinstance(output, tuple) else output, block_idx=number)
    logits: Tensor = model.lm_head(backbone.ln_f(x_BTD))
    return logits


@pytest.mark.parametrize(("dilation", "period"), [(1, 1), (4, 1), (4, 5), (3, 2), (1, 12)])
def test_logits_and_gradients_equal_those_of_the_package(dilation: int, period: int, release: ModuleType) -> None:
    ours = tiny_host("gpt2", num_hidden_layers=_DEPTH).double()
    theirs = tiny_host("gpt2", num_hidden_layers=_DEPTH).double()
    fusion = attach(ours, "dwa", f"{dilation}x{period}")
    modules = release.DWAModules(_DEPTH, dilation, period).double()
    assert torch.equal(ours(tokens()).logits, tiny_host("gpt2", num_hidden_layers=_DEPTH).double()(tokens()).logits)
    torch.testing.assert_close(_their_logits(theirs, modules, tokens()), ours(tokens()).logits, rtol=1e-9, atol=1e-9)

    draw(fusion)
    weights = dict(fusion.named_parameters())
    assert weights
    for number, module in enumerate(modules.alphas, start=1):
        if module is not None and f"weights.{number}" in weights:
            module.weight.data[0] = weights[f"weights.{number}"].detach()
    logits, their_logits = ours(tokens()).logits, _their_logits(theirs, modules, tokens())
    torch.testing.assert_close(their_logits, logits, rtol=1e-9, atol=1e-9)

    probe = torch.randn(logits.shape, dtype=logits.dtype, generator=torch.Generator().manual_seed(0))
    (logits * probe).sum().backward()
    (their_logits * probe).sum().backward()
    for key, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(key).grad, parameter.grad, rtol=1e-8, atol=1e-9, msg=key)
    for key, weight in weights.items():
        module = modules.alphas[int(key.partition(".")[2]) - 1]
        torch.testing.assert_close(weight.grad, module.weight.grad[0], rtol=1e-8, atol=1e-9, msg=key)

"""MUDD against `MultiwayDynamicDenseBlock` of the MUDDFormer release, its PyTorch part.

    DEPTHWEAVE_ORACLES=FOLDER python -m pytest tests/oracles/test_mudd.py -m slow

FOLDER has a checkout of github.com/Caiyun-AI/MUDDFormer under the name MUDDFormer. It needs `einops`, `transformers`.

Axes: B batch, T tokens, D width, C ways.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import FUSIONS, BlockInputs
from depthweave.spaces.wiring import strided_wiring

pytestmark = pytest.mark.slow

_WIDTH, _DEPTH = 16, 6


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("einops")
    pytest.importorskip("transformers")
    folder = Path(os.environ.get("DEPTHWEAVE_ORACLES", "."), "MUDDFormer/pytorch/muddformer")
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module("modeling_muddformer")


@pytest.mark.parametrize(("name", "ways"), [("mudd", "l"), ("mudd2", "vr"), ("mudd4", "qkvr")])
def test_inputs_and_their_gradients_equal_those_of_the_release(name: str, ways: str, release: ModuleType) -> None:
    fusion = FUSIONS[name](strided_wiring(_DEPTH), _WIDTH).double()
    generator = torch.Generator().manual_seed(0)
    ours = dict(fusion.named_parameters())
    with torch.no_grad():
        for parameter in ours.values():
            parameter.normal_(std=0.3, generator=generator)
    shape = (2, 5, _WIDTH)
    states = [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(_DEPTH + 1)]
    probes = [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in ways]

    config = SimpleNamespace(norm_eps=1e-6, dense_type=ways, dim=_WIDTH, expand_last=False, round64=False)
    found_sum, expected_sum = torch.zeros(()).double(), torch.zeros(()).double()
    theirs: dict[str, Tensor] = {}
    reader = fusion.open()
    reader.advance(0, states[0])
    for block in range(1, _DEPTH + 1):
        made = release.MultiwayDynamicDenseBlock(config, block - 1, last_layer=block == _DEPTH).double()
        site = f"sites.{block}"
        static_CS = nn.Parameter(ours[f"{site}.static_CS"].detach().clone())
        theirs |= {f"{site}.static_CS": static_CS, f"{site}.into_DK": made.w1.weight, f"{site}.out_KK": made.w2.weight}
        with torch.no_grad():
            made.w1.weight.copy_(ours[f"{site}.into_DK"].T)
            made.w2.weight.copy_(ours[f"{site}.out_KK"].T)
        expected = made.layer_mix(states[: block + 1], made(states[block]) + static_CS[:, None, None, :])
        found = _ways(reader.advance(block, states[block]), ways)
        torch.testing.assert_close(found, list(expected), rtol=1e-12, atol=1e-12)
        expected_sum = expected_sum + sum((item * probe).sum() for item, probe in zip(expected, probes, strict=False))
        found_sum = found_sum + sum((item * probe).sum() for item, probe in zip(found, probes, strict=False))

    given = torch.autograd.grad(found_sum, [*states, *ours.values()])
    wanted = torch.autograd.grad(expected_sum, [*states, *(theirs[key] for key in ours)])
    names = [*(f"state {number}" for number in range(len(states))), *ours]
    for key, one, other in zip(names, given, wanted, strict=True):
        turned = key.endswith(("into_DK", "out_KK"))
        torch.testing.assert_close(one, other.T if turned else other, rtol=1e-10, atol=1e-12)


def _ways(inputs: Tensor | BlockInputs, ways: str) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    given = {"q": inputs.query_BTD, "k": inputs.key_BTD, "v": inputs.value_BTD, "r": inputs.residual_BTD}
    return [given[way] for way in ways]

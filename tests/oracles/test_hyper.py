"""Hyper-connections against the package `hyper-connections` 0.4.11 (PyPI), in the folder `DEPTHWEAVE_ORACLES`.

Axes: B batch, T tokens, D width, R streams.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.spaces.fusions import rms
from tests.spaces.driving import drive
from tests.spaces.streaming import made_streams

pytestmark = pytest.mark.slow

_DEPTH, _WIDTH = 3, 24


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(os.environ.get("DEPTHWEAVE_ORACLES", "oracles"))
    return pytest.importorskip("hyper_connections.hyper_connections")


@pytest.mark.parametrize("name", ["hc2", "hc4", "dhc2", "dhc4"])
def test_inputs_and_gradients_of_all_layers_equal_the_packages(
    package: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package's norm has none.
    monkeypatch.setattr(rms, "RMS_EPS", 0.0)
    fusion = made_streams(name, depth=_DEPTH, width=_WIDTH)
    count = fusion.streams
    generator = torch.Generator().manual_seed(1)
    shape = (_DEPTH + 1, 2, 5, _WIDTH)
    states = list(torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_().unbind())
    official = []
    for layer in fusion.layers.values():
        made = package.HyperConnections(count, dim=_WIDTH, layer_index=0).double()
        parameters = dict(layer.named_parameters())
        with torch.no_grad():
            made.static_alpha.copy_(parameters["static_RC"][:, :-1])
            made.static_beta.copy_(parameters["static_RC"][:, -1])
            if "dynamic_DC" in parameters:
                made.dynamic_alpha_fn.copy_(parameters["dynamic_DC"][:, :-1])
                made.dynamic_beta_fn.copy_(parameters["dynamic_DC"][:, -1])
                made.dynamic_alpha_scale.copy_(parameters["scales"][0])
                made.dynamic_beta_scale.copy_(parameters["scales"][1])
        official.append(made)

    expand, reduce = package.get_expand_reduce_stream_functions(count)
    carried = expand(states[0])
    expected = []
    added = [part for state in states[1:] for part in (state.flip(-1), state)]
    for made, part in zip(official, added, strict=True):
        read_BTD, add = made(carried)
        expected.append(read_BTD)
        carried = add(part)
    expected.append(reduce(carried) / count)

    found = drive(fusion, states)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    probe = torch.randn(found[-1].shape, dtype=torch.float64, generator=generator)
    ours, theirs = (_gradients(outputs, probe, states) for outputs in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    for layer, made in zip(fusion.layers.values(), official, strict=True):
        gradient_RC = dict(layer.named_parameters())["static_RC"].grad
        wanted_RC = torch.cat([made.static_alpha.grad, made.static_beta.grad[:, None]], dim=1)
        torch.testing.assert_close(gradient_RC, wanted_RC, rtol=1e-8, atol=1e-8)


def _gradients(outputs: list[Tensor], probe: Tensor, states: list[Tensor]) -> list[Tensor]:
    for state in states:
        state.retain_grad()
        state.grad = None
    sum((output * probe).sum() for output in outputs).backward(retain_graph=True)  # type: ignore[union-attr]
    return [state.grad.clone() for state in states if state.grad is not None]

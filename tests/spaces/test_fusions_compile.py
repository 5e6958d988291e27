"""Compiled models: one graph for the whole model, and the numbers of the uncompiled one, forward and backward.

The fast tests trace and differentiate with everything but the code generator; the slow ones generate code as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, dwa
from depthweave.spaces.wiring import Wiring, strided_wiring
from tests.fusion_names import FIRST_OF_FILES, others_are

# The code generator's own imports use what torch itself has deprecated.
_generates_code = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")

_TRACED = ("dwa", "mudd", "hc2")
"""Fusions of which every change traces a model: static sums, weights of each token, streams."""
_DEEP = ("none", "dwa", "dwatt", "concat", "mudd")
"""Fusions of which every change compiles a deep model; the others take a minute or two each."""


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _model(fusion: str, wiring: Wiring, *, moved: float = 0.2) -> Decoder:
    """Returns a small model whose fusion is `moved` away from its start, in standard deviations."""
    architecture = Architecture(
        fusion=fusion, wiring=wiring, width=16, heads=2, feed_forward=24, vocabulary=13, context=12
    )
    model = Decoder(architecture, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=moved)
    return model


def _tokens(num_sequences: int = 2) -> Tensor:
    return (torch.arange(num_sequences * 12) * 5 % 13).view(num_sequences, 12)


def _assert_compiled_equals_eager(model: Decoder, backend: str) -> None:
    tokens_BT = _tokens()
    targets_BT = tokens_BT.roll(-1, dims=1)
    expected = model.loss(tokens_BT, targets_BT)
    expected.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()

    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(model.loss, fullgraph=True, backend=counter)
    # Three steps with the same shapes: a graph is made once, neither once a site nor once a step.
    for _ in range(3):
        model.zero_grad()
        loss = compiled(tokens_BT, targets_BT)
        loss.backward()
    assert counter.frame_count == 1
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for name, parameter in model.named_parameters():
        expected_grad, found_grad = gradients[name], parameter.grad
        assert expected_grad is not None
        assert found_grad is not None
        # By the tensor's norm: an entry a thousand times smaller than others is mostly rounding. Both are within 1e-5
        # of the gradient in double precision.
        error = (found_grad - expected_grad).norm()
        assert error <= 1e-4 * expected_grad.norm() + 1e-7, f"{name}: {error} of {expected_grad.norm()}"
        # And entry by entry, with room for the rounding of the tensor's largest.
        room = max(1e-6, 1e-5 * float(expected_grad.abs().max()))
        torch.testing.assert_close(found_grad, expected_grad, rtol=1e-3, atol=room, msg=name)


@pytest.mark.parametrize("name", others_are(pytest.mark.slow, fast=_TRACED))
def test_traced_model_is_one_graph_and_equals_eager(name: str) -> None:
    _assert_compiled_equals_eager(_model(name, strided_wiring(3, dilation=2, period=1)), "aot_eager")


@pytest.mark.parametrize(
    ("depth", "dilation", "period"),
    [(8, 1, 1), *(pytest.param(16, *pair, marks=pytest.mark.slow) for pair in [(1, 1), (2, 1), (1, 2), (3, 2)])],
)
def test_averages_traced_by_panels_are_one_graph_and_equal_eager(
    monkeypatch: pytest.MonkeyPatch, depth: int, dilation: int, period: int
) -> None:
    monkeypatch.setattr(dwa, "MIN_CONNECTIONS", 1)
    _assert_compiled_equals_eager(_model("dwa", strided_wiring(depth, dilation=dilation, period=period)), "aot_eager")


@_generates_code
@pytest.mark.parametrize(
    ("fusion", "depth"),
    [
        *(pytest.param(name, 12, marks=pytest.mark.slow) for name in _DEEP),
        *(pytest.param(name, 12, marks=pytest.mark.release) for name in FUSIONS if name not in _DEEP),
        *(pytest.param("dwa", depth, marks=pytest.mark.release) for depth in (24, 48)),
    ],
)
def test_generated_code_of_a_deep_model_equals_eager(fusion: str, depth: int) -> None:
    # dwatt at every site is a graph no one would train: its period is the depth here. The long sums are dwa's.
    period = depth if fusion == "dwatt" else 1
    # Moved by 0.2, twelve blocks of mudd2 have gradients of norm 795, whose small entries are rounding alone.
    _assert_compiled_equals_eager(_model(fusion, strided_wiring(depth, period=period), moved=0.05), "inductor")


@pytest.mark.slow
@_generates_code
@pytest.mark.parametrize("fusion_name", others_are(pytest.mark.release, fast=FIRST_OF_FILES))
def test_generated_code_under_autocast_equals_eager(fusion_name: str) -> None:
    model = _model(fusion_name, strided_wiring(4))
    tokens_BT = _tokens()
    compiled = torch.compile(model, fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(tokens_BT), compiled(tokens_BT)
    found.float().sum().backward()
    # The generated code rounds at other places: both are bfloat16, good to 0.4 % an operation.
    assert (found.float() - expected.float()).norm() < 0.04 * expected.float().norm()

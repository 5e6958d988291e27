"""What all fusions with residual streams have in common: one graph a depth, their start, streams that separate.

Axes: B batch, T tokens, D width, R streams.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.fusions.mhc import doubly_stochastic
from depthweave.spaces.fusions.streams import StreamsFusion, mean_of_streams
from depthweave.spaces.wiring import Wiring, strided_wiring
from tests.spaces.driving import drive

_STREAMS = {name: made.streams for name, made in FUSIONS.items() if issubclass(made, StreamsFusion)}
_TOKENS_BT = (torch.arange(24) * 5 % 13).view(2, 12)
_SIZES = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}


def _architecture(name: str, wiring: Wiring) -> Architecture:
    return Architecture(fusion=name, wiring=wiring, **_SIZES)


@pytest.mark.parametrize("name", _STREAMS)
def test_all_wirings_of_a_depth_are_one_architecture(name: str) -> None:
    wirings = [Wiring(6), *(strided_wiring(6, dilation=k, period=p) for k, p in ((1, 1), (2, 3), (4, 1), (1, 6)))]
    made = [_architecture(name, wiring) for wiring in wirings]
    assert set(made) == {made[0]}
    assert all(item.wiring is made[0].wiring for item in made)
    assert made[0].fusion == name
    assert [site.sources for site in made[0].wiring] == [(block,) for block in range(1, 7)]
    assert costs_of(made[0]).kept_states == _STREAMS[name] == int(name[-1])


@pytest.mark.parametrize("name", ["mhc2", "mhc4"])
@pytest.mark.parametrize("seed", range(3))
def test_fresh_model_is_nearly_the_plain_transformer(name: str, seed: int) -> None:
    plain_BTV = Decoder(_architecture("none", Wiring(6)), seed=seed)(_TOKENS_BT)
    found_BTV = Decoder(_architecture(name, Wiring(6)), seed=seed)(_TOKENS_BT)
    torch.testing.assert_close(found_BTV, plain_BTV, rtol=0, atol=1e-5)


def _distance(streams_RD: Tensor, dim: int) -> float:
    """Returns how far the streams are from their mean, relative to all."""
    away = streams_RD - streams_RD.mean(dim=dim, keepdim=True)
    return float(away.norm() / streams_RD.norm())


def _distances_in_training(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    def seen(self: StreamsFusion, streams_RD: Tensor) -> Tensor:
        found.append(_distance(streams_RD.detach(), -2))
        return merge(self, streams_RD)

    merge = type(model.fusion).merge
    monkeypatch.setattr(type(model.fusion), "merge", seen)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(_STEPS + 1):
        optimiser.zero_grad()
        model.loss(_TOKENS_BT, _TOKENS_BT.roll(-1, dims=1)).backward()
        optimiser.step()
    return found


_STEPS = 15


# They separate by what the random writes of `gated` do at once, and elsewhere as far as the weights have learned.
@pytest.mark.parametrize(("name", "least"), [(name, 0.05 if "gated" in name else 5e-4) for name in _STREAMS])
def test_streams_separate_in_training(name: str, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _distances_in_training(Decoder(_architecture(name, Wiring(2)), seed=1), monkeypatch)
    assert found[0] > least if "gated" in name else found[0] < 1e-6
    assert found[-1] > least


def test_streams_of_a_symmetric_start_do_not_separate(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Decoder(_architecture("gated2", Wiring(2)), seed=1)
    with torch.no_grad():
        for name, parameter in model.fusion.named_parameters():
            if name.endswith(("static_R", "inject_RX")):
                parameter.zero_()
    assert _distances_in_training(model, monkeypatch)[-1] < 5e-4


# States a layer: the streams before it and what it adds. `gated` also keeps the normed streams and their gates, and
# reads once more for the output.
@pytest.mark.parametrize(
    ("name", "most"),
    [(name, count * 3.375 + 1.5 if "gated" in name else count + 1.5) for name, count in _STREAMS.items()],
)
def test_backward_pass_keeps_no_more_than_a_plain_loop(name: str, most: float) -> None:
    depth, width = 4, 256
    fusion = FUSIONS[name](FUSIONS[name].canonical_wiring(Wiring(depth)), width)
    fusion.reset_parameters(torch.Generator())
    states = [torch.randn(2, 8, width, requires_grad=True) for _ in range(depth + 1)]
    weights = {parameter.data_ptr() for parameter in fusion.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(saved: Tensor) -> Tensor:
        if saved.untyped_storage().data_ptr() not in weights:
            kept[saved.untyped_storage().data_ptr()] = saved
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        drive(fusion, states)
    num_bytes = sum(saved.untyped_storage().nbytes() for saved in kept.values())
    assert num_bytes / (states[0].nbytes * 2 * depth) < most


def test_mean_of_equal_streams_is_exact() -> None:
    stream_1D = torch.randn(7, 1, 33, generator=torch.Generator().manual_seed(0))
    for count in (1, 2, 4):
        assert torch.equal(mean_of_streams(stream_1D.expand(-1, count, -1)), stream_1D)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("spread", [0.5, 3.0, 100.0])
def test_carry_is_doubly_stochastic(count: int, spread: float) -> None:
    logits_RR = spread * torch.randn(50, count, count, generator=torch.Generator().manual_seed(0))
    found_RR = doubly_stochastic(logits_RR)
    assert (found_RR >= 0).all()
    torch.testing.assert_close(found_RR.sum(dim=-1), torch.ones(50, count), rtol=0, atol=1e-5)
    # Twenty iterations do not always suffice for the columns.
    if spread < 1:
        torch.testing.assert_close(found_RR.sum(dim=-2), torch.ones(50, count), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", _STREAMS)
def test_weights_are_not_observed(name: str) -> None:
    # A stream is no state of an earlier block: there is nothing for the report's map of connection weights.
    assert Decoder(_architecture(name, Wiring(2))).connection_weights(_TOKENS_BT) == []


@pytest.mark.parametrize("name", [name for name in _STREAMS if FUSIONS[name].by_token])
@pytest.mark.parametrize("width", [16, 160])
def test_number_of_products_does_not_grow_with_the_tokens(name: str, width: int) -> None:
    """torch multiplies the matrices of a batch one by one where their strides are not those of a matrix."""
    architecture = Architecture(fusion=name, wiring=strided_wiring(2), **(_SIZES | {"width": width}))
    model = Decoder(architecture, seed=0)

    def num_slices(num_sequences: int) -> int:
        tokens_BT = _TOKENS_BT[:1].expand(num_sequences, -1)
        with torch.autograd.profiler.profile() as found:
            model.loss(tokens_BT, tokens_BT).backward()
        return sum(item.count for item in found.key_averages() if item.key == "aten::select")

    assert num_slices(1) == num_slices(4)

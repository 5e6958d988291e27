"""What the decoder offers a fusion: several inputs of a block, its own residual, the values of an attention.

Three made-up fusions, registered here only, and the plain decoder computed by hand beside them.

Axes: B batch, T tokens, D width, H heads, K head width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.spaces.fusions import FUSIONS, BlockInputs, Fusion, Observe
from depthweave.spaces.wiring import Wiring, strided_wiring
from depthweave.trainers.states import state_profile


class _Made(Fusion):
    """One scalar for each block, which starts at `start`."""

    paper: ClassVar[str] = "none"
    summary: ClassVar[str] = "made up"
    start: ClassVar[float] = 0.0

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        self.scalars = nn.Parameter(torch.empty(wiring.depth))

    def reset_parameters(self, generator: torch.Generator) -> None:
        nn.init.constant_(self.scalars, self.start)

    def connection_parameters(self) -> list[nn.Parameter]:
        return [self.scalars]

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        norms = sum(len(cls.own_norms(wiring, block)) for block in range(1, wiring.depth + 1))
        return wiring.depth + norms * width

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 0


class _Keys(_Made):
    """The keys and values of a block also read a share of the embedding, the keys a second time."""

    @classmethod
    def own_norms(cls, wiring: Wiring, block: int) -> tuple[str, ...]:
        return ("key", "value") if block > 1 else ()

    def open(self, *, observe: Observe | None = None) -> _KeysReader:
        return _KeysReader(self)


class _KeysReader:
    def __init__(self, fusion: _Keys) -> None:
        self._scalars, self._last = fusion.scalars.unbind(), fusion.wiring.depth
        self._embedding: Tensor | None = None

    def advance(self, block: int, state_BTD: Tensor) -> Tensor | BlockInputs:
        if self._embedding is None:
            self._embedding = state_BTD
        if block in (0, self._last):
            return state_BTD
        share_BTD = self._scalars[block] * self._embedding
        return BlockInputs(state_BTD, state_BTD, state_BTD + 2 * share_BTD, state_BTD + share_BTD)


class _Sum(_Made):
    """Carries the residual as the plain sum of what the layers add, each times 1 + a scalar of its block."""

    carries_residual: ClassVar[bool] = True

    def open(self, *, observe: Observe | None = None) -> _SumReader:
        return _SumReader(self)


class _SumReader:
    def __init__(self, fusion: _Sum) -> None:
        self._scalars = fusion.scalars.unbind()
        self._sum: Tensor | None = None

    def between(self, block: int, attended_BTD: Tensor) -> Tensor:
        assert self._sum is not None
        self._sum = self._sum + (1 + self._scalars[block - 1]) * attended_BTD
        return self._sum

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        return self.between(block, state_BTD) if block else self._start(state_BTD)

    def _start(self, embedding_BTD: Tensor) -> Tensor:
        self._sum = embedding_BTD
        return embedding_BTD


class _Values(_Made):
    """The values of every block but the first two are mixed with those of the second."""

    value_source: ClassVar[int] = 2

    def open(self, *, observe: Observe | None = None) -> _ValuesReader:
        return _ValuesReader(self)


class _ValuesReader:
    def __init__(self, fusion: _Values) -> None:
        self._scalars, self._last = fusion.scalars.unbind(), fusion.wiring.depth
        self._value: Tensor | None = None

    def keep_value(self, value_BHTK: Tensor) -> None:
        self._value = value_BHTK

    def advance(self, block: int, state_BTD: Tensor) -> Tensor | BlockInputs:
        if self._value is None or block == self._last:
            return state_BTD
        return BlockInputs(state_BTD, state_BTD, state_BTD, state_BTD, self._value, self._scalars[block])


_MADE: dict[str, type[_Made]] = {"keys": _Keys, "sum": _Sum, "values": _Values}


@pytest.fixture
def tokens_BT() -> Tensor:
    """Two sequences; the shared fixture would run each test once for every architecture of every fusion."""
    return (torch.arange(24) * 5 % 13).view(2, 12)


@pytest.fixture(params=list(_MADE))
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """A small architecture of each made-up fusion."""
    monkeypatch.setitem(FUSIONS, request.param, _MADE[request.param])
    sizes = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
    return Architecture(fusion=request.param, wiring=strided_wiring(4), **sizes)


def _moved(architecture: Architecture) -> Decoder:
    model = Decoder(architecture, seed=1)
    with torch.no_grad():
        model.fusion.get_parameter("scalars").copy_(torch.tensor([0.3, -0.4, 0.5, 0.6]))
    return model


def test_identity_is_exact(made: Architecture, tokens_BT: Tensor) -> None:
    plain = Decoder(replace(made, fusion="none"), seed=7)
    found_BTV = Decoder(made, seed=7)(tokens_BT)
    assert torch.equal(found_BTV, plain(tokens_BT))
    assert not torch.equal(_moved(made)(tokens_BT), found_BTV)


def test_parameters_equal_counted_ones_and_the_keys_and_values_have_norms(made: Architecture) -> None:
    model = Decoder(made)
    counted = sum(item.numel() for item in model.parameters()) - model.embedding.weight.numel()
    assert costs_of(made).parameters == counted
    assert made.fusion != "keys" or counted - costs_of(replace(made, fusion="none")).parameters == 4 + 3 * 2 * 16


@torch.no_grad()
def test_cached_decoding_equals_the_full_pass(made: Architecture, tokens_BT: Tensor) -> None:
    model = _moved(made).double()
    expected_BTV = model(tokens_BT)
    cache = DecodingCache()
    found = [model(part_BT, cache=cache) for part_BT in tokens_BT.split([5, 1, 1, 4, 1], dim=1)]
    torch.testing.assert_close(torch.cat(found, dim=1), expected_BTV, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_recomputed_blocks_give_the_same_gradients(made: Architecture, tokens_BT: Tensor, use_reentrant: bool) -> None:
    model = _moved(made)

    def gradients(**settings: object) -> dict[str, Tensor]:
        model.zero_grad()
        hidden_BTD = model.hidden_of(model.embedding(tokens_BT), **settings)  # type: ignore[arg-type]
        (hidden_BTD * torch.arange(16)).sum().backward()
        return {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}

    expected = gradients()
    found = gradients(call=lambda block, *given: checkpoint(block, *given, use_reentrant=use_reentrant))
    assert set(expected) == set(found) == {name for name, _ in model.named_parameters()}
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_values_are_mixed_with_those_of_the_source(monkeypatch: pytest.MonkeyPatch, tokens_BT: Tensor) -> None:
    monkeypatch.setitem(FUSIONS, "values", _Values)
    architecture = Architecture(
        fusion="values", wiring=strided_wiring(4), width=16, heads=2, feed_forward=24, vocabulary=13, context=12
    )
    model = _moved(architecture)
    seen: list[Tensor] = []
    for block in model.blocks:
        block.get_submodule("attention").register_forward_hook(lambda _m, _i, output: seen.append(output[1]))
    reference = Decoder(replace(architecture, fusion="none"), seed=1)
    with torch.no_grad():
        model.fusion.get_parameter("scalars").zero_()
        assert torch.equal(model(tokens_BT), reference(tokens_BT))
        plain = list(seen)
        model.fusion.get_parameter("scalars").copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))
        model(tokens_BT)
    # A block returns its own values; only what its attention mixes changes.
    assert all(torch.equal(a, b) for a, b in zip(plain[:3], seen[4:7], strict=True))
    assert not torch.equal(plain[3], seen[7])


def test_states_of_every_kind_have_a_profile(made: Architecture, tokens_BT: Tensor) -> None:
    profile = state_profile(_moved(made), tokens_BT)
    assert (len(profile.norms), len(profile.cosines)) == (5, 4)

"""MUDD against the paper's equations in plain loops over single tokens, and its sums against autograd's own.

Axes: B batch, T tokens, D width, S sources of a site, C ways, K hidden units.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, BlockInputs, Fusion, dynamic_sum, mudd
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from tests.spaces.test_averaging import saved_bytes

Weights = dict[str, Tensor]
NAMES = [name for name, made in FUSIONS.items() if made.__module__ == mudd.__name__]
WAYS = {"mudd": "r", "mudd2": "vr", "mudd4": "qkvr", "mudd4_norm": "qkvr"}
"""Ways of a site that is not the last, by the paper's letters."""
WIRING = Wiring(5, (Site(1, (0, 1)), Site(3, (1, 2, 3)), Site(4, (0, 4)), Site(5, (0, 3, 5))))


def _rms(x_D: Tensor) -> Tensor:
    return x_D / math.sqrt(float((x_D**2).sum()) / len(x_D) + 1e-6)


def _gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def _expected(weights: Weights, block: int, states_D: dict[int, Tensor], ways: str, *, normed: bool) -> list[Tensor]:
    """Y^c = sum_j A_cj X_j, A = GELU(rms(X_i) W1) W2 + a; normed: Y^c = X_i + [P](sum_j A_cj N_j(X_j))."""
    own = {name.removeprefix(f"sites.{block}."): weight for name, weight in weights.items()}
    own_D = states_D[block]
    hidden_K = torch.stack([(_rms(own_D) * own["into_DK"][:, unit]).sum() for unit in range(len(ways) * len(states_D))])
    hidden_K = torch.tensor([_gelu(float(x)) for x in hidden_K], dtype=own_D.dtype)
    found = []
    for way, letter in enumerate(ways):
        sum_D = torch.zeros_like(own_D)
        for place, (number, state_D) in enumerate(states_D.items()):
            column = way * len(states_D) + place
            weight = float((hidden_K * own["out_KK"][:, column]).sum()) + float(own["static_CS"][way, place])
            sum_D += weight * (weights[f"state_norms.{number}.weight"] * _rms(state_D) if normed else state_D)
        if normed:
            sum_D = own_D + (own["post_norm.weight"] * _rms(sum_D) if letter == "r" else sum_D)
        found.append(sum_D)
    return found


def _drawn(name: str, wiring: Wiring, width: int = 8) -> Fusion:
    fusion = FUSIONS[name](wiring, width).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return fusion


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_mudd_equals_its_papers_equations_in_plain_loops(name: str) -> None:
    fusion = _drawn(name, WIRING)
    weights, sources = dict(fusion.state_dict()), dict(WIRING.sites)
    generator = torch.Generator().manual_seed(1)
    states = [torch.randn(2, 3, 8, dtype=torch.float64, generator=generator) for _ in range(6)]
    seen: dict[int, Tensor] = {}
    reader = fusion.open(observe=seen.__setitem__)
    for block, state_BTD in enumerate(states):
        found = reader.advance(block, state_BTD)
        if block not in sources:
            assert found is state_BTD
            continue
        ways = WAYS[name] if block < 5 else "r"
        for at in ((0, 0), (1, 2)):
            read = {number: states[number][at] for number in sources[block]}
            expected = dict(zip(ways, _expected(weights, block, read, ways, normed=name == "mudd4_norm"), strict=True))
            given = dict(zip("rqkv", found, strict=False)) if isinstance(found, BlockInputs) else {"r": found}
            assert isinstance(found, BlockInputs) == (len(ways) > 1)
            for way, input_BTD in given.items():
                assert isinstance(input_BTD, Tensor)
                wanted_D = expected.get(way, state_BTD[at])
                torch.testing.assert_close(input_BTD[at], wanted_D, rtol=1e-12, atol=1e-12)
    assert {block: weights.shape for block, weights in seen.items()} == {b: (2, 3, len(s)) for b, s in sources.items()}


@pytest.mark.parametrize("name", NAMES)
def test_each_way_after_the_first_block_has_its_own_norm(name: str) -> None:
    norms = [FUSIONS[name].own_norms(WIRING, block) for block in range(1, 6)]
    after_site = {"mudd": (), "mudd2": ("value",)}.get(name, ("key", "value"))
    assert norms == [(), after_site, (), after_site, after_site]


@pytest.mark.parametrize("name", NAMES)
def test_mudd_starts_as_in_the_paper(name: str) -> None:
    wiring, width = strided_wiring(6), 4096
    fusion = FUSIONS[name](wiring, width)
    fusion.reset_parameters(torch.Generator().manual_seed(0))
    for block, sources in wiring:
        static_CS, into_DK, out_KK = (fusion.get_parameter(f"sites.{block}.{it}").detach() for it in _MATRICES)
        ways = len(WAYS[name]) if block < 6 else 1
        own = 0.0 if name == "mudd4_norm" else 1.0
        assert static_CS.tolist() == [[0.0] * (len(sources) - 1) + [own]] * ways
        assert into_DK.shape == (width, ways * len(sources))
        assert float(into_DK.std()) * math.sqrt(width) == pytest.approx(1, abs=0.05)
        assert not out_KK.any()


_MATRICES = ("static_CS", "into_DK", "out_KK")


@pytest.mark.parametrize("ways", [1, 2, 4])
@pytest.mark.parametrize("tokens_at_once", [512, 4])
def test_sums_and_gradients_equal_the_traced_loops(
    ways: int, tokens_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_sum, "_TOKENS", tokens_at_once)
    outcomes = []
    ours = dynamic_sum.dynamic_sums
    for by_products, made in ((False, dynamic_sum.traced_sums), (False, ours), (True, ours)):
        monkeypatch.setattr(dynamic_sum, "_by_products", lambda _, chosen=by_products: chosen)
        generator = torch.Generator().manual_seed(3)
        weights_BTCS = torch.randn(2, 5, ways, 3, dtype=torch.float64, generator=generator, requires_grad=True)
        # The first state is not contiguous, as a state that other code made may be.
        states = [torch.randn(2, 6, 5, dtype=torch.float64, generator=generator).mT.requires_grad_() for _ in range(3)]
        sums = made(weights_BTCS, states)
        loss = sum(((way + 1.0) * item.square()).sum() for way, item in enumerate(sums))
        assert isinstance(loss, Tensor)
        outcomes.append([*sums, *torch.autograd.grad(loss, [weights_BTCS, *states])])
    for other in outcomes[1:]:
        torch.testing.assert_close(other, outcomes[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16 autocast"])
@pytest.mark.parametrize("name", NAMES)
def test_saves_no_more_for_backward_than_a_plain_loop(
    name: str, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"width": 32, "heads": 1, "feed_forward": 32, "vocabulary": 16, "context": 32}
    model = Decoder(Architecture(fusion=name, wiring=strided_wiring(12), **sizes))
    ours = saved_bytes(model, autocast=autocast)
    monkeypatch.setattr(mudd, "dynamic_sums", dynamic_sum.traced_sums)
    assert ours <= saved_bytes(model, autocast=autocast)


def test_saves_states_and_weights_alone_for_backward() -> None:
    weights_BTCS = torch.randn(2, 5, 4, 3, requires_grad=True)
    states = [torch.randn(2, 5, 6, requires_grad=True) for _ in range(3)]
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda item: saved.append(item) or item, lambda item: item):
        dynamic_sum.dynamic_sums(weights_BTCS, states)
    assert {item.data_ptr() for item in saved} == {item.data_ptr() for item in (weights_BTCS, *states)}

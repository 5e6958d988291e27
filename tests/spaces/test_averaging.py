"""Depth averages in panels: the numbers of the plain loop, forward and backward, and no more memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import KeptStates
from depthweave.spaces.fusions.averaging import weighted_sum
from depthweave.spaces.fusions.dwa import DepthWeightedAverage
from depthweave.spaces.fusions.panels import Panel, families_of, panels_of
from depthweave.spaces.fusions.state_store import Store, in_float32
from depthweave.spaces.fusions.traced import TracedPass
from depthweave.spaces.wiring import Site, Wiring, strided_wiring

_PATTERNS = list(itertools.product(range(1, 6), range(1, 6)))
_SKIPS = Wiring(6, (Site(2, (0, 2)), Site(4, (0, 1, 4)), Site(6, (0, 2, 4, 6))))
"""Sites that share a state without reading all that the one before reads."""


@pytest.fixture(autouse=True, params=["all in panels", "as shipped"])
def worth(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to sum, on wirings that are small enough to check."""
    if request.param == "all in panels":
        monkeypatch.setattr("depthweave.spaces.fusions.panels._WORTHWHILE", 0)
    families_of.cache_clear()
    yield request.param
    families_of.cache_clear()


class PlainLoop:
    """A list of states and a loop, with autograd's own backward."""

    def __init__(self, fusion: DepthWeightedAverage) -> None:
        self._fusion, self._states = fusion, KeptStates(fusion.wiring)

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        states = self._states.take(block, state_BTD)
        return weighted_sum(self._fusion.weights[str(block)], states) if states else state_BTD


def fusion_of(wiring: Wiring, *, width: int = 6) -> DepthWeightedAverage:
    fusion = DepthWeightedAverage(wiring, width).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(generator=generator)
    return fusion


def outcome(
    fusion: DepthWeightedAverage, *, plain: bool, loss_of: Callable[[list[Tensor]], Tensor], passes: int = 1
) -> dict[str, Tensor]:
    """Outputs and gradients of a small recurrent model: each block is a matrix and a tanh."""
    generator = torch.Generator().manual_seed(2)
    depth = fusion.wiring.depth
    x_BTD = torch.randn(2, 3, fusion.width, generator=generator, dtype=torch.float64, requires_grad=True)
    blocks = [torch.randn(6, 6, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(depth)]
    reader = PlainLoop(fusion) if plain else fusion.open()
    outputs, state_BTD = [], reader.advance(0, x_BTD)
    for block, matrix_DD in enumerate(blocks, start=1):
        state_BTD = reader.advance(block, state_BTD + torch.tanh(state_BTD @ matrix_DD))
        outputs.append(state_BTD)
    loss = loss_of(outputs)
    wanted = {"x": x_BTD, **{f"block {n}": item for n, item in enumerate(blocks)}, **dict(fusion.named_parameters())}
    wanted = {name: item for name, item in wanted.items() if item.requires_grad}
    for left in reversed(range(passes)):
        found = torch.autograd.grad(loss, list(wanted.values()), retain_graph=left > 0, allow_unused=True)
    gradients = {name: item for name, item in zip(wanted, found, strict=True) if item is not None}
    return {**{f"output {n}": item.detach() for n, item in enumerate(outputs)}, **gradients}


def last(outputs: list[Tensor]) -> Tensor:
    return outputs[-1].square().sum()


def check_same(wiring: Wiring, *, loss_of: Callable[[list[Tensor]], Tensor] = last, passes: int = 1) -> None:
    fusion = fusion_of(wiring)
    expected = outcome(fusion, plain=True, loss_of=loss_of)
    found = outcome(fusion, plain=False, loss_of=loss_of, passes=passes)
    # A weight that the loss does not hear of may have no gradient or one of zeros.
    for name in expected.keys() | found.keys():
        one, other = (item.get(name, torch.zeros(1, dtype=torch.float64)) for item in (found, expected))
        torch.testing.assert_close(
            one.expand_as(other) if one.numel() == 1 else one, other.expand_as(one), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize(("dilation", "period"), _PATTERNS, ids=[f"{k}x{p}" for k, p in _PATTERNS])
def test_outputs_and_gradients_are_those_of_the_plain_loop(dilation: int, period: int) -> None:
    check_same(strided_wiring(12, dilation=dilation, period=period).without_lone_sites())


def test_also_where_sites_share_a_state_and_each_sums_alone() -> None:
    assert families_of(_SKIPS) == ()
    check_same(_SKIPS)


@pytest.mark.parametrize("upto", range(12))
def test_also_where_the_loss_hears_of_the_first_blocks_alone(upto: int) -> None:
    check_same(strided_wiring(12), loss_of=lambda outputs: outputs[upto].square().sum())


def test_also_where_the_loss_hears_of_every_block() -> None:
    for wiring in (strided_wiring(12), strided_wiring(12, dilation=2, period=3)):
        check_same(wiring, loss_of=lambda outputs: torch.stack([item.square().sum() for item in outputs]).sum())


def test_also_backward_a_second_time() -> None:
    check_same(strided_wiring(12), passes=2)


def test_also_on_several_shelves_and_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # A state is 2 x 3 x 6 numbers of 8 bytes.
    monkeypatch.setattr("depthweave.spaces.fusions.state_store._SHELF_BYTES", 5 * 36 * 8)
    monkeypatch.setattr("depthweave.spaces.fusions.state_store._BLOCK", 10)
    store = Store(13, torch.zeros(2, 3, 6, dtype=torch.float64))
    assert [tuple(item.shape) for item in store.shelves] == [(5, 36), (5, 36), (3, 36)]
    for dilation, period in ((1, 1), (1, 4), (2, 3)):
        check_same(strided_wiring(12, dilation=dilation, period=period).without_lone_sites())


def test_frozen_weights_get_no_gradient_and_states_do() -> None:
    fusion = fusion_of(strided_wiring(6)).requires_grad_(False)
    expected = outcome(fusion, plain=True, loss_of=last)
    found = outcome(fusion, plain=False, loss_of=last)
    assert expected.keys() == found.keys()
    assert not any(name.startswith("weights") for name in found)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_backward_without_its_graph_is_torchs_own_error() -> None:
    fusion = fusion_of(strided_wiring(4))
    x_BTD = torch.ones(1, 1, 6, dtype=torch.float64, requires_grad=True)
    reader = fusion.open()
    loss = reader.advance(1, 2 * reader.advance(0, x_BTD)).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16 autocast"])
@pytest.mark.parametrize("depth", [12, 24, 48])
@pytest.mark.parametrize("pattern", [(1, 1), (4, 1), (1, 4), (4, 5)], ids=lambda item: f"{item[0]}x{item[1]}")
def test_saves_no_more_for_backward_than_the_plain_loop(
    pattern: tuple[int, int], depth: int, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiring = strided_wiring(depth, dilation=pattern[0], period=pattern[1]).without_lone_sites()
    model = Decoder(
        Architecture(fusion="dwa", wiring=wiring, width=32, heads=1, feed_forward=32, vocabulary=16, context=32)
    )
    ours = saved_bytes(model, autocast=autocast)
    monkeypatch.setattr(DepthWeightedAverage, "open", lambda self, observe=None: PlainLoop(self))
    # Beside the states, a matrix of weights a family and not a vector a site.
    matrices = sum(4 * len(item.sites) * len(item.sources) for item in families_of(wiring))
    assert ours <= saved_bytes(model, autocast=autocast) + matrices


def saved_bytes(model: Decoder, *, autocast: bool) -> int:
    """Bytes of the storages that autograd keeps for backward, the parameters left out."""
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens_BT = torch.zeros(2, 32, dtype=torch.int64)
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        loss = model.loss(tokens_BT, tokens_BT)
    del loss
    return sum(kept.values())


def test_panels_are_the_cheapest_of_all() -> None:
    # Singly the first site reads 2 states and writes 1, and the second reads 3 and writes 1: 7. Together: 2 and a sixth
    # of 2, two sums written, one read, one new state read, one sum written.
    assert panels_of((2, 3)) == (Panel(0, 1), Panel(1, 1))
    assert cost_of([2, 3], [(0, 2)]) == pytest.approx(2 + 2 / 6 + 2 + 3)
    for counts in ((2, 3, 4, 5, 6, 7), (5, 9, 13), (20, 21, 22, 23), (2,), (1, 5, 30, 31, 32)):
        ways = []
        for cuts in itertools.product((False, True), repeat=len(counts) - 1):
            starts = [0, *(place for place, cut in enumerate(cuts, start=1) if cut)]
            sizes = [end - start for start, end in itertools.pairwise([*starts, len(counts)])]
            ways.append(cost_of(list(counts), list(zip(starts, sizes, strict=True))))
        assert cost_of(list(counts), list(panels_of(counts))) == pytest.approx(min(ways))


def cost_of(counts: list[int], panels: list[Panel] | list[tuple[int, int]]) -> float:
    total = 0.0
    for first, size in panels:
        total += counts[first] + counts[first] * (size - 1) / 6 + size
        for place in range(first + 1, first + size):
            total += 1 + (counts[place] - counts[first]) + 1
    return total


def test_deep_models_have_panels_of_several_sites() -> None:
    (family,) = families_of(strided_wiring(48))
    sizes = [panel.size for panel in family.panels]
    assert sum(sizes) == 48
    assert max(sizes) >= 6, "there the states are many"


def test_families_cover_every_site_and_read_what_the_wiring_says(worth: str) -> None:
    for dilation, period in _PATTERNS:
        wiring = strided_wiring(12, dilation=dilation, period=period)
        families = families_of(wiring)
        read = {
            block: family.sources[:count]
            for family in families
            for block, count in zip(family.sites, family.counts, strict=True)
        }
        # As shipped only families of many states are worth it: at 12 blocks hardly any.
        wanted = dict(wiring.sites)
        assert read == wanted if worth == "all in panels" else read.items() <= wanted.items()


def test_states_are_not_rounded_to_tf32_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    precisions = ["high"]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precisions[-1])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", precisions.append)
    with in_float32(torch.device("cpu")):
        assert precisions == ["high"]
    with in_float32(torch.device("cuda")):
        assert precisions == ["high", "highest"]
    assert precisions == ["high", "highest", "high"]


def test_traced_panels_keep_a_sites_own_state_exact_where_products_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As TF32 does it: 10 bits of mantissa go into a product."""

    def rounded(value: Tensor) -> Tensor:
        return (value.view(torch.int32) & ~0x1FFF).view(torch.float32)

    product, add = torch.Tensor.__matmul__, torch.addmm
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: product(rounded(one), rounded(other)))
    monkeypatch.setattr(torch, "addmm", lambda onto, one, other: add(onto, rounded(one), rounded(other)))
    (family,) = families_of(strided_wiring(24))
    states = [torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(25)]
    traced = TracedPass(family)
    traced.keep(states[0])
    sizes = dict(zip(family.sites, family.counts, strict=True))
    for site in family.sites:
        opened = traced.panel_sites if traced.opens_panel else ()
        weights = [torch.eye(sizes[block])[-1] for block in opened]
        assert torch.equal(traced.advance(states[site], weights), states[site])

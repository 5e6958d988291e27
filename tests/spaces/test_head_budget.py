"""Budgets of heads: met within 1 %, and an error that names the nearest one that can be met."""

from __future__ import annotations

import re
from bisect import bisect
from itertools import product

import pytest

from depthweave.spaces.budget import BudgetError
from depthweave.spaces.heads import HEADS, HeadShape, resolve_head
from depthweave.spaces.wiring import strided_wiring

_SIZED = ("deeper", "concat", "dwatt")
_UNSIZED = ("last", "mix", "dwa")


def _sources(depth: int, dilation: int) -> tuple[int, ...]:
    ((_, sources),) = strided_wiring(depth, dilation=dilation, period=depth)
    return sources


def _resolve(kind: str, budget: int, *, depth: int = 6, dilation: int = 1, width: int = 384) -> HeadShape:
    return resolve_head(
        kind,
        depth=depth,
        sources=_sources(depth, dilation),
        width=width,
        classes=13,
        budget=budget,
    )


def _parameters(shape: HeadShape) -> int:
    return HEADS[shape.kind].num_parameters(shape)


def test_registry_has_these_heads_with_a_size_to_set() -> None:
    assert {kind for kind, made in HEADS.items() if made.sized} == set(_SIZED)
    assert set(_SIZED) | set(_UNSIZED) == set(HEADS)


def test_grid_every_budget_of_usual_hosts_is_met_within_1_percent() -> None:
    hosts = [(4, 128), (6, 384), (12, 768), (24, 1024)]
    for (depth, width), share, dilation, kind in product(hosts, (3, 5, 8, 14, 20, 30, 60), (1, 2, 3), _SIZED):
        budget = share * width**2 + 12_345
        at = (kind, depth, width, budget, dilation)
        if kind == "deeper" and share < 5:
            # Attention alone has more parameters.
            continue
        shape = _resolve(kind, budget, depth=depth, dilation=dilation, width=width)
        assert abs(_parameters(shape) - budget) <= budget / 100, at
        assert shape.sources == ((depth,) if kind == "deeper" else _sources(depth, dilation)), at


@pytest.mark.parametrize("width", [12, 16, 48])
@pytest.mark.parametrize("kind", _SIZED)
def test_budget_that_cannot_be_met_is_refused_with_the_nearest_that_can(kind: str, width: int) -> None:
    met: list[int] = []
    refused: dict[int, int | None] = {}
    for budget in range(1, 6 * width**2 + 3000, 1 if width < 48 else 17):
        try:
            shape = _resolve(kind, budget, width=width)
        except BudgetError as error:
            refused[budget] = error.enough
        else:
            met.append(budget)
            assert 100 * abs(_parameters(shape) - budget) <= budget
    assert len(met) > 20
    assert len(refused) > 20
    for budget, enough in refused.items():
        assert enough is not None
        at = bisect(met, budget)
        distances = [abs(budget - other) for other in met[max(0, at - 1) : at + 1]]
        assert abs(budget - enough) <= min(distances), budget
    for enough in set(refused.values()):
        assert enough is not None
        _resolve(kind, enough, width=width)


def test_error_is_one_line_with_the_nearest_budget() -> None:
    with pytest.raises(BudgetError) as caught:
        _resolve("dwatt", 20_000)
    assert re.fullmatch(
        r"head 'dwatt' of 7 states of width 384 and 13 classes cannot have 20,000 parameters within 1%: the nearest "
        r"budget that can be met is [\d,]+",
        str(caught.value),
    )
    assert isinstance(_resolve("dwatt", int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))), HeadShape)


@pytest.mark.parametrize("kind", _UNSIZED)
def test_head_without_a_size_needs_to_fit_below_the_budget(kind: str) -> None:
    shape = _resolve(kind, 1_200_000)
    parameters = _parameters(shape)
    assert 5_005 <= parameters <= 5_013
    assert (shape.inner, shape.blocks) == (0, 0)
    assert _resolve(kind, parameters) == shape
    with pytest.raises(
        BudgetError, match=rf"cannot have {parameters - 1:,} parameters: the nearest .* {parameters:,}$"
    ):
        _resolve(kind, parameters - 1)


@pytest.mark.parametrize("budget", [0, -5])
def test_budget_below_1_is_refused(budget: int) -> None:
    with pytest.raises(BudgetError, match=f"^budget is {budget}: it must be a number of parameters, at least 1$"):
        _resolve("last", budget)


def test_deeper_has_as_many_blocks_as_the_paper_for_the_budget_of_dwatt() -> None:
    # About a twelfth of the host's layers: the parameters of DWAtt over all layers are those of one block in twelve.
    for depth, width, blocks in ((6, 384, 1), (12, 768, 1), (24, 1024, 2), (36, 1280, 3)):
        dwatt = HeadShape(
            kind="dwatt", depth=depth, sources=tuple(range(1, depth + 1)), width=width, classes=9, inner=width // 2
        )
        shape = _resolve("deeper", _parameters(dwatt), depth=depth, width=width)
        assert shape.blocks == blocks
        assert width < shape.inner < 6 * width


def test_number_of_blocks_grows_with_the_budget() -> None:
    shapes = [_resolve("deeper", budget) for budget in range(700_000, 20_000_000, 100_000)]
    blocks = [shape.blocks for shape in shapes]
    assert blocks == sorted(blocks)
    assert (blocks[0], blocks[-1]) == (1, 11)


def test_shape_has_only_what_its_head_uses() -> None:
    given = {"depth": 6, "sources": (0, 3, 6), "width": 384, "classes": 13, "budget": 1_200_000}
    found = {kind: resolve_head(kind, **given, heads=12, causal=True, scaled=False) for kind in HEADS}
    assert {kind: shape.sources for kind, shape in found.items() if len(shape.sources) == 1} == {
        "last": (6,),
        "deeper": (6,),
    }
    assert [kind for kind, shape in found.items() if shape.heads == 12] == ["deeper"]
    assert [kind for kind, shape in found.items() if shape.causal] == ["deeper", "mix"]
    assert [kind for kind, shape in found.items() if not shape.scaled] == ["dwatt"]


@pytest.mark.parametrize("kind", ["mix", "concat", "dwatt", "dwa"])
def test_one_source_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"^head '{kind}' reads state 6 alone: give at least two states"):
        resolve_head(kind, depth=6, sources=(6,), width=384, classes=13, budget=1_200_000)


def test_unknown_head_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^head 'deep' is not known: did you mean 'deeper'\?"):
        _resolve("deep", 1_000_000)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^head\.width is 384 with 7 heads: it must be a multiple of that$"):
        resolve_head("deeper", depth=6, sources=(6,), width=384, classes=13, budget=1_200_000, heads=7)
